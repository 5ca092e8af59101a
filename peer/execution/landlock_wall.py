"""Inside the sandbox of the second tier: the wall that a process builds around itself, with Landlock and seccomp.

The kernel's interface is called directly (include/uapi/linux/landlock.h; its system calls have the same numbers on
all architectures). Nothing is imported here that a runner does not need anyway, but ctypes.
"""

import ctypes
import errno
import os
import signal
import struct
import sys
from collections.abc import Mapping
from typing import cast

_PR_SET_PDEATHSIG, _PR_SET_SECCOMP, _PR_SET_CHILD_SUBREAPER, _PR_SET_NO_NEW_PRIVS = 1, 22, 36, 38
_SECCOMP_MODE_FILTER = 2
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_VERSION_FLAG, _PATH_BENEATH = 1, 1

_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR, _TRUNCATE = 1 << 0, 1 << 1, 1 << 2, 1 << 3, 1 << 14
_MAKE_CHAR, _MAKE_SOCK, _MAKE_BLOCK = 1 << 6, 1 << 9, 1 << 11
_RIGHTS_BY_ABI = {1: (1 << 13) - 1, 2: (1 << 14) - 1, 3: (1 << 15) - 1, 5: (1 << 16) - 1}
_NET_TCP = 0b11
"""To bind and to connect: nothing is allowed to. From ABI 4 on."""
_SCOPES = 0b11
"""Abstract sockets and signals stay within. From ABI 6 on."""
_OF_FILES = _EXECUTE | _WRITE_FILE | _READ_FILE | _TRUNCATE
_TO_READ = _EXECUTE | _READ_FILE | _READ_DIR
_NOT_IN_THE_FOLDER = _MAKE_CHAR | _MAKE_BLOCK | _MAKE_SOCK
_DEVICES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom")

_LOG_NOTHING = 1
"""LANDLOCK_RESTRICT_SELF_LOG_SAME_EXEC_OFF: a job could fill the machine's audit log with what it is refused."""

ABI_TRUNCATE, ABI_NET, ABI_SCOPES, ABI_LOG = 3, 4, 6, 7


def landlock_abi() -> int:
    """The version of Landlock in this kernel; 0 where there is none or it is turned off."""
    if not sys.platform.startswith("linux"):
        return 0
    return max(0, int(_libc().syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), _VERSION_FLAG)))


def guard_descendants(parent_signal: signal.Signals) -> None:
    """Orphans below this process become its children, and it gets the signal when its own parent ends."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)
    _prctl(_PR_SET_PDEATHSIG, parent_signal)


def build(wall: Mapping[str, object]) -> None:
    """From now on only the folders of the wall are there; raises `RuntimeError` when it does not hold.

    After the change of the user id, which would undo the first step.
    """
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() == 1:
        raise RuntimeError("what watches over the sandbox has ended")
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)
    _restrict(cast(int, wall["abi"]), cast("list[str]", wall["readable"]), cast(str, wall["folder"]))
    _filter_calls(cast(bytes, wall["filter"]))
    _try()


def _restrict(abi: int, readable: list[str], folder: str) -> None:
    handled = _RIGHTS_BY_ABI[max(known for known in _RIGHTS_BY_ABI if known <= abi)]
    ruleset = struct.pack("=QQQ", handled, _NET_TCP, _SCOPES)[
        : 24 if abi >= ABI_SCOPES else 16 if abi >= ABI_NET else 8
    ]
    fd = _call(_CREATE_RULESET, ruleset, ctypes.c_size_t(len(ruleset)), 0)
    for path in readable:
        _allow(fd, path, handled & _TO_READ)
    for path in _DEVICES:
        _allow(fd, path, handled & (_READ_FILE | _WRITE_FILE | _TRUNCATE))
    _allow(fd, folder, handled & ~_NOT_IN_THE_FOLDER)
    _call(_RESTRICT_SELF, fd, _LOG_NOTHING if abi >= ABI_LOG else 0)
    os.close(fd)


def _allow(ruleset: int, path: str, rights: int) -> None:
    try:
        fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return  # What is not there, or out of this user's reach, needs no leave.
    try:
        if not os.path.isdir(path):  # noqa: PTH112 - pathlib takes longer to load than all of this
            rights &= _OF_FILES
        _call(_ADD_RULE, ruleset, _PATH_BENEATH, struct.pack("=Qi", rights, fd), 0)
    finally:
        os.close(fd)


def _filter_calls(program: bytes) -> None:
    """A `struct sock_fprog`: the number of instructions, of eight bytes each, and where they are."""
    code = ctypes.create_string_buffer(program, len(program))
    _prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, struct.pack("@HP", len(program) // 8, ctypes.addressof(code)))


def _try() -> None:
    try:
        os.listdir("/")  # noqa: PTH208 - see above
    except PermissionError:
        return
    raise RuntimeError("the sandbox does not hold: Landlock keeps nothing away")


def _prctl(option: int, *arguments: int | bytes) -> None:
    words = [one if isinstance(one, bytes) else ctypes.c_ulong(one) for one in arguments]
    padding = [ctypes.c_ulong(0)] * (4 - len(words))
    if _libc().prctl(option, *words, *padding) != 0:
        raise RuntimeError(f"prctl {option} fails: {os.strerror(ctypes.get_errno())}")


def _call(number: int, *arguments: object) -> int:
    result = int(_libc().syscall(number, *arguments))
    if result < 0:
        error = ctypes.get_errno()
        raise RuntimeError(f"Landlock call {number} fails: {errno.errorcode.get(error)} ({os.strerror(error)})")
    return result


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)
