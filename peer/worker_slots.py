"""The slots of one lease, as tasks: each holds a warm runner and runs one chunk after another.

No rule lives here: the machine says what starts and stops, the tasks report how it ended.
"""

from collections.abc import Callable
from contextlib import AsyncExitStack

import trio

from peer.seam import Execution, ExecutionFailure, Executor, Runner
from protocol.errors import LocalError
from protocol.messages.job import FailureKind
from protocol.worker_events import (
    ChunkFailed,
    ChunkRan,
    ChunkStopped,
    Event,
    RunnerFailed,
    RunnerReady,
    StartChunk,
    StartLease,
)


class LeaseSlots:
    """Runs what the machine asks for on the slots of one lease.

    `capacity` has one token per slot of the worker: a runner opens only after that of an ended lease
    has closed, so that no more runners exist than slots.
    """

    def __init__(
        self, start: StartLease, executor: Executor, capacity: trio.CapacityLimiter, handle: Callable[[Event], None]
    ) -> None:
        self._start = start
        self._executor = executor
        self._capacity = capacity
        self._handle = handle
        self._scope = trio.CancelScope()
        self._chunk_scopes = [trio.CancelScope() for _ in range(start.slots)]
        self._inboxes = [trio.open_memory_channel[bytes](1) for _ in range(start.slots)]

    async def run(self) -> None:
        """Until `end_nowait` or cancellation; closes all runners before it returns."""
        with self._scope:
            async with trio.open_nursery() as nursery:
                for slot in range(self._start.slots):
                    nursery.start_soon(self._run_slot, slot)

    def start_nowait(self, effect: StartChunk) -> None:
        """Give a chunk to an idle slot."""
        self._chunk_scopes[effect.slot] = trio.CancelScope()
        self._inboxes[effect.slot][0].send_nowait(effect.data)

    def stop_nowait(self, slot: int) -> None:
        """Stop what runs on the slot; it reports how that ended."""
        self._chunk_scopes[slot].cancel()

    def close_nowait(self) -> None:
        """No more chunks come: each runner closes as soon as nothing runs on it."""
        for send, _ in self._inboxes:
            send.close()

    def end_nowait(self) -> None:
        """Stop everything; nothing more is reported that matters."""
        self._scope.cancel()

    async def _run_slot(self, slot: int) -> None:
        session, lease = self._start.session, self._start.lease
        async with self._capacity, AsyncExitStack() as stack:
            try:
                runner = await stack.enter_async_context(self._executor.open_runner(self._start.manifest))
            except LocalError as error:
                self._handle(RunnerFailed(session, lease, slot, str(error)))
                return
            self._handle(RunnerReady(session, lease, slot))
            async for payload in self._inboxes[slot][1]:
                self._handle(await self._run_chunk(runner, slot, payload))

    async def _run_chunk(self, runner: Runner, slot: int, payload: bytes) -> ChunkRan | ChunkFailed | ChunkStopped:
        session, lease = self._start.session, self._start.lease
        with self._chunk_scopes[slot] as scope:
            try:
                outcome = await runner.run(payload)
            except LocalError as error:
                outcome = ExecutionFailure(FailureKind.ENVIRONMENT, 0, str(error))
        if scope.cancelled_caught:
            return ChunkStopped(session, lease, slot)
        match outcome:
            case Execution(data=data, compute_s=compute_s, log=log):
                return ChunkRan(session, lease, slot, data, compute_s, log)
            case ExecutionFailure(kind=kind, item=item, detail=detail, log=log):
                return ChunkFailed(session, lease, slot, kind, item, detail, log)
