"""The submitter's own machine at work for its own job: slots that run chunks, and one that audits."""

from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass

import trio

from peer.seam import Execution, ExecutionFailure, Executor, Runner
from protocol.bodies import Manifest
from protocol.errors import LocalError
from protocol.ids import ChunkId
from protocol.job_events import Piece
from protocol.messages.job import FailureKind

Answer = Callable[[Piece, Execution | ExecutionFailure], None]


class PieceQueue:
    """Pieces that wait for a slot; closed by cancellation of those who wait."""

    def __init__(self) -> None:
        self._waiting: deque[Piece] = deque()
        self._arrived = trio.Event()

    def put(self, pieces: Iterable[Piece]) -> None:
        """Add pieces at the end."""
        self._waiting.extend(pieces)
        self._arrived.set()

    def drop(self, chunk: ChunkId) -> None:
        """Forget a chunk that has not begun."""
        self._waiting = deque(piece for piece in self._waiting if piece.chunk != chunk)

    async def get(self) -> Piece:
        """The next piece."""
        while not self._waiting:
            self._arrived = trio.Event()
            await self._arrived.wait()
        return self._waiting.popleft()


@dataclass(frozen=True, slots=True)
class LocalWork:
    """What the slots need: the job, the input of a piece, and whom to tell."""

    executor: Executor
    manifest: Manifest
    payload: Callable[[Piece], bytes]
    on_done: Answer
    on_audited: Answer


class LocalSlots:
    """Runs until cancelled. Runners start with the first piece, so that an unused slot costs nothing."""

    def __init__(self, work: LocalWork, slots: int) -> None:
        self._work = work
        self._slots = slots
        self._pieces = PieceQueue()
        self._audits = PieceQueue()
        self._running: dict[ChunkId, trio.CancelScope] = {}

    def assign(self, pieces: Iterable[Piece]) -> None:
        """Run these pieces in a slot."""
        self._pieces.put(pieces)

    def cancel(self, chunk: ChunkId) -> None:
        """Stop or forget a piece."""
        self._pieces.drop(chunk)
        if (scope := self._running.get(chunk)) is not None:
            scope.cancel()

    def audit(self, piece: Piece) -> None:
        """Execute this piece for comparison."""
        self._audits.put([piece])

    async def run(self) -> None:
        """All slots and the auditor."""
        async with trio.open_nursery() as nursery:
            for _ in range(self._slots):
                nursery.start_soon(self._serve, self._pieces, self._run_slot_piece, self._work.on_done)
            nursery.start_soon(self._serve, self._audits, self._run_audit, self._work.on_audited)

    async def _serve(self, queue: PieceQueue, run: Callable[[Runner, Piece], Awaitable[None]], answer: Answer) -> None:
        first = await queue.get()
        try:
            async with self._work.executor.open_runner(self._work.manifest) as runner:
                await run(runner, first)
                while True:
                    await run(runner, await queue.get())
        except LocalError as error:
            answer(first, ExecutionFailure(FailureKind.ENVIRONMENT, 0, str(error)))
            while True:
                answer(await queue.get(), ExecutionFailure(FailureKind.ENVIRONMENT, 0, str(error)))

    async def _run_slot_piece(self, runner: Runner, piece: Piece) -> None:
        with trio.CancelScope() as scope:
            self._running[piece.chunk] = scope
            try:
                result = await runner.run(self._work.payload(piece))
            finally:
                del self._running[piece.chunk]
            self._work.on_done(piece, result)

    async def _run_audit(self, runner: Runner, piece: Piece) -> None:
        self._work.on_audited(piece, await runner.run(self._work.payload(piece)))
