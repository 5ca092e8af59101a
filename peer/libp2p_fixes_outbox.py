"""What a connection still has to write: whole Yamux frames, in order, bounded, joined into large writes.

Imports nothing of libp2p. Frames enter at once or not at all, so a sender that is cancelled never leaves
half a frame on the wire (the library's own write does: LIBP2P, fix 2).
"""

from collections import deque

import trio

WRITE_SIZE_BYTES_MAX = 65519
"""Plain bytes of one Noise message (65,535 less the tag of 16)."""

OUTBOX_SIZE_BYTES_MAX = 256 * 1024
URGENT_FRAMES_MAX = 1024
"""Answers, acknowledgements and window updates not yet written; a peer that provokes more does not read."""


class Outbox:
    """Frames of one connection on their way to its socket. One task takes; any task puts."""

    def __init__(self) -> None:
        self._urgent: deque[bytes] = deque()
        self._frames: deque[bytes] = deque()
        self._size_bytes = 0
        self._taken = False
        self._closed = False
        self._changed = trio.Event()
        self._room = trio.Event()

    @property
    def overflows(self) -> bool:
        """Whether the other side provokes answers faster than it reads them."""
        return len(self._urgent) > URGENT_FRAMES_MAX

    def put(self, frame: bytes) -> None:
        """Add a frame that must keep its place among the others; the caller has waited for room if it is large."""
        self._frames.append(frame)
        self._size_bytes += len(frame)
        self._changed.set()

    def put_urgent(self, frame: bytes) -> None:
        """Add a frame that may overtake data: a window update, a ping or its answer."""
        self._urgent.append(frame)
        self._changed.set()

    async def wait_room(self) -> None:
        """Until there is room for another data frame, or the connection is closed. Cancelling is harmless."""
        await trio.lowlevel.checkpoint()
        while self._size_bytes >= OUTBOX_SIZE_BYTES_MAX and not self._closed:
            await self._room.wait()

    async def take(self) -> bytes | None:
        """The next frames, as many as fit into one write; None after `close`. Waits for the first."""
        self._taken = False
        self._notify_room()
        while not (self._urgent or self._frames):
            if self._closed:
                return None
            self._changed = trio.Event()
            await self._changed.wait()
        self._taken = True
        return self._joined()

    async def wait_written(self) -> None:
        """Until everything that was put is written, or the connection is closed."""
        await trio.lowlevel.checkpoint()
        while (self._urgent or self._frames or self._taken) and not self._closed:
            await self._room.wait()

    def close(self) -> None:
        """Drop what is left and wake everybody who waits."""
        self._closed = True
        self._urgent.clear()
        self._frames.clear()
        self._size_bytes = 0
        self._changed.set()
        self._room.set()

    def _joined(self) -> bytes:
        parts: list[bytes] = []
        size = 0
        for queue in (self._urgent, self._frames):
            while queue and (not parts or size + len(queue[0]) <= WRITE_SIZE_BYTES_MAX):
                parts.append(queue.popleft())
                size += len(parts[-1])
                if queue is self._frames:
                    self._size_bytes -= len(parts[-1])
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _notify_room(self) -> None:
        if not self._closed:
            self._room.set()
            self._room = trio.Event()
