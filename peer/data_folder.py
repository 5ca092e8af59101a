"""Where one peer keeps its files: the folder, its lock, the path of its control socket.

Used by the command line as well, so it imports nothing heavy and never creates the folder unless told.
"""

import fcntl
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from protocol.errors import LocalError

DATA_FOLDER_VARIABLE = "PEER_DATA"
# sockaddr_un holds 108 bytes with the closing NUL on Linux, 104 elsewhere.
SOCKET_PATH_BYTES_MAX = 103

PROOFS = "proofs"
"""The folder with fraud proofs."""
BLOBS = "blobs"
"""The cache of blobs."""
_LOCK = "peer.lock"
_SOCKET = "control.sock"
_SOCKET_ELSEWHERE = "control.path"


def default_data_folder() -> Path:
    """`PEER_DATA`, or this user's place for application data."""
    if named := os.environ.get(DATA_FOLDER_VARIABLE):
        return Path(named)
    from platformdirs import user_data_path

    return user_data_path("parallel-peer", appauthor=False)


class DataFolder:
    """The names of the files in one peer's folder."""

    def __init__(self, path: Path) -> None:
        self.path = path.expanduser().absolute()
        self.key = self.path / "identity.key"
        self.journal = self.path / "journal.sqlite"
        self.log = self.path / "peer.log"
        self.proofs = self.path / PROOFS
        self.blobs = self.path / BLOBS
        self.runtimes = self.path / "runtimes"
        """What runtimes make ready for jobs."""

    def create(self) -> None:
        """Make the folder, for its owner alone, where it is not there yet; raises `LocalError`."""
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise LocalError(
                f"cannot use the data folder {self.path}: {error.strerror}; choose another with --data DIR"
            ) from error

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the folder for this process; raises `LocalError` that names the process which has it.

        The lock is the kernel's (flock), so it ends with the process however that ends.
        """
        path = self.path / _LOCK
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise LocalError(f"cannot open {path}: {error.strerror}; choose another folder with --data DIR") from error
        try:
            self._take(descriptor)
            yield
        finally:
            os.close(descriptor)

    def _take(self, descriptor: int) -> None:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            owner = os.read(descriptor, 32).decode(errors="replace").strip() or "unknown"
            raise LocalError(
                f"a peer already runs on {self.path} (process {owner}); "
                "stop it with `peer stop`, or choose another folder with --data DIR"
            ) from error
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)

    def owner(self) -> int | None:
        """The process that holds the folder, or None when none does."""
        try:
            descriptor = os.open(self.path / _LOCK, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            text = os.read(descriptor, 32).decode(errors="replace").strip()
            return int(text) if text.isdigit() else None
        finally:
            os.close(descriptor)
        return None

    def socket(self) -> Path:
        """Where the control socket of the peer on this folder is, should one run."""
        with suppress(OSError):
            return Path((self.path / _SOCKET_ELSEWHERE).read_text(encoding="utf-8").strip())
        return self.path / _SOCKET

    @contextmanager
    def socket_to_bind(self) -> Iterator[Path]:
        """A path short enough for a Unix socket, removed in the end.

        It lies in the folder where that fits, else in a private temporary folder whose name is noted here.
        """
        here, note = self.path / _SOCKET, self.path / _SOCKET_ELSEWHERE
        note.unlink(missing_ok=True)
        if len(os.fsencode(here)) <= SOCKET_PATH_BYTES_MAX:
            with _removed_after(here):
                yield here
            return
        with tempfile.TemporaryDirectory(prefix="peer-", dir=_short_folder()) as private, _removed_after(note):
            path = Path(private) / _SOCKET
            note.write_text(f"{path}\n", encoding="utf-8")
            with _removed_after(path):
                yield path


def _short_folder() -> str:
    runtime = os.environ.get("XDG_RUNTIME_DIR", "")
    return runtime if runtime and len(os.fsencode(runtime)) < 64 and Path(runtime).is_dir() else "/tmp"


@contextmanager
def _removed_after(path: Path) -> Iterator[None]:
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
