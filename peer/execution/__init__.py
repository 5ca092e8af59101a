"""How chunks are run on this machine: the sandbox and the warm runner processes in it."""
