"""Streams in memory: two bounded pipes, no task of their own but one courier for all, fit for virtual time."""

import heapq
import math
from collections.abc import Callable

import trio

from protocol.errors import Unavailable
from protocol.ids import PeerId

PIPE_SIZE_BYTES_MAX = 256 * 1024
"""What one direction holds before its sender waits, as Yamux's window does."""

ROUNDING = 1e-6
"""Of a tick: what is so little late is on time."""

Carry = Callable[[bytes], float]
"""Takes what is sent and says at what virtual time it arrives."""


class Courier:
    """Calls back when what is on its way has arrived: one task for a whole network.

    With a tick, what arrives within one tick is told at its end: a busy network then wakes up once for many messages.
    """

    def __init__(self, tick_s: float = 0.0) -> None:
        self._tick_s = tick_s
        self._due: dict[float, list[Callable[[], None]]] = {}
        self._times: list[float] = []
        """A heap of the keys of `_due`."""
        self._sleep = trio.CancelScope()
        self._wakes_at = -math.inf

    def call_at(self, at: float, call: Callable[[], None]) -> None:
        """Call, without waiting, at a virtual time that is not past, or at the end of its tick."""
        at = self.tick_of(at)
        calls = self._due.get(at)
        if calls is None:
            self._due[at] = [call]
            heapq.heappush(self._times, at)
        else:
            calls.append(call)
        if at < self._wakes_at:
            self._wakes_at = self._sleep.deadline = at

    def tick_of(self, at: float) -> float:
        """When a call for this time is made."""
        return math.ceil(at / self._tick_s - ROUNDING) * self._tick_s if self._tick_s else at

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            now = trio.current_time()
            while self._times and self._times[0] <= now:
                for call in self._due.pop(heapq.heappop(self._times)):
                    call()
            self._wakes_at = self._times[0] if self._times else math.inf
            with trio.CancelScope(deadline=self._wakes_at) as self._sleep:
                await trio.sleep_forever()


class Pipe:
    """One direction. Bytes become readable when `carry` says, in order; room comes back when they are read."""

    __slots__ = ("_arrives_at", "_carry", "_chunks", "_closed", "_courier", "_failure", "_size_bytes", "_waiting")

    def __init__(self, carry: Carry, courier: Courier) -> None:
        self._carry = carry
        self._courier = courier
        self._arrives_at = -math.inf
        self._chunks: list[tuple[float, bytes]] = []  # Mostly empty, and there are many: a deque takes 600 bytes.
        self._size_bytes = 0
        self._closed = False
        self._failure: str | None = None
        self._waiting: trio.lowlevel.ParkingLot | None = None

    @property
    def ended(self) -> bool:
        """Whether nothing more can be sent here."""
        return self._closed or self._failure is not None

    async def send(self, data: bytes) -> None:
        """All of `data`, waiting for room; a cancelled send may have sent a part."""
        await trio.lowlevel.checkpoint()
        position = 0
        while True:
            self._check_sendable()
            if position >= len(data):
                return
            part = data[position : position + PIPE_SIZE_BYTES_MAX - self._size_bytes]
            if part:
                self._put(part)
                position += len(part)
            else:
                await self._wait()

    async def receive(self, size_bytes_max: int) -> bytes:
        """Some bytes or b"" at the end. What had arrived before the connection broke is still given."""
        if self._is_readable():
            await trio.lowlevel.checkpoint()
        while not self._is_readable():
            await self._wait()
        if not self._chunks:
            raise Unavailable(str(self._failure))
        return self._take(size_bytes_max)

    def close(self) -> None:
        """The end, after what was sent. Idempotent."""
        if not self._closed:
            self._closed = True
            self._put(b"")

    def fail(self, why: str, *, lose: bool) -> None:
        """Nothing more goes in; with `lose`, what is on its way is gone too."""
        self._failure = self._failure or why
        if lose:
            self._chunks.clear()
        self.notify()

    def notify(self) -> None:
        """Something has arrived, ended, or been taken out: whoever waits looks again."""
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            waiting.unpark_all()

    def _check_sendable(self) -> None:
        if self._failure is not None:
            raise Unavailable(self._failure)
        if self._closed:
            raise Unavailable("the stream is closed for sending")

    def _put(self, part: bytes) -> None:
        if self._failure is None:
            # What was sent earlier arrives earlier, whatever happens to it on the way.
            self._arrives_at = max(self._arrives_at, self._courier.tick_of(self._carry(part)))
            self._chunks.append((self._arrives_at, bytes(part)))
            self._size_bytes += len(part)
            if self._arrives_at > trio.current_time():
                self._courier.call_at(self._arrives_at, self.notify)
            else:
                self.notify()

    def _take(self, size_bytes_max: int) -> bytes:
        arrived_at, chunk = self._chunks[0]
        if not chunk:
            # The end stays where it is: whoever asks again gets it again.
            return b""
        del self._chunks[0]
        if len(chunk) > size_bytes_max:
            self._chunks.insert(0, (arrived_at, chunk[size_bytes_max:]))
            chunk = chunk[:size_bytes_max]
        self._size_bytes -= len(chunk)
        self.notify()
        return chunk

    def _is_readable(self) -> bool:
        if self._chunks:
            return self._chunks[0][0] <= trio.current_time()
        return self._failure is not None

    async def _wait(self) -> None:
        if self._waiting is None:
            self._waiting = trio.lowlevel.ParkingLot()
        await self._waiting.park()


class MemoryStream:
    """One end of a stream; a `protocol.network.Stream`."""

    __slots__ = ("_inward", "_outward", "_remote_address", "_remote_peer")

    def __init__(self, remote_peer: PeerId, remote_address: str | None, inward: Pipe, outward: Pipe) -> None:
        self._remote_peer = remote_peer
        self._remote_address = remote_address
        self._inward = inward
        self._outward = outward

    @property
    def remote_peer(self) -> PeerId:
        """Who is at the other end."""
        return self._remote_peer

    @property
    def remote_address(self) -> str | None:
        """The multiaddr of the other end."""
        return self._remote_address

    async def send(self, data: bytes) -> None:
        """See `protocol.network.Stream`."""
        await self._outward.send(data)

    async def receive(self, size_bytes_max: int = 65536) -> bytes:
        """See `protocol.network.Stream`."""
        return await self._inward.receive(size_bytes_max)

    async def close(self) -> None:
        """See `protocol.network.Stream`."""
        self._outward.close()
        await trio.lowlevel.checkpoint()

    async def reset(self) -> None:
        """See `protocol.network.Stream`."""
        self.break_off("the stream was reset", lose=True)
        await trio.lowlevel.checkpoint()

    @property
    def finished(self) -> bool:
        """Whether both directions have ended."""
        return self._inward.ended and self._outward.ended

    def break_off(self, why: str, *, lose: bool) -> None:
        """End both directions with `Unavailable`."""
        self._inward.fail(why, lose=lose)
        self._outward.fail(why, lose=lose)


def stream_pair(
    opener: tuple[PeerId, str | None], acceptor: tuple[PeerId, str | None], there: Pipe, back: Pipe
) -> tuple[MemoryStream, MemoryStream]:
    """The opener's end and the acceptor's; each side is given as (peer, address), the pipes as seen by the opener."""
    return MemoryStream(*acceptor, back, there), MemoryStream(*opener, there, back)
