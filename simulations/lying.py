"""What dishonest executors do to a chunk, each on its own. Lies are well-formed: only a check can find them."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, replace
from itertools import count
from random import Random

import trio

from peer.executor_around import ExecutorAround
from peer.falsify import falsify
from peer.seam import Execution, ExecutionFailure, Executor, Runner
from protocol import encoding
from protocol.bodies import Manifest
from protocol.messages.job import FailureKind

Answer = Execution | ExecutionFailure
ChunkAlteration = Callable[[Runner, bytes], Awaitable[Answer]]
"""Answers a chunk, given an honest runner and the chunk's payload."""
GUESS_CLAIMS_S = 1.0


class AlteredExecutor(ExecutorAround):
    """An `Executor` whose chunks are answered by an alteration."""

    def __init__(self, honest: Executor, alteration: ChunkAlteration) -> None:
        super().__init__(honest)
        self._alteration = alteration

    def open_runner(self, manifest: Manifest) -> AbstractAsyncContextManager[Runner]:
        """See `Executor.open_runner`."""
        return self._open_runner(manifest)

    @asynccontextmanager
    async def _open_runner(self, manifest: Manifest) -> AsyncIterator[Runner]:
        async with self._inside.open_runner(manifest) as runner:
            yield _AlteredRunner(runner, self._alteration)


@dataclass(frozen=True, slots=True)
class _AlteredRunner:
    honest: Runner
    alteration: ChunkAlteration

    async def run(self, payload: bytes) -> Answer:
        return await self.alteration(self.honest, payload)


def falsified(answer: Answer, random: Random) -> Answer:
    """Another answer that could be right."""
    if isinstance(answer, ExecutionFailure):
        return answer
    return replace(answer, data=falsify(answer.data, random))


def lie_sometimes(rate: float, random: Random) -> ChunkAlteration:
    """Wrong with this probability, each time in another way."""

    async def alter(runner: Runner, payload: bytes) -> Answer:
        lies, how = random.random() < rate, Random(random.getrandbits(64))
        answer = await runner.run(payload)
        return falsified(answer, how) if lies else answer

    return alter


def lie_after(honest_chunks: int, rate: float, random: Random) -> ChunkAlteration:
    """Right for so many chunks, then wrong with this probability."""
    started = count()
    lying = lie_sometimes(rate, random)

    async def alter(runner: Runner, payload: bytes) -> Answer:
        return await (runner.run(payload) if next(started) < honest_chunks else lying(runner, payload))

    return alter


def guess(rate: float, random: Random) -> ChunkAlteration:
    """With this probability made up at once, without computing anything, and charged for."""

    async def alter(runner: Runner, payload: bytes) -> Answer:
        if random.random() >= rate:
            return await runner.run(payload)
        items = encoding.decode(payload)
        assert isinstance(items, list)
        await trio.lowlevel.checkpoint()
        return Execution(encoding.encode([[True, random.randrange(1000)] for _ in items]), GUESS_CLAIMS_S * len(items))

    return alter


def deny(rate: float, random: Random) -> ChunkAlteration:
    """With this probability says that the first item crashes: the job's fault, it claims."""

    async def alter(runner: Runner, payload: bytes) -> Answer:
        if random.random() >= rate:
            return await runner.run(payload)
        await trio.lowlevel.checkpoint()
        return ExecutionFailure(FailureKind.CRASHED, 0, "the runner was killed by signal 11")

    return alter


def overcharge(factor: float) -> ChunkAlteration:
    """The right result, at many times the computing time."""

    async def alter(runner: Runner, payload: bytes) -> Answer:
        answer = await runner.run(payload)
        if isinstance(answer, ExecutionFailure):
            return answer
        return replace(answer, compute_s=answer.compute_s * factor)

    return alter


async def free_ride(runner: Runner, payload: bytes) -> Answer:
    """Never answers."""
    await trio.sleep_forever()
    raise AssertionError("sleeping forever has ended")
