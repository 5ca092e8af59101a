"""What can go wrong with files, as one line that says what to do; and writing to the disk for good."""

import errno
import os
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import trio

from protocol.errors import LocalError

Sync = Callable[[Path], Awaitable[None]]
"""Waits until a file's content would outlast a power cut; raises `OSError`."""


@contextmanager
def disk_errors(what: str, folder: Path) -> Iterator[None]:
    """Raise `LocalError` for an `OSError`: what could not be done, where, and the way out of a full disk."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            way_out = "make room there, or run `peer cache prune`"
            raise LocalError(f"cannot {what}: the disk of {folder} is full; {way_out}") from error
        place = error.filename or folder
        raise LocalError(f"cannot {what}: {os.fsdecode(place)}: {error.strerror or error}") from error


def write_all(descriptor: int, data: bytes, offset: int) -> None:
    """Write all of `data` at an offset; raises `OSError`."""
    left = memoryview(data)
    while left:
        written = os.pwrite(descriptor, left, offset)
        offset += written
        left = left[written:]


async def sync_to_disk(path: Path) -> None:
    """`Sync` in a thread, since it may take seconds; not for virtual time, which would run ahead meanwhile."""
    await trio.to_thread.run_sync(_sync, path)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
