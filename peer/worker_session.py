"""One job stream on the worker's side, as tasks: a reader, a writer, and the slots of its lease.

All sends go through one bounded queue, so that only one task writes. The slots may outlive the stream: a coordinator
that vanishes may come back for what they compute. No rule lives here.
"""

from collections.abc import Callable

import trio

from peer.seam import Executor
from peer.worker_slots import LeaseSlots
from protocol.channel import MessageChannel
from protocol.errors import RemoteError, StreamClosed, Unavailable
from protocol.ids import LeaseId
from protocol.messages import Message
from protocol.messages.job import JOB_CODEC
from protocol.network import Stream
from protocol.worker_events import (
    CloseSlots,
    Effect,
    EndLease,
    EndSession,
    Event,
    HearComplaint,
    KeepReceipt,
    ReadOn,
    Received,
    Send,
    Sent,
    StartChunk,
    StartLease,
    StopChunk,
    StreamGone,
)

OUTBOX_LENGTH_MAX = 256
SEND_STALL_S_MAX = 30.0
LINGER_S = 2.0
CLOSE_TIMEOUT_S = 2.0


class WorkerSession:
    """Executes the machine's effects for one stream; feeds back what happens on it.

    `handle` takes events to the machine; `pause_if_full` asks it whether to stop reading for now.
    """

    def __init__(
        self,
        number: int,
        stream: Stream,
        executor: Executor,
        capacity: trio.CapacityLimiter,
        handle: Callable[[Event], None],
        pause_if_full: Callable[[int], bool],
    ) -> None:
        self.number = number
        self.channel: MessageChannel[Message] = MessageChannel(stream, JOB_CODEC)
        self._stream = stream
        self._executor = executor
        self._capacity = capacity
        self._handle = handle
        self._pause_if_full = pause_if_full
        self._outbox, self._outgoing = trio.open_memory_channel[Send](OUTBOX_LENGTH_MAX)
        self._finishing = False
        self._overflowed = False
        self._read_on = trio.Event()
        self._leases: dict[LeaseId, LeaseSlots] = {}
        self._nursery: trio.Nursery | None = None
        """Of the leases, which outlive the stream where their coordinator vanishes."""
        self._conversation = trio.CancelScope()

    async def run(self) -> None:
        """Until the stream has ended and nothing runs for it any more; raises what ended it, but for an orderly end.

        Raises (in groups) `RemoteError` when the coordinator broke the protocol, `Unavailable` when the stream was
        cut. The stream is closed or reset long before, where chunks run on.
        """
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            cut = await self._converse()
            if self._overflowed:
                raise RemoteError(f"{self._stream.remote_peer} asks without reading the answers")
            # The machine ends the lease now, or later, when nothing runs any more: only then does the nursery end.
            self._handle(StreamGone(self.number))
        if cut is not None:
            raise cut

    async def _converse(self) -> Unavailable | None:
        """Read and write until the stream ends; then it is closed or reset. What cut it, unless its end was orderly."""
        cut: Unavailable | None = None
        try:
            async with trio.open_nursery() as stream:
                self._conversation = stream.cancel_scope
                stream.start_soon(self._write)
                try:
                    await self._read()
                except StreamClosed:
                    stream.cancel_scope.cancel()
        except* Unavailable as group:
            cut = _first_of(group)
        self._finishing = True
        with trio.move_on_after(CLOSE_TIMEOUT_S):
            await (self._stream.reset() if cut or self._overflowed else self._stream.close())
        return cut

    def execute_nowait(self, effect: Effect) -> None:
        """Begin what the machine wants; never waits."""
        match effect:
            case Send():
                self._queue(effect)
            case StartChunk(lease=lease):
                self._leases[lease].start_nowait(effect)
            case StopChunk(lease=lease, slot=slot):
                self._leases[lease].stop_nowait(slot)
            case StartLease():
                self._start_lease(effect)
            case CloseSlots(lease=lease):
                self._leases[lease].close_nowait()
            case EndLease(lease=lease):
                self._leases.pop(lease).end_nowait()
            case ReadOn():
                self._read_on.set()
            case EndSession():
                self._finishing = True
                self._outbox.close()
            case KeepReceipt() | HearComplaint():
                raise AssertionError("receipts and complaints are the worker's, not the session's")

    def _queue(self, effect: Send) -> None:
        if self._finishing:
            return
        try:
            self._outbox.send_nowait(effect)
        except trio.WouldBlock:
            self._overflowed = True
            self._conversation.cancel()

    def _start_lease(self, effect: StartLease) -> None:
        assert self._nursery is not None
        slots = LeaseSlots(effect, self._executor, self._capacity, self._handle)
        self._leases[effect.lease] = slots
        self._nursery.start_soon(slots.run)

    async def _read(self) -> None:
        while True:
            message = await self.channel.receive()
            self._handle(Received(self.number, message))
            if self._pause_if_full(self.number):
                self._read_on = trio.Event()
                await self._read_on.wait()

    async def _write(self) -> None:
        async for effect in self._outgoing:
            for message in effect.messages:
                await self._write_one(message)
            if effect.lease is not None:
                self._handle(Sent(self.number, effect.lease))
        await self._stream.close()
        await trio.sleep(LINGER_S)
        self._conversation.cancel()

    async def _write_one(self, message: Message) -> None:
        with trio.move_on_after(SEND_STALL_S_MAX) as scope:
            await self.channel.send(message)
        if scope.cancelled_caught:
            raise Unavailable(f"{self._stream.remote_peer} did not read for {SEND_STALL_S_MAX:.0f} s")


def _first_of(group: BaseExceptionGroup[Unavailable]) -> Unavailable:
    first = group.exceptions[0]
    return _first_of(first) if isinstance(first, BaseExceptionGroup) else first
