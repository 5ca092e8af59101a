"""What is wrong with this machine or this peer, and what mends it: the checks of `peer doctor`."""
