"""The second tier: runners that build their own wall with Landlock and seccomp, where bubblewrap cannot work.

It keeps files, network, signals and foreign memory away. What it does not do, and says so: it hides neither that a
file exists, nor its size and times; it counts what a job writes by looking, a few hundred MiB late; and memory
and processes of an ordinary user's jobs are bounded by looking as well. See README.md.
"""

import fcntl
import os
import resource
import shutil
import socket
import subprocess
import tempfile
import weakref
from collections.abc import Iterable
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path

from peer.execution.in_place import InPlace, in_place
from peer.execution.interpreter import Inside
from peer.execution.landlock_filter import landlock_rules
from peer.execution.landlock_process import LandlockProcess
from peer.execution.landlock_wall import landlock_abi
from peer.execution.launch import FRAME_EXTRA_BYTES, JobCode, SandboxLauncher, limits_of
from peer.execution.plumbing import memory_file, pipe, progress_file
from peer.execution.process import Ends
from peer.execution.runner_files import INPUTS_VARIABLE
from peer.execution.sandbox import Wanted, can_become_anyone, inside_environment
from peer.execution.seccomp import filter_program
from protocol.errors import LocalError
from protocol.limits import CHUNK_RESULT_BYTES_MAX

LANDLOCK_NAME = "landlock"
SYSTEM_FOLDERS = ("/usr", "/lib", "/lib32", "/lib64", "/bin", "/sbin", "/etc/ld.so.cache", "/etc/alternatives")
_ABI_KNOWN = 7
"""What came later restricts nothing that is not restricted here in another way."""
_PLACE = "parallel-peer-"
_LOCK = "in-use"
_REMOVE = 'rm -rf --one-file-system -- "$1" > /dev/null 2>&1 &'


class LandlockLauncher(SandboxLauncher):
    """Starts runners behind Landlock. Making one raises `LocalError` with the reason and the way out.

    For tests of a peer that runs as root there are another interpreter than its own (`python`), runners as an ordinary
    peer of this `user` would start them, and an older version of Landlock than the kernel's (`abi`).
    """

    name = LANDLOCK_NAME

    def __init__(self, python: Path | None = None, user: int | None = None, abi: int | None = None) -> None:
        self.abi = min(landlock_abi() if abi is None else abi, _ABI_KNOWN)
        if not self.abi:
            raise LocalError(
                "this kernel has no Landlock, or it is turned off: Linux 5.13 or later has it, where the kernel's "
                "option lsm= names landlock"
            )
        if os.geteuid() == 0 and not can_become_anyone():
            raise LocalError("root of a container without user ids to spare cannot use it: start the peer as a user")
        self._filter = filter_program(landlock_rules(self.abi))
        _remove_abandoned()
        self._place = _make_place(user)
        weakref.finalize(self, _leave, self._place)
        super().__init__()
        self._user = user
        self._root = self._root and user is None
        # A runner with a user id of its own does not get into the data folder.
        self.shows_files = not self._root
        self._own_python = python
        self._in_place: dict[Inside, InPlace] = {}
        if self._root or user is not None:
            _check_open_to_all(self._placed(self._python).readable)

    @property
    def place(self) -> Path:
        """The folder with the runners' folders."""
        return Path(self._place.name)

    def takes(self, runtime: object) -> bool:
        """See `SandboxLauncher.takes`; those that say `in_place` find their files wherever they lie."""
        return bool(getattr(runtime, "in_place", False))

    def _placed(self, inside: Inside) -> InPlace:
        if inside not in self._in_place:
            program = self.place / f"program-{len(self._in_place)}"
            self._in_place[inside] = in_place(inside, program, self._own_python)
        return self._in_place[inside]

    def _start(self, theirs: ExitStack, ours: ExitStack, uid: int, job: JobCode, niceness: int) -> LandlockProcess:
        self._check_files(job)
        placed = self._placed(job.inside or self._python)
        channel, their_channel = socket.socketpair()
        ours.callback(channel.close)
        theirs.callback(their_channel.close)
        output, their_output = pipe(theirs, ours)
        info, _ = pipe(theirs, ours)
        progress = progress_file(ours)
        folder = self._new_folder(ours, uid)
        wall = self._wall(job, placed, folder)
        settings = memory_file(theirs, self._settings(job, placed.inside, uid, wall))
        descriptors = (their_channel.fileno(), progress, settings)
        popen = subprocess.Popen(
            [
                *self._politely(niceness),
                *placed.inside.interpreter.command,
                *(str(os.getpid()), str(uid if self._root else 0), str(folder)),
                *map(str, descriptors),
            ],
            pass_fds=descriptors,
            stdin=subprocess.DEVNULL,
            stdout=their_output,
            stderr=their_output,
            env=_environment(job, placed.inside, folder),
            cwd=folder,
            process_group=0,
            user=self._user,
            group=self._user,
            extra_groups=None if self._user is None else (),
        )
        ends = Ends(channel, output, info, progress)
        reply_bytes_max = CHUNK_RESULT_BYTES_MAX + FRAME_EXTRA_BYTES
        return LandlockProcess(popen, ends, reply_bytes_max, str(folder), placed.inside.processes)

    def _wall(self, job: JobCode, placed: InPlace, folder: Path) -> dict[str, object]:
        inputs = [job.inputs] if job.inputs is not None else []
        files = [*placed.readable, *(path for _, path in job.blobs), *inputs]
        return {
            "abi": self.abi,
            "folder": str(folder),
            "readable": [*SYSTEM_FOLDERS, *map(str, files)],
            "filter": self._filter,
        }

    def _limits(self, job: JobCode) -> dict[str, int]:
        """The number of processes is counted by user: those that an ordinary user has already come on top."""
        limits = limits_of(job)
        if not self._root:
            limits["RLIMIT_NPROC"] += _tasks_of(os.geteuid() if self._user is None else self._user)
        return {name: _within(value, getattr(resource, name)) for name, value in limits.items()}

    def _new_folder(self, ours: ExitStack, uid: int) -> Path:
        folder = Path(tempfile.mkdtemp(prefix="job-", dir=self._place.name))
        ours.callback(shutil.rmtree, folder, ignore_errors=True)
        if owner := uid if self._root else self._user:
            os.chown(folder, owner, owner)
        return folder

    def _check_files(self, job: JobCode) -> None:
        if job.blobs and not self.shows_files:
            raise LocalError(
                "behind Landlock, jobs of a peer that runs as root cannot read its blobs: start the peer as an "
                "ordinary user, or install bubblewrap"
            )


@dataclass(frozen=True, slots=True)
class Place:
    """The folder with the runners' folders, and the descriptor that keeps others from removing it."""

    name: str
    lock: int


def _environment(job: JobCode, inside: Inside, folder: Path) -> dict[str, str]:
    wanted = Wanted(inside, threads=job.cores, blobs=job.blobs)
    known = dict(inside_environment(wanted, folder, dict(job.blobs)))
    if job.inputs is not None:
        known[INPUTS_VARIABLE] = str(job.inputs)
    return {**known, "TMPDIR": str(folder), "LOGNAME": "sandbox"}


def _make_place(user: int | None) -> Place:
    name = tempfile.mkdtemp(prefix=_PLACE)
    lock = os.open(f"{name}/{_LOCK}", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    # Runners with user ids of their own must get to their folders, and remove them where the user is another one.
    os.chmod(name, 0o711 if user is None else 0o733)  # noqa: PTH101
    return Place(name, lock)


def _leave(place: Place) -> None:
    shutil.rmtree(place.name, ignore_errors=True)
    os.close(place.lock)


def _remove_abandoned() -> None:
    """What killed peers of this user have left. Nobody waits for it, and the lock is held as long as it takes."""
    for place in Path(tempfile.gettempdir()).glob(f"{_PLACE}*"):
        with suppress(OSError):
            if place.stat(follow_symlinks=False).st_uid != os.geteuid():
                continue
            lock = os.open(place / _LOCK, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                subprocess.run(["sh", "-c", _REMOVE, "sh", place], check=False, pass_fds=(lock,))
            finally:
                os.close(lock)


def _tasks_of(uid: int) -> int:
    """Processes and threads of a user, as the kernel counts them against `RLIMIT_NPROC`."""
    found = 0
    for pid in filter(str.isdigit, os.listdir("/proc")):  # noqa: PTH208 - thousands of them, at each start
        with suppress(OSError):
            if os.stat(f"/proc/{pid}").st_uid == uid:  # noqa: PTH116
                found += os.stat(f"/proc/{pid}/task").st_nlink - 2  # noqa: PTH116
    return found


def _check_open_to_all(paths: Iterable[Path]) -> None:
    """Runners are other users there, and nothing can be shown to them at another place."""
    for folder in sorted({parent for path in paths for parent in path.parents}):
        if not folder.stat().st_mode & 0o1:
            raise LocalError(
                f"{folder} is closed to other users and has Python or its packages in it: install Parallel Peer "
                "elsewhere, for example below /opt, or start the peer as an ordinary user"
            )


def _within(value: int, limit: int) -> int:
    hard = resource.getrlimit(limit)[1]
    return value if hard == resource.RLIM_INFINITY else min(value, hard)
