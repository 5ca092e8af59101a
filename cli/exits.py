"""What the exit codes of the `peer` command mean."""

from protocol.errors import LocalError

DONE = 0
FAILED = 1
WRONG_USE = 2
NO_WORKER = 3
UNDECIDED = 4
UNFINISHED = 5
"""The job ended at its budget or deadline, with a part of its items."""
INTERRUPTED = 130


class WrongUse(LocalError):
    """The command was given something that cannot work; nothing was started. Ends with `WRONG_USE`."""
