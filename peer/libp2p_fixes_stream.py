"""One stream of a Yamux connection, without the library's losses (LIBP2P, fixes 2, 3 and 7).

The library's stream loses what it read when the window update after it is cancelled, gives up a write
after 5 s without window (fixed in its code), and shows a reset as an orderly end. Here nothing is awaited
between taking bytes from the buffer and returning them, and every wait may be cancelled.
"""

import struct
from collections import deque
from typing import TYPE_CHECKING

import trio
from libp2p.stream_muxer.exceptions import MuxedStreamClosed, MuxedStreamEOF, MuxedStreamReset
from libp2p.stream_muxer.yamux import yamux

from peer.libp2p_fixes_outbox import WRITE_SIZE_BYTES_MAX

if TYPE_CHECKING:
    from peer.libp2p_fixes_yamux import PeerYamux

FRAME_DATA_BYTES_MAX = WRITE_SIZE_BYTES_MAX - yamux.HEADER_SIZE
"""65,507: a frame of a full 64 KiB would spill into a second Noise message."""

WINDOW_BYTES = yamux.DEFAULT_WINDOW_SIZE
WINDOW_BYTES_MAX = 4 * 1024 * 1024
_WINDOW_GROWS_WITHIN_RTTS = 4


def header(kind: int, flags: int, stream_id: int, length: int) -> bytes:
    """The 12 bytes before every Yamux frame (hashicorp/yamux, spec.md)."""
    return struct.pack(yamux.YAMUX_HEADER_FORMAT, 0, kind, flags, stream_id, length)


class PeerYamuxStream(yamux.YamuxStream):  # type: ignore[misc]
    """One task may read while another writes. Errors are the library's `MuxedStream...`."""

    def __init__(self, stream_id: int, conn: "PeerYamux", is_initiator: bool) -> None:
        super().__init__(stream_id, conn, is_initiator)
        self.conn: PeerYamux = conn
        self.closed = self.send_closed = self.recv_closed = False
        self.broken = False
        """The connection died without an orderly end of this stream."""
        self._chunks: deque[bytes] = deque()
        self._readable = trio.Event()
        self._writable = trio.Event()
        self._freed_bytes = 0
        self._granted_at = trio.current_time()

    async def read(self, n: int | None = -1) -> bytes:
        """At least one and at most `n` bytes; raises `MuxedStreamEOF` at the end, `MuxedStreamReset` after a reset."""
        await trio.lowlevel.checkpoint()
        while not self._chunks:
            self._raise_if_ended()
            self._readable = trio.Event()
            await self._readable.wait()
        data = self._take(n if n is not None and n >= 0 else WINDOW_BYTES_MAX)
        self._give_window(len(data))
        return data

    async def write(self, data: bytes) -> None:
        """Hand over all of `data`; waits, as long as it takes, while the other side does not read.

        When cancelled, a part of `data` may have been handed over, in whole frames.
        """
        await trio.lowlevel.checkpoint()
        self._raise_if_unwritable()
        rest = memoryview(data)
        while rest:
            await self._wait_sendable()
            size = min(len(rest), self.send_window, FRAME_DATA_BYTES_MAX)
            self.send_window -= size
            self.conn.outbox.put(header(yamux.TYPE_DATA, 0, self.stream_id, size) + rest[:size])
            rest = rest[size:]

    async def close(self) -> None:
        """End our direction after everything written so far. Idempotent; never waits for the other side."""
        self.close_nowait()
        await trio.lowlevel.checkpoint()

    async def reset(self) -> None:
        """What the library calls when a connection is over; what had arrived must stay readable then."""
        if not self.closed:
            self.reset_nowait()
        await trio.lowlevel.checkpoint()

    def close_nowait(self) -> None:
        """`close` without the checkpoint."""
        if self.send_closed or self.closed:
            return
        self.send_closed = True
        self.conn.outbox.put(header(yamux.TYPE_WINDOW_UPDATE, yamux.FLAG_FIN, self.stream_id, 0))
        self._writable.set()
        self._forget_if_done()

    def reset_nowait(self) -> None:
        """Drop both directions, and what had arrived: a cancelled task can still do it. Idempotent."""
        if self.closed and not self._chunks:
            return
        if not self.closed:
            self.conn.outbox.put(header(yamux.TYPE_WINDOW_UPDATE, yamux.FLAG_RST, self.stream_id, 0))
        self.on_reset()

    def on_data(self, data: bytes) -> None:
        """Bytes arrived; the connection has already counted them against the window."""
        self._chunks.append(data)
        self._readable.set()

    def on_window(self, increment: int) -> None:
        """The other side allows more bytes."""
        self.send_window += increment
        self._writable.set()

    def on_fin(self) -> None:
        """The other side has ended its direction."""
        self.recv_closed = True
        self._readable.set()
        self._forget_if_done()

    def on_reset(self) -> None:
        """Either side has reset the stream."""
        self.reset_received = True
        self._chunks.clear()
        self._end()

    def on_broken(self) -> None:
        """The connection is gone. What had arrived can still be read, and an orderly end stays one."""
        self.broken = not self.recv_closed
        self._end()

    def _end(self) -> None:
        self.closed = self.send_closed = self.recv_closed = True
        self._readable.set()
        self._writable.set()
        self.conn.forget(self)

    def _forget_if_done(self) -> None:
        if self.send_closed and self.recv_closed:
            self.closed = True
            self.conn.forget(self)

    async def _wait_sendable(self) -> None:
        while True:
            await self.conn.outbox.wait_room()
            self._raise_if_unwritable()
            if self.send_window > 0:
                return
            self._writable = trio.Event()
            await self._writable.wait()

    def _raise_if_ended(self) -> None:
        if self.reset_received or self.broken:
            raise MuxedStreamReset("the stream was reset" if self.reset_received else "the connection broke")
        if self.recv_closed:
            raise MuxedStreamEOF("the stream has ended")

    def _raise_if_unwritable(self) -> None:
        if self.reset_received or self.broken:
            raise MuxedStreamReset("the stream was reset" if self.reset_received else "the connection broke")
        if self.send_closed:
            raise MuxedStreamClosed("the stream is closed for sending")

    def _take(self, size_max: int) -> bytes:
        first = self._chunks[0]
        if len(first) > size_max:
            self._chunks[0] = first[size_max:]
            return first[:size_max]
        parts = [self._chunks.popleft()]
        size = len(first)
        while self._chunks and size + len(self._chunks[0]) <= size_max:
            parts.append(self._chunks.popleft())
            size += len(parts[-1])
        return first if len(parts) == 1 else b"".join(parts)

    def _give_window(self, size: int) -> None:
        """Tell the other side, once half of the window is used, that it may send more."""
        self._freed_bytes += size
        if self.recv_closed or self._freed_bytes < self.target_recv_window // 2:
            return
        now = trio.current_time()
        quick = now - self._granted_at < _WINDOW_GROWS_WITHIN_RTTS * self.conn.rtt()
        extra = self.conn.take_window_budget(self.target_recv_window) if quick else 0
        increment = self._freed_bytes + extra
        self.target_recv_window += extra
        self.recv_window += increment
        self._freed_bytes, self._granted_at = 0, now
        self.conn.outbox.put_urgent(header(yamux.TYPE_WINDOW_UPDATE, 0, self.stream_id, increment))
