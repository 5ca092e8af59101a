"""One sandboxed process seen from outside: spoken to, watched, killed. It knows frames but no chunks.

Channel, output and the end of the process are watched by one epoll, so that a runner needs no task of
its own. Killing hits the first process of the sandbox's process namespace: the kernel ends all others
with it, before the one outside that waits for it can end. So once `reap` returns, nothing is left.
"""

import os
import re
import select
import signal
import socket
import subprocess
from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import trio

from peer.execution.limits import KILL_TIMEOUT_S
from peer.execution.output import Output
from peer.execution.process_tree import TreeUsage, descendants, usage
from protocol.framing import FrameDecoder

_RECEIVE_BYTES = 256 * 1024
SIGNAL_ROUNDS_MAX = 3
DESCRIPTORS_AT_ONCE_MAX = 4
"""Taken with one read; the kernel closes the rest."""
# The first process (bubblewrap's) and the runner.
_PROCESSES_OF_A_RUNNER = 2


@dataclass(frozen=True, slots=True)
class Ends:
    """Our ends of what a sandboxed process was started with. The process owns and closes them."""

    channel: socket.socket
    output_fd: int
    info_fd: int
    progress_fd: int


class SandboxProcess:
    """A started sandbox. All methods but `activity` and `reap` return at once."""

    def __init__(
        self, popen: subprocess.Popen[bytes], ends: Ends, reply_bytes_max: int, *, processes_kept: int = 0
    ) -> None:
        self._popen = popen
        self._processes_kept = processes_kept
        self._ends = ends
        self._decoder = FrameDecoder(reply_bytes_max)
        self._pidfd = os.pidfd_open(popen.pid)
        self._info = b""
        self._first: int | None = None
        self._outgoing = memoryview(b"")
        self.output = Output(ends.output_fd)
        self.channel_ended = False
        self._descriptors: deque[int] = deque()
        for fd in (ends.output_fd, ends.info_fd):
            os.set_blocking(fd, False)
        ends.channel.setblocking(False)
        self._epoll = select.epoll()
        for fd in (ends.channel.fileno(), ends.output_fd, self._pidfd):
            self._epoll.register(fd, select.EPOLLIN)

    @property
    def pid(self) -> int:
        """Of the process outside that waits for the sandbox; also the number of its process group."""
        return self._popen.pid

    def send(self, frame: bytes) -> None:
        """Queue a frame; `pump` (called by all who wait) sends the rest when there is room."""
        self._outgoing = memoryview(frame)
        self.pump()

    def pump(self) -> None:
        """Move bytes both ways as far as that goes without waiting."""
        self.output.drain()
        while self._outgoing:
            try:
                self._outgoing = self._outgoing[self._ends.channel.send(self._outgoing) :]
            except BlockingIOError:
                return
            except OSError:
                self._outgoing = memoryview(b"")

    def next_frame(self) -> bytes | None:
        """A frame that has come; raises `BadFrame` or `FrameTooLong` when the other side breaks the form."""
        while (frame := self._decoder.next_frame()) is None:
            try:
                data = self._receive()
            except BlockingIOError:
                return None
            except OSError:
                data = b""
            if not data:
                self.channel_ended = True
                return None
            self._decoder.feed(data)
        return frame

    def _receive(self) -> bytes:
        data, descriptors, _, _ = socket.recv_fds(
            self._ends.channel, _RECEIVE_BYTES, DESCRIPTORS_AT_ONCE_MAX, socket.MSG_CMSG_CLOEXEC
        )
        self._descriptors.extend(descriptors)
        while len(self._descriptors) > DESCRIPTORS_AT_ONCE_MAX:
            os.close(self._descriptors.popleft())
        return data

    def next_descriptor(self) -> int | None:
        """An open file that the sandbox has handed out, which is the caller's to close; None when there is none."""
        return self._descriptors.popleft() if self._descriptors else None

    async def activity(self) -> None:
        """Until there is something to read, room to write, or the process has ended. Spurious returns happen."""
        self._watch(self._ends.channel.fileno(), select.EPOLLIN | (select.EPOLLOUT if self._outgoing else 0))
        # A pipe at its end or one that floods would wake us for ever: it is looked at when we wake for other reasons.
        self._watch(
            self._ends.output_fd, select.EPOLLIN if self.output.is_open and not self.output.is_flooded else None
        )
        await trio.lowlevel.wait_readable(self._epoll.fileno())

    def _watch(self, fd: int, events: int | None) -> None:
        if events is None:
            with suppress(FileNotFoundError):
                self._epoll.unregister(fd)
            return
        try:
            self._epoll.modify(fd, events)
        except FileNotFoundError:
            self._epoll.register(fd, events)

    @property
    def returncode(self) -> int | None:
        """How it ended, as the shell tells it (128 + signal), or None while it runs."""
        return self._popen.poll()

    @property
    def item(self) -> int | None:
        """The place of the item being run; None between chunks. The sandbox may write any number there."""
        number = int.from_bytes(os.pread(self._ends.progress_fd, 8, 0), "little")
        return number - 1 if number else None

    def usage(self, memory_bytes_doubtful: int) -> TreeUsage:
        """Memory and processes of the sandbox."""
        first = self._first_pid()
        return usage(first, memory_bytes_doubtful) if first is not None else TreeUsage(0, 0)

    def excess(self) -> str | None:
        """What else the sandbox has taken beyond its bounds, in words."""
        return None

    def has_leftovers(self) -> bool:
        """Whether a chunk has left processes behind. Asked after every chunk, so with the fewest looks at /proc."""
        first = self._told_pid()
        return first is None or len(descendants(first)) > _PROCESSES_OF_A_RUNNER + self._processes_kept

    def signal_all(self, number: int) -> None:
        """Send a signal to everything inside but the first process, until no new one is found; a few looks at most."""
        first = self._first_pid() if self._popen.poll() is None else None
        told: set[int] = set()
        for _ in range(SIGNAL_ROUNDS_MAX):
            fresh = set(descendants(first)) - told - {first} if first is not None else set()
            for pid in sorted(fresh):
                with suppress(ProcessLookupError, PermissionError):
                    os.kill(pid, number)
            told |= fresh
            if not fresh:
                return

    def kill(self) -> None:
        """End everything in the sandbox, now. Harmless when it has ended."""
        if self._popen.poll() is not None:
            return
        first = self._first_pid()
        if first is None:
            self._kill_halfway_started()
            return
        with suppress(ProcessLookupError):
            fd = os.pidfd_open(first)
            try:
                # Asked again with the descriptor in hand: the number may have passed to a stranger's process.
                if self._is_ours(first):
                    signal.pidfd_send_signal(fd, signal.SIGKILL)
            finally:
                os.close(fd)

    def _kill_halfway_started(self) -> None:
        """Bubblewrap has not let the first process inside go on yet. That one would wait for ever if only its
        parent were killed; both are still in one process group, and no fork escapes a signal to a group.
        """
        with suppress(ProcessLookupError):
            os.killpg(self._popen.pid, signal.SIGKILL)

    async def reap(self) -> None:
        """Kill, wait until nothing is left, close everything. Shielded; takes milliseconds."""
        self.kill()
        await self._wait_ended()
        if self._popen.poll() is None:
            self._popen.kill()
            await self._wait_ended()
        self._close()

    def reap_blocking(self) -> None:
        """`reap` for those who have no event loop; raises `TimeoutExpired` when it cannot be killed."""
        self.kill()
        self._popen.wait(KILL_TIMEOUT_S)
        self._close()

    def wait_blocking(self, timeout_s: float) -> None:
        """`activity` for those who have no event loop, with a time-out."""
        self._epoll.poll(timeout_s)

    async def ended(self) -> None:
        """Until the process has ended."""
        while self._popen.poll() is None:
            await trio.lowlevel.wait_readable(self._pidfd)

    async def _wait_ended(self) -> None:
        with trio.CancelScope(shield=True, deadline=trio.current_time() + KILL_TIMEOUT_S):
            await self.ended()

    def _close(self) -> None:
        self._epoll.close()
        self._ends.channel.close()
        for fd in (*self._descriptors, self._pidfd, self._ends.output_fd, self._ends.info_fd, self._ends.progress_fd):
            os.close(fd)

    def _first_pid(self) -> int | None:
        """The first process inside, while it is there."""
        first = self._told_pid()
        return first if first is not None and self._is_ours(first) else None

    def _told_pid(self) -> int | None:
        """The first process inside, told by bubblewrap once it has made the namespaces."""
        if self._first is None:
            with suppress(BlockingIOError):
                self._info += os.read(self._ends.info_fd, 4096)
            told = re.search(rb'"child-pid":\s*(\d+)', self._info)  # the JSON comes in pieces, this one first
            self._first = int(told[1]) if told else None
        return self._first

    def _is_ours(self, pid: int) -> bool:
        try:
            fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
        except OSError:
            return False
        return int(fields[1]) == self._popen.pid
