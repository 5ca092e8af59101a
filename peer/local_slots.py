"""The submitter's own machine at work for its own job: slots that run chunks and audits.

Audits go first: a liar that is found out late has been given more chunks meanwhile. They share the warm
runners of the slots, so that checking starts no process of its own; with no slots for chunks, one is
kept for audits alone.
"""

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import trio

from peer.seam import Execution, ExecutionFailure, Executor, Runner
from protocol.bodies import Manifest
from protocol.errors import LocalError
from protocol.ids import ChunkId
from protocol.job_events import Piece
from protocol.messages.job import FailureKind

Answer = Callable[[Piece, Execution | ExecutionFailure], None]


@dataclass(frozen=True, slots=True)
class LocalWork:
    """What the slots need: the job, the input of a piece, and whom to tell."""

    executor: Executor
    manifest: Manifest
    payload: Callable[[Piece], bytes]
    on_done: Answer
    on_audited: Answer


@dataclass(frozen=True, slots=True)
class _Task:
    piece: Piece
    audit: bool
    fresh: bool = False


class LocalSlots:
    """Runs until cancelled. Runners start with the first piece, so that an unused slot costs nothing."""

    def __init__(self, work: LocalWork, slots: int) -> None:
        self._work = work
        self._slots = max(1, slots)
        self._waiting: deque[_Task] = deque()
        self._running: dict[ChunkId, trio.CancelScope] = {}
        self._wake = trio.Event()

    def assign(self, pieces: Iterable[Piece]) -> None:
        """Run these pieces, in this order."""
        self._waiting.extend(_Task(piece, audit=False) for piece in pieces)
        self._wake.set()

    def audit(self, piece: Piece, *, fresh: bool = False) -> None:
        """Execute this piece for comparison, before all chunks that wait; `fresh`: in a process of its own."""
        ahead = sum(task.audit for task in self._waiting)
        self._waiting.insert(ahead, _Task(piece, audit=True, fresh=fresh))
        self._wake.set()

    def recall(self, chunk: ChunkId) -> None:
        """Forget the audit of a chunk that has not begun."""
        self._waiting = deque(task for task in self._waiting if not task.audit or task.piece.chunk != chunk)

    def cancel(self, chunk: ChunkId) -> None:
        """Stop or forget a chunk; not its audit."""
        self._waiting = deque(task for task in self._waiting if task.audit or task.piece.chunk != chunk)
        if (scope := self._running.get(chunk)) is not None:
            scope.cancel()

    async def run(self) -> None:
        """All slots."""
        async with trio.open_nursery() as nursery:
            for _ in range(self._slots):
                nursery.start_soon(self._serve)

    async def _serve(self) -> None:
        task = await self._next()
        try:
            async with self._work.executor.open_runner(self._work.manifest) as runner:
                while True:
                    await self._do(runner, task)
                    task = await self._next()
        except LocalError as error:
            while True:
                self._answer(task, ExecutionFailure(FailureKind.ENVIRONMENT, 0, str(error)))
                task = await self._next()

    async def _next(self) -> _Task:
        while not self._waiting:
            if self._wake.is_set():
                self._wake = trio.Event()
            await self._wake.wait()
        return self._waiting.popleft()

    async def _do(self, runner: Runner, task: _Task) -> None:
        """Cancelled by `cancel`, a chunk has no answer."""
        with trio.CancelScope() as scope:
            if not task.audit:
                self._running[task.piece.chunk] = scope
            try:
                answer = await self._execute(runner, task)
            finally:
                if not task.audit:
                    del self._running[task.piece.chunk]
            self._answer(task, answer)

    async def _execute(self, runner: Runner, task: _Task) -> Execution | ExecutionFailure:
        payload = self._work.payload(task.piece)
        if not task.fresh:
            return await runner.run(payload)
        async with self._work.executor.open_runner(self._work.manifest) as other:
            return await other.run(payload)

    def _answer(self, task: _Task, answer: Execution | ExecutionFailure) -> None:
        if task.audit:
            self._work.on_audited(task.piece, answer)
        else:
            self._work.on_done(task.piece, answer)
