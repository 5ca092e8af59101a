"""The research harness: simulated hosts and networks that run the shipped code."""
