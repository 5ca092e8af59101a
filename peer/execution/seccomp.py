"""The system calls that a sandboxed program may not make, as a BPF program for `bwrap --seccomp`.

What is not listed is allowed, since libraries differ too much for the opposite; the namespaces, the
dropped capabilities and the missing files are the wall, and this takes the tools away that have climbed
such walls before (kernel interfaces that are rarely needed, and memory that no limit sees).
"""

import ctypes.util
import errno
import os
import socket
from collections.abc import Iterable, Iterator

from protocol.errors import LocalError

_MEMORY_THAT_NO_LIMIT_SEES = ("memfd_create", "memfd_secret", "shmget", "shmat", "shmctl", "msgget", "semget")
_OTHER_PROCESSES = (
    "ptrace", "process_vm_readv", "process_vm_writev", "process_madvise", "kcmp", "pidfd_getfd", "pidfd_open",
    "move_pages", "migrate_pages",
)  # fmt: skip
_NAMESPACES_AND_MOUNTS = (
    "unshare", "setns", "mount", "umount", "umount2", "pivot_root", "chroot", "fsopen", "fsconfig", "fsmount", "fspick",
    "open_tree", "move_mount", "mount_setattr", "name_to_handle_at", "open_by_handle_at", "statmount", "listmount",
)  # fmt: skip
_KERNEL = (
    "bpf", "io_uring_setup", "io_uring_enter", "io_uring_register", "perf_event_open", "userfaultfd", "keyctl",
    "add_key", "request_key", "init_module", "finit_module", "delete_module", "create_module", "kexec_load",
    "kexec_file_load", "reboot", "swapon", "swapoff", "acct", "quotactl", "quotactl_fd", "syslog", "settimeofday",
    "stime", "clock_settime", "clock_adjtime", "clock_adjtime64", "clock_settime64", "adjtimex", "sethostname",
    "setdomainname", "iopl", "ioperm", "modify_ldt", "vm86", "vm86old", "lookup_dcookie", "uselib", "ustat", "sysfs",
    "_sysctl", "get_kernel_syms", "query_module", "nfsservctl", "vhangup", "fanotify_init", "vmsplice", "personality",
    "mbind", "set_mempolicy", "set_mempolicy_home_node", "mlock", "mlock2", "mlockall", "map_shadow_stack",
    "lsm_set_self_attr", "cachestat", "remap_file_pages",
)  # fmt: skip
_DENIED = _MEMORY_THAT_NO_LIMIT_SEES + _OTHER_PROCESSES + _NAMESPACES_AND_MOUNTS + _KERNEL

# include/uapi/linux/sched.h: mount, cgroup, uts, ipc, user, pid, net (time cannot be asked of clone).
_CLONE_NEW_FLAGS = (0x20000, 0x2000000, 0x4000000, 0x8000000, 0x10000000, 0x20000000, 0x40000000)
_MAP_HUGETLB = 0x40000
_IOCTLS_DENIED = (0x5412, 0x541C)
"""TIOCSTI and TIOCLINUX: both type into somebody else's terminal."""


Rule = tuple[object, ...]
"""The error that the call answers, its name or number, conditions on its arguments that must all hold."""


def filter_program(more: Iterable[Rule] = ()) -> bytes:
    """The BPF program, with `more` rules; raises `LocalError` (with the way out) when libseccomp is not installed."""
    if ctypes.util.find_library("seccomp") is None:
        raise LocalError("libseccomp is not installed; on Debian or Ubuntu: apt install libseccomp2")
    import pyseccomp

    seccomp = pyseccomp.SyscallFilter(defaction=pyseccomp.ALLOW)
    denied: set[int] = set()
    for action, call, *conditions in (*_rules(), *more):
        number = call if isinstance(call, int) else _number(call)
        if number is not None and number not in denied:
            seccomp.add_rule(pyseccomp.ERRNO(action), number, *conditions)
            denied |= set() if conditions else {number}
    return _exported(seccomp)


def _rules() -> Iterator[Rule]:
    import pyseccomp

    for call in _DENIED:
        yield errno.EPERM, call
    # glibc falls back to clone() only for ENOSYS; the flags of clone3 lie in memory, out of a filter's sight.
    yield errno.ENOSYS, "clone3"
    for flag in _CLONE_NEW_FLAGS:
        yield errno.EPERM, "clone", pyseccomp.Arg(0, pyseccomp.MASKED_EQ, flag, flag)
    yield errno.EPERM, "mmap", pyseccomp.Arg(3, pyseccomp.MASKED_EQ, _MAP_HUGETLB, _MAP_HUGETLB)
    for request in _IOCTLS_DENIED:
        yield errno.EPERM, "ioctl", pyseccomp.Arg(1, pyseccomp.MASKED_EQ, 0xFFFFFFFF, request)
    for call in ("socket", "socketpair"):
        yield errno.EAFNOSUPPORT, call, pyseccomp.Arg(0, pyseccomp.NE, int(socket.AF_UNIX))


def _number(call: object) -> int | None:
    """None for names that this libseccomp or this architecture does not have."""
    import pyseccomp

    try:
        number = int(pyseccomp.resolve_syscall(pyseccomp.Arch.NATIVE, call))
    except (ValueError, OSError):
        return None
    return number if number >= 0 else None


def _exported(seccomp: object) -> bytes:
    with os.fdopen(os.memfd_create("seccomp", os.MFD_CLOEXEC), "rb") as file:
        seccomp.export_bpf(file)  # type: ignore[attr-defined]
        file.seek(0)
        return file.read()
