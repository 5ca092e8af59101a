"""What a sandbox leaves alone of the programs and files of its own user, which it shares where it has no namespaces.

Most of this concerns the second tier on a peer of an ordinary user; the others must hold it just as well.
"""

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractContextManager, ExitStack, asynccontextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import pytest
from execution_helpers import outcomes, run_all, run_one
from sandbox_tiers import ORDINARY_USER

from protocol.bodies import JobBlob, Manifest

REFUSED = (
    "PermissionError",
    "FileNotFoundError",
    "ProcessLookupError",
    "OSError",
    "NotADirectoryError",
    "OverflowError",
)


@dataclass(frozen=True)
class Neighbour:
    """A program of the owner and a folder of the owner with a file and sockets."""

    process: subprocess.Popen[bytes]
    folder: Path

    @property
    def file(self) -> Path:
        return self.folder / "file"


@pytest.fixture
def neighbour() -> Iterator[Neighbour]:
    """Of the user as whom the second tier's runners work, where they have no number of their own."""
    user = ORDINARY_USER if os.geteuid() == 0 else None
    with tempfile.TemporaryDirectory() as name, ExitStack() as sockets:
        folder = Path(name)
        for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
            one = sockets.enter_context(socket.socket(socket.AF_UNIX, kind))
            one.bind(str(folder / kind.name))
            if kind == socket.SOCK_STREAM:
                one.listen()
        (folder / "file").write_text("swordfish")
        (folder / "file").chmod(0o600)
        shutil.copy("/bin/true", folder / "tool")
        if user is not None:
            for path in (folder, *folder.iterdir()):
                os.chown(path, user, user)
        with subprocess.Popen(["sleep", "1000"], user=user, group=user, stdin=subprocess.PIPE) as process:
            try:
                yield Neighbour(process, folder)
                assert process.poll() is None, "it still runs"
            finally:
                process.kill()


@pytest.mark.parametrize(
    "statement",
    [
        "open(file).read()",
        "open(file, 'a')",
        "open(file, 'w')",
        "os.open(file, os.O_RDONLY | os.O_TRUNC)",
        "os.truncate(file, 0)",
        "os.listdir(folder)",
        "os.mkdir(f'{folder}/new')",
        "os.symlink('/', f'{folder}/link')",
        "os.mkfifo(f'{folder}/fifo')",
        "os.unlink(file)",
        "os.rename(file, f'{folder}/other')",
        "os.rename(file, mine)",
        "os.link(file, mine)",
        "os.symlink(file, f'{tempfile.gettempdir()}/link') or open(f'{tempfile.gettempdir()}/link').read()",
        "checked(libc.linkat(-100, f'/proc/self/fd/{os.open(file, os.O_PATH)}'.encode(), -100, mine.encode(), 0x400))",
        "os.open('file', os.O_RDONLY, dir_fd=os.open(folder, os.O_PATH))",
        "open(f'/proc/self/fd/{os.open(file, os.O_PATH)}').read()",
        "os.open(folder, os.O_TMPFILE | os.O_RDWR)",
        "os.chmod(file, 0o777)",
        "os.chmod(folder, 0o777)",
        "os.chmod(f'/proc/self/fd/{os.open(file, os.O_PATH)}', 0o777)",
        "os.chown(file, -1, -1)",
        "os.utime(file, (0, 0))",
        "os.setxattr(file, 'user.mine', b'1')",
        "subprocess.run([f'{folder}/tool'], check=True)",
        "socket.socket(socket.AF_UNIX).connect(f'{folder}/SOCK_STREAM')",
        "socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM).sendto(b'x', f'{folder}/SOCK_DGRAM')",
        "socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)[0].sendto(b'x', f'{folder}/SOCK_DGRAM')",
        "checked(libc.inotify_add_watch(checked(libc.inotify_init()), folder.encode(), 0xfff))",
        "os.kill(pid, 9)",
        "os.kill(pid, 19)",
        "os.killpg(os.getpgid(pid), 9)",
        "signal.pidfd_send_signal(os.pidfd_open(pid), 9)",
        "resource.prlimit(pid, resource.RLIMIT_NOFILE, (0, 0))",
        "os.setpriority(os.PRIO_PROCESS, pid, 19)",
        "os.setpriority(os.PRIO_USER, 0, 19)",
        "os.setpriority(os.PRIO_USER, os.getuid(), 19)",
        "os.sched_setaffinity(pid, {0})",
        "os.sched_setscheduler(pid, os.SCHED_BATCH, os.sched_param(0))",
        "fcntl.fcntl(os.pipe()[0], fcntl.F_SETOWN, pid)",
        "fcntl.ioctl(socket.socketpair()[0], 0x8901, pid.to_bytes(4, 'little'))",
        "fcntl.ioctl(socket.socketpair()[0], 0x8902, pid.to_bytes(4, 'little'))",
        "open(f'/proc/{pid}/mem', 'rb').read(1)",
        "open(f'/proc/{pid}/environ', 'rb').read(1)",
        "open(f'/proc/{pid}/oom_score_adj', 'w').write('1000')",
        "os.listdir(f'/proc/{pid}/fd')",
        "os.readlink(f'/proc/{pid}/fd/0')",
        "open('/dev/tty')",
        "open('/dev/shm/mine', 'w')",
        "open('/tmp/../etc/hostname').read()",
        "open('/proc/self/root/etc/hostname').read()",
    ],
)
async def test_own_programs_and_files_are_out_of_reach(any_sandbox, tier, neighbour, statement):
    if tier == "bubblewrap" and "/dev/shm" in statement:
        pytest.skip("it has one of its own")
    if tier == "bubblewrap" and any(one in statement for one in ("F_SETOWN", "PRIO_USER", "0x8901", "0x8902")):
        pytest.skip("there is nobody else to reach in its process namespace and user id")
    code = """
        import ctypes, fcntl, os, resource, signal, socket, subprocess, tempfile
        libc = ctypes.CDLL(None, use_errno=True)
        def checked(status):
            if status < 0:
                raise OSError(ctypes.get_errno(), "refused")
            return status
        def run(item):
            pid, folder, file = item
            mine = tempfile.gettempdir() + "/mine"
            STATEMENT
    """.replace("STATEMENT", statement)
    item = [neighbour.process.pid, str(neighbour.folder), str(neighbour.file)]
    [bad] = outcomes(await run_one(any_sandbox, code, item), 1)
    assert not bad.ok
    assert bad.error in REFUSED, bad.message
    assert neighbour.file.read_text() == "swordfish"
    assert neighbour.file.stat().st_mode & 0o777 == 0o600


class OneBlob:
    """Gives jobs one file to read."""

    def __init__(self, file: Path) -> None:
        self._file = file

    @asynccontextmanager
    async def open(self, manifest: Manifest) -> AsyncIterator[dict[str, Path]]:
        yield {"W": self._file}

    def folder(self) -> AbstractContextManager[None]:
        return nullcontext()


@pytest.mark.parametrize(
    "statement",
    [
        "os.fchmod(fd, 0)",
        "os.chmod(f'/proc/self/fd/{fd}', 0)",
        "os.fchown(fd, -1, -1)",
        "os.utime(fd, (0, 0))",
        "os.setxattr(fd, 'user.mine', b'1')",
        "fcntl.ioctl(fd, 0x40086602, (0x40).to_bytes(8, 'little'))",
        "os.open(path, os.O_RDONLY | os.O_TRUNC)",
        "os.truncate(path, 0)",
        "open(f'/proc/self/fd/{fd}', 'r+')",
        "os.unlink(path)",
    ],
)
async def test_what_may_be_read_cannot_be_changed(any_sandbox, tier, neighbour, statement):
    """A peer's blobs and packages are its user's own files."""
    if tier == "landlock" and os.geteuid() == 0:
        pytest.skip("a peer that runs as root cannot show blobs there")
    code = f"""
        import fcntl, os
        def run(item):
            path = os.environ["PEER_BLOB_W"]
            fd = os.open(path, os.O_RDONLY)
            assert os.read(fd, 9) == b"swordfish"
            try:
                {statement}
            except OSError:
                return "refused"
    """
    if tier == "bubblewrap":
        neighbour.file.chmod(0o644)
    before = neighbour.file.stat()
    any_sandbox.blobs = OneBlob(neighbour.file)
    blobs = (JobBlob(name="W", blob=bytes(32), size_bytes=1),)
    assert await run_all(any_sandbox, code, blobs=blobs) == ["refused"]
    after = neighbour.file.stat()
    assert (after.st_mode, after.st_ctime_ns, after.st_size) == (before.st_mode, before.st_ctime_ns, before.st_size)


async def test_all_processes_of_the_user_cannot_be_ended_at_once(any_sandbox, tier, neighbour):
    """The runner itself may well be: it is the job's own."""
    await run_one(any_sandbox, "import os\ndef run(item):\n    os.kill(-1, 9)")
    assert neighbour.process.poll() is None
    assert await run_all(any_sandbox, "def run(item):\n    return item", [1]) == [1]


async def test_what_numerical_code_needs_is_there(any_sandbox):
    code = """
        import os, tempfile, subprocess, threading
        import numpy as np
        from sklearn.svm import SVC
        def run(item):
            with tempfile.TemporaryDirectory() as folder:
                np.save(f"{folder}/a.npy", np.eye(3) @ np.eye(3))
                total = float(np.load(f"{folder}/a.npy").sum())
            said = subprocess.run(["/bin/echo", "hello"], capture_output=True, check=True).stdout
            thread = threading.Thread(target=print)
            thread.start()
            thread.join()
            fitted = SVC().fit([[0.0], [1.0]], [0, 1]).predict([[1.0]])
            return [total, said, int(fitted[0]), os.cpu_count() > 0]
    """
    pytest.importorskip("sklearn")
    assert await run_all(any_sandbox, code) == [[3.0, b"hello\n", 1, True]]
