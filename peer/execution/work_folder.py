"""How much a job keeps on the disk where no quota of the kernel's bounds it: what it writes is looked at and counted.

The job may hide files: deleted ones that are still open are found through its processes; whatever is hidden in another
way (mapped and then deleted) is bounded by what must stay free of the disk.
"""

import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import suppress

from peer.execution.limits import (
    FOLDER_ENTRIES_MAX,
    FOLDER_PATH_LENGTH_MAX,
    FREE_DISK_BYTES_MIN,
    FREE_DISK_FILES_MIN,
    TMP_BYTES_MAX,
)
from protocol.limits import MIB

_BLOCK_BYTES = 512
"""The unit of `st_blocks`, whatever the file system's own is."""


def excess_of(folder: str, pids: Iterable[int]) -> str | None:
    """In what the files of `folder`, and deleted ones that these processes hold, are too much, if they are."""
    entries = used_bytes = 0
    try:
        for found in _walk(folder):
            entries += 1
            used_bytes += found.st_blocks * _BLOCK_BYTES
            if entries > FOLDER_ENTRIES_MAX:
                return f"more than {FOLDER_ENTRIES_MAX} files; the sandbox allows no more"
        used_bytes += sum(_deleted_bytes(pids).values())
        disk = os.statvfs(folder)
    except OSError as error:
        return f"its folder cannot be looked into ({error.strerror})"
    if used_bytes > TMP_BYTES_MAX:
        return f"{used_bytes // MIB} MiB of files; the sandbox allows {TMP_BYTES_MAX // MIB} MiB"
    return _scarcity(disk)


def _scarcity(disk: os.statvfs_result) -> str | None:
    free_bytes = disk.f_bavail * disk.f_frsize
    if free_bytes < FREE_DISK_BYTES_MIN:
        return f"the disk is nearly full ({free_bytes // MIB} MiB are free, {FREE_DISK_BYTES_MIN // MIB} MiB must be)"
    if disk.f_files and disk.f_favail < FREE_DISK_FILES_MIN:  # some file systems do not count them
        return f"the disk has room for {disk.f_favail} files only; {FREE_DISK_FILES_MIN} must be left"
    return None


def _walk(folder: str) -> Iterator[os.stat_result]:
    """Raises `OSError` for a folder that is closed to us or too deep; what has gone meanwhile is left out."""
    queue = [folder]
    while queue:
        with suppress(FileNotFoundError, NotADirectoryError), os.scandir(_short(queue.pop())) as entries:
            for entry in entries:
                with suppress(FileNotFoundError):
                    yield entry.stat(follow_symlinks=False)
                    if entry.is_dir(follow_symlinks=False):
                        queue.append(entry.path)


def _short(path: str) -> str:
    if len(path) > FOLDER_PATH_LENGTH_MAX:
        raise OSError(0, "folders too deep")
    return path


def _deleted_bytes(pids: Iterable[int]) -> dict[tuple[int, int], int]:
    """By device and file number, since several processes may hold the same one."""
    found = {}
    for pid in pids:
        with suppress(OSError), os.scandir(f"/proc/{pid}/fd") as entries:
            for entry in entries:
                with suppress(OSError):
                    one = entry.stat()
                    if stat.S_ISREG(one.st_mode) and not one.st_nlink:
                        found[one.st_dev, one.st_ino] = one.st_blocks * _BLOCK_BYTES
    return found
