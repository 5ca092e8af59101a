"""Models of the world around the peers: pure samplers on a seeded `random.Random` that is passed in."""
