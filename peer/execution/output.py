"""What a job prints: read from its pipe, kept up to a bound, the rest counted and thrown away."""

import os

from peer.execution.limits import LOG_READ_BYTES_MAX
from protocol.limits import LOG_BYTES_PER_CHUNK_MAX

_READ_BYTES = 65_536
_NOTE_BYTES = 64
"""Room for the note that says how much was left out."""


class Output:
    """The reading end of the pipe (non-blocking) and the kept bytes of one chunk."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._kept = bytearray()
        self._left_out_bytes = 0
        self.is_open = True

    @property
    def is_flooded(self) -> bool:
        """More has come than is kept: no reason to read as fast as the job prints."""
        return self._left_out_bytes > 0

    def drain(self) -> None:
        """Take what is there, at most `LOG_READ_BYTES_MAX` at once."""
        for _ in range(LOG_READ_BYTES_MAX // _READ_BYTES):
            try:
                data = os.read(self._fd, _READ_BYTES) if self.is_open else b""
            except BlockingIOError:
                return
            if not data:
                self.is_open = False
                return
            self._keep(data)

    def take(self) -> bytes:
        """What was kept since the last call, with a note where something was left out."""
        self.drain()
        log, left_out = bytes(self._kept), self._left_out_bytes
        self._kept.clear()
        self._left_out_bytes = 0
        return log + b"\n[... %d bytes of output left out]\n" % left_out if left_out else log

    def _keep(self, data: bytes) -> None:
        room = LOG_BYTES_PER_CHUNK_MAX - _NOTE_BYTES - len(self._kept)
        self._kept += data[:room]
        self._left_out_bytes += max(0, len(data) - room)
