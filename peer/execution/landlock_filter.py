"""System calls that the second tier's sandbox may not make, besides those of `seccomp.py`.

Here the program shares the machine's processes, network and file names with everybody else, and Landlock leaves
some doors open that no namespace closes: Unix sockets with a name in the file system (a session bus starts programs),
modes, owners, times and attributes of files, priorities, limits and affinities of processes of the same user.
"""

import errno
import socket
from collections.abc import Iterator

from peer.execution.landlock_wall import ABI_SCOPES, ABI_TRUNCATE
from peer.execution.seccomp import Rule

_SOCKETS = ("socket", "connect", "bind", "listen", "accept", "accept4", "socketcall")
_SOCKET_TYPES_DENIED = (socket.SOCK_DGRAM, socket.SOCK_RAW, socket.SOCK_RDM, socket.SOCK_SEQPACKET)
_SOCKET_TYPE_BITS = 0xF
_ATTRIBUTES = (
    "chmod", "fchmod", "fchmodat", "chown", "fchown", "lchown", "fchownat", "chown32", "fchown32", "lchown32", "utime",
    "utimes", "utimensat", "utimensat_time64", "futimesat", "setxattr", "lsetxattr", "fsetxattr", "removexattr",
    "lremovexattr", "fremovexattr",
)  # fmt: skip
"""Of open files as well: those that may be read are often the user's own, the installed packages for example."""
_MESSAGES_AND_WATCHES = (
    "mq_open", "mq_unlink", "mq_notify", "mq_timedsend", "mq_timedreceive", "msgsnd", "msgrcv", "msgctl", "semop",
    "semtimedop", "semctl", "shmdt", "inotify_init", "inotify_init1", "inotify_add_watch", "fanotify_mark",
)  # fmt: skip
_SIGNALS = ("kill", "tkill", "tgkill", "rt_sigqueueinfo", "rt_tgsigqueueinfo", "pidfd_send_signal", "process_mrelease")
_BY_PROCESS = ("prlimit64", "sched_setaffinity", "sched_setscheduler", "sched_setparam", "sched_setattr")
_F_SETOWN, _F_SETOWN_EX = 8, 15
_IOCTL_OF_TERMINALS_MAX = 0x5FFF
"""Higher numbers are about files (flags, verity, encryption) and devices, and a file need not be open for writing."""
_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE = 1, 4
_O_TRUNC, _O_ACCMODE = 0o1000, 0o3
_WORD = 0xFFFFFFFF

# Calls that are younger than this list: libseccomp has no names for them, all architectures the same numbers.
_FIRST_UNKNOWN, _LAST_UNKNOWN = 450, 511


def landlock_rules(abi: int) -> Iterator[Rule]:
    """The rules for this version of Landlock: what an old one lets through is closed here."""
    import pyseccomp

    for call in (*_ATTRIBUTES, *_MESSAGES_AND_WATCHES, *_SOCKETS):
        yield errno.EPERM, call
    for number in range(_FIRST_UNKNOWN, _LAST_UNKNOWN + 1):
        yield errno.ENOSYS, number
    for kind in _SOCKET_TYPES_DENIED:  # without a connection, they could be sent to any name
        yield errno.EPERM, "socketpair", pyseccomp.Arg(1, pyseccomp.MASKED_EQ, _SOCKET_TYPE_BITS, int(kind))
    yield from _about_others()
    if abi < ABI_SCOPES:
        for call in _SIGNALS:
            yield errno.EPERM, call
    if abi < ABI_TRUNCATE:
        yield from _truncating()


def _about_others() -> Iterator[Rule]:
    """Calls that may be about any process of the same user: only the caller itself is left."""
    import pyseccomp

    for call in _BY_PROCESS:
        yield errno.EPERM, call, pyseccomp.Arg(0, pyseccomp.NE, 0)
    for place in (0, 1):
        yield errno.EPERM, "setpriority", pyseccomp.Arg(place, pyseccomp.NE, 0)
    yield errno.EPERM, "ioprio_set"
    for option in (_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE):  # to outlive the guard, and to hide open files from the peer
        yield errno.EPERM, "prctl", pyseccomp.Arg(0, pyseccomp.MASKED_EQ, _WORD, option)
    for call in ("fcntl", "fcntl64"):
        for command in (_F_SETOWN, _F_SETOWN_EX):
            yield errno.EPERM, call, pyseccomp.Arg(1, pyseccomp.MASKED_EQ, _WORD, command)
    yield errno.ENOTTY, "ioctl", pyseccomp.Arg(1, pyseccomp.GT, _IOCTL_OF_TERMINALS_MAX)


def _truncating() -> Iterator[Rule]:
    import pyseccomp

    yield errno.EPERM, "truncate"
    yield errno.ENOSYS, "openat2"  # its flags lie in memory, out of a filter's sight
    for call, place in (("open", 1), ("openat", 2)):
        yield errno.EPERM, call, pyseccomp.Arg(place, pyseccomp.MASKED_EQ, _O_TRUNC | _O_ACCMODE, _O_TRUNC)
