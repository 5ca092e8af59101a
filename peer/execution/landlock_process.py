"""A sandboxed process of the second tier seen from outside. Its first process is the guard of `landlock_main.py`."""

import os
import signal
import subprocess
from contextlib import suppress

import trio

from peer.execution.limits import POLL_INTERVAL_S
from peer.execution.process import Ends, SandboxProcess
from peer.execution.process_tree import descendants
from peer.execution.work_folder import excess_of


class LandlockProcess(SandboxProcess):
    """See `SandboxProcess`. It has no process namespace that ends as a whole: the guard ends what is in it."""

    def __init__(
        self, popen: subprocess.Popen[bytes], ends: Ends, reply_bytes_max: int, folder: str, processes_kept: int = 0
    ) -> None:
        super().__init__(popen, ends, reply_bytes_max, processes_kept=processes_kept)
        self._folder = folder
        self._look_at = 0.0

    def has_leftovers(self) -> bool:
        """Too many files count as well: many short chunks may fill a disk."""
        if super().has_leftovers():
            return True
        return trio.current_time() >= self._look_at and self.excess() is not None

    def excess(self) -> str | None:
        """Files beyond what the sandbox allows; bubblewrap has a file system of limited size instead."""
        self._look_at = trio.current_time() + POLL_INTERVAL_S
        return excess_of(self._folder, descendants(self.pid))

    def kill(self) -> None:
        """Tell the guard to end everything. Harmless when it has ended."""
        if self._popen.poll() is None:
            signal.pidfd_send_signal(self._pidfd, signal.SIGTERM)

    async def reap(self) -> None:
        """See `SandboxProcess.reap`."""
        self.kill()
        await self._wait_ended()
        self._kill_by_hand()
        await super().reap()

    def reap_blocking(self) -> None:
        """See `SandboxProcess.reap_blocking`."""
        try:
            super().reap_blocking()
        except subprocess.TimeoutExpired:
            self._kill_by_hand()
            raise

    def _kill_by_hand(self) -> None:
        """The guard did not get it done in time."""
        if self._popen.poll() is None:
            self.signal_all(signal.SIGKILL)

    def _told_pid(self) -> int | None:
        return self._popen.pid

    def _first_pid(self) -> int | None:
        return self._popen.pid if self._popen.poll() is None else None

    def _close(self) -> None:
        super()._close()
        # Empty unless the guard was ended before it could do it; then the next launcher removes it.
        with suppress(OSError):
            os.rmdir(self._folder)  # noqa: PTH106
