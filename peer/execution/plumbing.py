"""File descriptors between the peer and a sandboxed process: each is closed with the stack of the side that owns it."""

import fcntl
import os
from contextlib import ExitStack, suppress

from peer.execution.limits import LOG_READ_BYTES_MAX

_F_ADD_SEALS = 1033
_F_SETPIPE_SZ = 1031
_SEAL_SIZE = 0x1 | 0x2 | 0x4  # F_SEAL_SEAL, F_SEAL_SHRINK, F_SEAL_GROW


def pipe(theirs: ExitStack, ours: ExitStack) -> tuple[int, int]:
    """Our end for reading and theirs for writing."""
    reading, writing = os.pipe()
    ours.callback(os.close, reading)
    theirs.callback(os.close, writing)
    with suppress(OSError):  # this user has many pipes already: a smaller one serves
        fcntl.fcntl(writing, _F_SETPIPE_SZ, LOG_READ_BYTES_MAX)
    return reading, writing


def memory_file(theirs: ExitStack, data: bytes) -> int:
    """A descriptor from which they read the data."""
    fd = os.memfd_create("parallel-peer", os.MFD_CLOEXEC)
    theirs.callback(os.close, fd)
    with os.fdopen(os.dup(fd), "wb") as file:
        file.write(data)
    os.lseek(fd, 0, os.SEEK_SET)
    return fd


def progress_file(ours: ExitStack) -> int:
    """Shared with the sandbox, so sealed: it can neither be made to grow nor be cut away under a reader."""
    fd = os.memfd_create("progress", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    ours.callback(os.close, fd)
    os.ftruncate(fd, os.sysconf("SC_PAGESIZE"))
    fcntl.fcntl(fd, _F_ADD_SEALS, _SEAL_SIZE)
    return fd
