"""Memory and number of processes of a sandbox, read from `/proc`: what no per-process limit can bound."""

import os
from dataclasses import dataclass

import psutil

_READ_BYTES_MAX = 65_536


@dataclass(frozen=True, slots=True)
class TreeUsage:
    """Resident memory (as the kernel attributes it) and processes below a root, the root included."""

    memory_bytes: int
    processes: int


def usage(root_pid: int, memory_bytes_doubtful: int) -> TreeUsage:
    """Sum over the tree. Resident sizes count shared pages once per process: where their sum goes over
    `memory_bytes_doubtful`, the slower proportional sizes are read, as far as the kernel lets us.
    """
    pids = descendants(root_pid)
    resident = sum(_resident_bytes(pid) for pid in pids)
    if resident > memory_bytes_doubtful and len(pids) > 1:
        resident = sum(_proportional_bytes(pid) for pid in pids)
    return TreeUsage(resident, len(pids))


def descendants(root_pid: int) -> list[int]:
    """The root and all below it. Processes that come or go meanwhile may be missed."""
    found, queue = [], [root_pid]
    while queue:
        pid = queue.pop()
        found.append(pid)
        queue += _children(pid)
    return found


def _children(pid: int) -> list[int]:
    """Each thread has its own list. Read without pathlib: this is asked after every chunk."""
    threads = f"/proc/{pid}/task"
    try:
        return [
            int(child)
            for thread in os.listdir(threads)  # noqa: PTH208
            for child in _read(f"{threads}/{thread}/children").split()
        ]
    except FileNotFoundError:
        return _children_without_kernel_list(pid)
    except (ProcessLookupError, PermissionError):
        return []


def _read(path: str) -> bytes:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.read(fd, _READ_BYTES_MAX)
    finally:
        os.close(fd)


def _children_without_kernel_list(pid: int) -> list[int]:
    """Kernels without CONFIG_PROC_CHILDREN, and processes that have just ended."""
    try:
        return [child.pid for child in psutil.Process(pid).children()]
    except psutil.Error:
        return []


def _resident_bytes(pid: int) -> int:
    try:
        return int(psutil.Process(pid).memory_info().rss)
    except psutil.Error:
        return 0


def _proportional_bytes(pid: int) -> int:
    try:
        return int(psutil.Process(pid).memory_full_info().pss)
    except psutil.AccessDenied:
        return _resident_bytes(pid)
    except psutil.Error:
        return 0
