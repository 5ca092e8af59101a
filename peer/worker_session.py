"""One job stream on the worker's side, as tasks: a reader, a writer, and the slots of its lease.

All sends go through one bounded queue, so that only one task writes. No rule lives here.
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
)

OUTBOX_LENGTH_MAX = 256
SEND_STALL_S_MAX = 30.0
LINGER_S = 2.0


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

    async def run(self) -> None:
        """Until the stream ends or `EndSession`; raises what ended it, but for an orderly end.

        Raises (in groups) `RemoteError` when the coordinator broke the protocol, `Unavailable` when
        the stream was cut. The stream is left for the caller to close or reset.
        """
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            nursery.start_soon(self._write)
            try:
                await self._read()
            except StreamClosed:
                nursery.cancel_scope.cancel()
        if self._overflowed:
            raise RemoteError(f"{self._stream.remote_peer} asks without reading the answers")

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
            if self._nursery:
                self._nursery.cancel_scope.cancel()

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
        assert self._nursery is not None
        self._nursery.cancel_scope.cancel()

    async def _write_one(self, message: Message) -> None:
        with trio.move_on_after(SEND_STALL_S_MAX) as scope:
            await self.channel.send(message)
        if scope.cancelled_caught:
            raise Unavailable(f"{self._stream.remote_peer} did not read for {SEND_STALL_S_MAX:.0f} s")
