"""The program inside the sandbox: a warm Python that runs one job's chunks, one after another.

Started as `runner_main.py SOCKET PROGRESS SETTINGS` with three file descriptors. It speaks over the socket
alone, in frames of canonical CBOR, so that what a job prints goes to standard output and error and breaks
nothing. It says `["caged"]`, `["loaded"]`, and for each chunk `["done", result]` or
`["failed", kind, item, detail]`; before it, for each file of the result, `["file", name]` with an open descriptor,
which is answered by what stands for the file. The number of the item being run, plus one, stands in the progress file:
writing it costs nearly nothing, and the peer reads it only when a chunk takes long or the runner dies.

Foreign code runs in this very process and may do to it what it likes: the peer outside believes nothing
that comes from here without checking its form.
"""

import contextlib
import faulthandler
import importlib
import mmap
import os
import select
import sys
from functools import partial
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from peer.execution.runner_job import Job

_PROGRAM = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))  # noqa: PTH100, PTH120
"""Where this program and `protocol` lie. Without pathlib, which takes longer to load than all of this."""
_LOADER = "runtime_inside"
"""The runtime's file, put there for it (`peer/execution/interpreter.py`)."""
_RECEIVE_BYTES_MAX = 256 * 1024


class Channel:
    """Frames to and from the peer outside; blocking, since there is nothing else to do."""

    def __init__(self, fd: int) -> None:
        from protocol.framing import FrameDecoder
        from protocol.limits import CHUNK_INPUT_BYTES_MAX

        self._fd = fd
        self._decoder = FrameDecoder(CHUNK_INPUT_BYTES_MAX)

    def is_abandoned(self) -> bool:
        """The peer was killed while bubblewrap was still on its way to watching it: from now on it does watch."""
        poll = select.poll()
        poll.register(self._fd, select.POLLIN)
        return any(events & select.POLLHUP for _, events in poll.poll(0))

    def send(self, *message: object, descriptor: int | None = None) -> None:
        """One message out, with an open file where one is given."""
        from protocol import encoding
        from protocol.framing import frame

        payload = encoding.encode(list(message))
        rest = memoryview(frame(payload, len(payload)))
        if descriptor is not None:
            import socket

            with socket.socket(fileno=os.dup(self._fd)) as channel:
                rest = rest[socket.send_fds(channel, [rest], [descriptor]) :]
        while rest:
            rest = rest[os.write(self._fd, rest) :]

    def receive(self) -> bytes | None:
        """The next frame, or None when the peer has gone."""
        while (payload := self._decoder.next_frame()) is None:
            data = os.read(self._fd, _RECEIVE_BYTES_MAX)
            if not data:
                return None
            self._decoder.feed(data)
        return payload


def main() -> None:
    """Enter the cage, load the job, serve chunks until the socket closes."""
    sys.path.insert(0, _PROGRAM)
    channel_fd, progress_fd, settings_fd = map(int, sys.argv[1:4])
    settings = _read_settings(settings_fd)
    _close_all_but(channel_fd, progress_fd)
    _enter_cage(settings)
    channel = Channel(channel_fd)
    if channel.is_abandoned():
        return
    channel.send("caged")
    job = _load(settings, channel)
    channel.send("loaded")
    progress = mmap.mmap(progress_fd, mmap.PAGESIZE)
    os.close(progress_fd)
    _serve(channel, job, memoryview(progress).cast("Q"))


def _read_settings(fd: int) -> dict[str, Any]:
    """The packages' folders come first in the file, one a line: decoding the rest needs one of them."""
    with os.fdopen(fd, "rb") as file:
        file.seek(0)
        folders, _, rest = file.read().partition(b"\0")
    sys.path.extend(folders.decode().splitlines())
    from protocol import encoding

    return encoding.decode(rest)  # type: ignore[return-value]


def _close_all_but(*kept: int) -> None:
    for fd in map(int, os.listdir("/proc/self/fd")):  # noqa: PTH208 - pathlib takes longer to load than all of this
        if fd > 2 and fd not in kept:
            with contextlib.suppress(OSError):  # the listing's own descriptor is closed by now
                os.close(fd)


def _enter_cage(settings: dict[str, Any]) -> None:
    from peer.execution import runner_cage

    runner_cage.enter(settings["uid"], settings["limits"], settings["wall"])
    faulthandler.enable()
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(line_buffering=True, errors="backslashreplace")  # type: ignore[union-attr]


def _load(settings: dict[str, Any], channel: Channel) -> "Job":
    from peer.execution.runner_files import FileDoor
    from peer.execution.runner_job import Job

    loader = importlib.import_module(_LOADER)
    return Job(settings["job"], partial(loader.load, settings), FileDoor(channel))


def _serve(channel: Channel, job: "Job", progress: memoryview) -> None:
    from peer.execution.runner_job import ChunkFailed

    own_pid = os.getpid()

    def start_item(index: int) -> None:
        progress[0] = index + 1

    while (payload := channel.receive()) is not None:
        try:
            reply: tuple[object, ...] = ("done", job.run_chunk(payload, start_item))
        except ChunkFailed as failure:
            reply = ("failed", failure.kind, failure.item, failure.detail)
        if os.getpid() != own_pid:
            os._exit(0)  # a child that the job has forked and let come back here
        _flush()
        progress[0] = 0
        channel.send(*reply)


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        # A job may have closed or replaced them.
        with contextlib.suppress(OSError, ValueError, AttributeError):
            stream.flush()


if __name__ == "__main__":
    main()
