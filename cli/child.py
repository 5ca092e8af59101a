"""Peers that a command starts for itself, as processes of their own, and ends by their ids."""

import contextlib
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

import msgspec

from cli.exits import WrongUse
from peer.control_client import ControlClient
from peer.data_folder import DataFolder
from protocol.errors import LocalError

READY_TIMEOUT_S = 30.0
STOP_TIMEOUT_S = 5.0
LOG_TAIL_LINES = 3
READ_SIZE_BYTES = 65536


class PeerEvent(msgspec.Struct, frozen=True, kw_only=True):
    """One line that `peer start --json` prints."""

    event: str
    peer: str = ""
    bootstrap: list[str] = []
    sandbox: str = ""
    address: str = ""
    error: str = ""
    contacts: int = 0


class ChildPeer:
    """A `peer start` process on `folder`. Leaving the context ends it; so does the death of this process."""

    def __init__(self, folder: DataFolder, *options: str, stays: bool = False) -> None:
        self.folder = folder
        self.client = ControlClient(folder.socket())
        self._options = options
        self._stays = stays
        self._unread = b""
        self._log_start = 0
        self._asked = False
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> "ChildPeer":
        self.folder.create()
        command = [sys.executable, "-P", "-m", "cli", "start", "--json", "--data", str(self.folder.path)]
        if not self._stays:
            command.append("--end-with-input")
        with self.folder.log.open("ab") as log:
            self._log_start = log.tell()
            self._process = subprocess.Popen(
                [*command, *self._options],
                stdin=subprocess.DEVNULL if self._stays else subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env=_environment(),
                start_new_session=True,
            )
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        if not self._stays or kind is not None:
            self.stop()
        for stream in (self._running.stdin, self._running.stdout):
            if stream is not None:
                stream.close()

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._running.pid

    def wait_for(self, wanted: str, timeout_s: float = READY_TIMEOUT_S) -> PeerEvent:
        """The next event of that name; raises `LocalError` with the end of its log when it dies instead."""
        deadline = time.monotonic() + timeout_s
        while True:
            event = msgspec.json.decode(self._line(deadline, wanted), type=PeerEvent)
            if event.event == wanted:
                # The socket's place is known only now, when its path had to be shortened.
                self.client = ControlClient(self.folder.socket())
                return event

    def ask_to_end(self) -> None:
        """Tell it to end, without waiting."""
        self._asked = True
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)

    def stop(self) -> None:
        """End it politely, then by force."""
        if not self._asked:
            self.ask_to_end()
        try:
            self._running.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._running.kill()
            self._running.wait()

    @property
    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            raise LocalError("the child peer was not started")
        return self._process

    def _line(self, deadline: float, wanted: str) -> bytes:
        stdout = self._running.stdout
        assert stdout is not None
        while b"\n" not in self._unread:
            ready, _, _ = select.select([stdout], [], [], max(0.0, deadline - time.monotonic()))
            if not ready:
                raise LocalError(f"the peer on {self.folder.path} was not {wanted} in time{self._last_words()}")
            data = os.read(stdout.fileno(), READ_SIZE_BYTES)
            if not data:
                self._died()
            self._unread += data
        line, _, self._unread = self._unread.partition(b"\n")
        return line

    def _died(self) -> None:
        code = self._running.wait()
        failure = WrongUse if code == 2 else LocalError
        raise failure(f"the peer that was started for this on {self.folder.path} ended with {code}{self._last_words()}")

    def _last_words(self) -> str:
        with contextlib.suppress(OSError):
            with self.folder.log.open("rb") as log:
                log.seek(self._log_start)
                lines = log.read().decode(errors="replace").split("\n")
            return ": " + " | ".join([line.strip() for line in lines if line.strip()][-LOG_TAIL_LINES:])
        return ""


def peer_options(*, bootstrap: Sequence[str] = (), listen: Sequence[str] = ()) -> list[str]:
    """Options of `peer start` for a child."""
    return [
        *(word for address in bootstrap for word in ("--bootstrap", address)),
        *(word for address in listen for word in ("--listen", address)),
    ]


def _environment() -> dict[str, str]:
    """Ours, with our own packages first: `-P` keeps a `cli.py` in the current folder from being run instead."""
    root = str(Path(__file__).resolve().parent.parent)
    paths = [root, *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
