"""Starts sandboxed Python processes: which file descriptors go in, which environment, which limits.

Started with `subprocess.Popen` from the thread that runs trio, not with `trio.lowlevel.open_process`: that
one forks in a worker thread, and `--die-with-parent` watches the thread, which ends when it is idle.
"""

import os
import shutil
import socket
import subprocess
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from peer.execution.interpreter import Inside, python_inside
from peer.execution.limits import (
    ADDRESS_SPACE_EXTRA_BYTES,
    CPU_S_MAX,
    FILE_BYTES_MAX,
    OPEN_FILES_MAX,
    PROCESSES_MAX,
    SANDBOX_PEERS_MAX,
    SANDBOX_UID_FIRST,
    SANDBOX_UID_MAPPED,
    SANDBOX_UIDS_PER_PEER,
)
from peer.execution.orphans import end_orphans
from peer.execution.plumbing import memory_file, pipe, progress_file
from peer.execution.process import Ends, SandboxProcess
from peer.execution.sandbox import (
    SANDBOX_NAME,
    BubblewrapFiles,
    Wanted,
    bubblewrap_arguments,
    can_become_anyone,
    find_bubblewrap,
    users_file,
)
from peer.execution.seccomp import filter_program
from protocol import encoding
from protocol.bodies import Manifest
from protocol.errors import LocalError
from protocol.limits import CHUNK_RESULT_BYTES_MAX, KIB

FRAME_EXTRA_BYTES = 64 * KIB
_ADDRESS_SPACE_BYTES_MAX = 2**62


@dataclass(frozen=True, slots=True)
class JobCode:
    """What a runner loads, and the limits that it loads it under."""

    job: str
    filename: str
    code: bytes
    entry: str
    memory_bytes_max: int
    cpu_s_max: int = CPU_S_MAX
    cores: int = 1
    runtime: str = ""
    blobs: tuple[tuple[str, Path], ...] = ()
    """Files that it may read, by name."""
    inputs: Path | None = None
    """The folder with the files of its items."""
    inside: Inside | None = None
    """What its runtime needs; None: a job in Python."""

    @classmethod
    def of(
        cls,
        manifest: Manifest,
        blobs: Mapping[str, Path],
        inputs: Path | None = None,
        inside: Inside | None = None,
    ) -> "JobCode":
        """The code of a manifest; its name is the file name where it is one."""
        filename = Path(manifest.name).name if manifest.name.endswith(".py") else "job.py"
        cpu_s_max = int(min(max(CPU_S_MAX, 4 * manifest.item_timeout_s), 2**31))
        return cls(
            job=manifest.job,
            filename=filename,
            code=manifest.code,
            entry=manifest.entry,
            memory_bytes_max=manifest.memory_bytes_max,
            cpu_s_max=cpu_s_max,
            cores=manifest.cores,
            runtime=manifest.runtime,
            blobs=tuple(sorted(blobs.items())),
            inputs=inputs,
            inside=inside,
        )


class SandboxLauncher:
    """What all sandboxes of one kind share on this peer."""

    name: str
    """How the sandbox is called in capability records."""
    shows_files = True
    """Whether a job can be shown files out of the peer's data folder."""

    def __init__(self) -> None:
        self._python = python_inside()
        self._nice = shutil.which("nice")
        self._root = can_become_anyone()
        self._numbers = count()

    def takes(self, runtime: object) -> bool:
        """Whether the jobs of this runtime can run in it."""
        return True

    def start(self, job: JobCode, niceness: int = 0) -> SandboxProcess:
        """A process that enters its cage and loads the job; raises `LocalError` when none can be started."""
        uid = self._next_uid()
        with ExitStack() as theirs, ExitStack() as ours:
            try:
                process = self._start(theirs, ours, uid, job, niceness)
            except OSError as error:
                raise LocalError(f"cannot start a sandbox: {error}") from error
            ours.pop_all()
            return process

    def _start(self, theirs: ExitStack, ours: ExitStack, uid: int, job: JobCode, niceness: int) -> SandboxProcess:
        raise NotImplementedError

    def _politely(self, niceness: int) -> list[str]:
        """`nice` becomes the sandbox, so nothing inside ever runs without it."""
        if not niceness:
            return []
        if self._nice is None:
            raise LocalError("the command `nice` is not installed: install coreutils, or use --nice 0")
        return [self._nice, "-n", str(niceness)]

    def _settings(self, job: JobCode, inside: Inside, uid: int, wall: Mapping[str, object] | None = None) -> bytes:
        settings = {
            "job": job.job,
            "runtime": job.runtime,
            "cores": job.cores,
            "filename": job.filename,
            "code": job.code,
            "entry": job.entry,
            "memory_bytes_max": job.memory_bytes_max,
            "uid": uid if self._root else None,
            "limits": self._limits(job),
            "wall": None if wall is None else dict(wall),
        }
        return "\n".join(inside.interpreter.packages).encode() + b"\0" + encoding.encode(settings)

    def _limits(self, job: JobCode) -> dict[str, int]:
        return limits_of(job)

    def _next_uid(self) -> int:
        """One that no other sandbox of this machine is likely to have, so that its processes are counted alone."""
        if not self._root:
            return SANDBOX_UID_MAPPED
        own = SANDBOX_UID_FIRST + os.getpid() % SANDBOX_PEERS_MAX * SANDBOX_UIDS_PER_PEER
        return own + next(self._numbers) % SANDBOX_UIDS_PER_PEER


class Launcher(SandboxLauncher):
    """Starts runners in bubblewrap. Making one raises `LocalError` where it cannot work."""

    name = SANDBOX_NAME

    def __init__(self) -> None:
        self._bubblewrap = find_bubblewrap()
        self._filter = filter_program()
        super().__init__()
        end_orphans(self._bubblewrap, self._python.interpreter.command[-1])

    def _start(self, theirs: ExitStack, ours: ExitStack, uid: int, job: JobCode, niceness: int) -> SandboxProcess:
        channel, their_channel = socket.socketpair()
        ours.callback(channel.close)
        theirs.callback(their_channel.close)
        output, their_output = pipe(theirs, ours)
        info, their_info = pipe(theirs, ours)
        progress = progress_file(ours)
        files = BubblewrapFiles(memory_file(theirs, self._filter), memory_file(theirs, users_file(uid)), their_info)
        inside = job.inside or self._python
        wanted = Wanted(inside, threads=job.cores, blobs=job.blobs, inputs=job.inputs)
        arguments = bubblewrap_arguments(wanted, files, root=self._root)
        arguments_fd = memory_file(theirs, b"".join(os.fsencode(one) + b"\0" for one in arguments))
        settings = memory_file(theirs, self._settings(job, inside, uid))
        descriptors = (their_channel.fileno(), progress, settings)
        popen = subprocess.Popen(
            [
                *self._politely(niceness),
                *(str(self._bubblewrap), "--args", str(arguments_fd), "--"),
                *inside.interpreter.command,
                *map(str, descriptors),
            ],
            pass_fds=(arguments_fd, files.seccomp, files.users, files.info, *descriptors),
            stdin=subprocess.DEVNULL,
            stdout=their_output,
            stderr=their_output,
            # --clearenv would not do: /proc/1/environ inside is that of bubblewrap itself.
            env={},
            cwd="/",
            # An interrupt typed at the peer's terminal is for the peer; and one signal ends what is halfway started.
            process_group=0,
        )
        return SandboxProcess(
            popen,
            Ends(channel, output, info, progress),
            CHUNK_RESULT_BYTES_MAX + FRAME_EXTRA_BYTES,
            processes_kept=inside.processes,
        )


def limits_of(job: JobCode) -> dict[str, int]:
    """The rlimits of the runner, by name."""
    return {
        "RLIMIT_AS": min(job.memory_bytes_max + ADDRESS_SPACE_EXTRA_BYTES, _ADDRESS_SPACE_BYTES_MAX),
        "RLIMIT_CORE": 0,
        "RLIMIT_CPU": job.cpu_s_max,
        "RLIMIT_FSIZE": FILE_BYTES_MAX,
        "RLIMIT_MEMLOCK": 0,
        "RLIMIT_MSGQUEUE": 0,
        "RLIMIT_NOFILE": OPEN_FILES_MAX,
        "RLIMIT_NPROC": PROCESSES_MAX,
    }
