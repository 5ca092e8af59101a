"""Runtimes: how a chunk is run. Each is one file with what happens out here, and one in `inside/` for the sandbox."""
