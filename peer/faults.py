"""Peers that misbehave on purpose, for tests and demonstrations: `--fault lie:0.3` and the like.

A fault wraps the executor, where a dishonest or broken machine would differ too; everything else about
the peer is the shipped code. The capability record says which fault a peer was started with.
"""

import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from enum import StrEnum
from random import Random

import trio

from peer.executor_around import ExecutorAround
from peer.falsify import falsify
from peer.falsify_files import falsify_files
from peer.seam import BlobFiles, Execution, ExecutionFailure, Executor, Runner
from protocol.bodies import Manifest
from protocol.errors import LocalError
from protocol.files import FILE_MARK
from protocol.ids import digest

_CRASH_AFTER_S_MAX = 0.2
_FORMS = (
    "lie:0.3 (wrong results with this probability), collude:0.3 (the same wrong results as all who collude, for this "
    "share of the chunks), sleeper:20 (honest for 20 chunks, then a liar), "
    "crash:0.1 and hang:0.1 (with this probability for each chunk), slow:10 (takes ten times as long)"
)


class FaultKind(StrEnum):
    """The ways to misbehave."""

    LIE = "lie"
    COLLUDE = "collude"
    SLEEPER = "sleeper"
    CRASH = "crash"
    HANG = "hang"
    SLOW = "slow"


@dataclass(frozen=True, slots=True)
class Fault:
    """A kind of fault, and its probability, number of honest chunks, or factor of time."""

    kind: FaultKind
    amount: float

    def __str__(self) -> str:
        return f"{self.kind}:{self.amount:g}"


def parse_fault(text: str) -> Fault:
    """The fault that `KIND:AMOUNT` names; raises `LocalError` with the known forms."""
    name, _, number = text.partition(":")
    try:
        fault = Fault(FaultKind(name), float(number))
    except ValueError as error:
        raise LocalError(f"no such fault: {text!r}; known are {_FORMS}") from error
    if not _is_in_range(fault):
        raise LocalError(f"the amount of the fault {text!r} is out of range; known are {_FORMS}")
    return fault


def _is_in_range(fault: Fault) -> bool:
    match fault.kind:
        case FaultKind.SLEEPER:
            return fault.amount >= 0 and fault.amount.is_integer()
        case FaultKind.SLOW:
            return 1 <= fault.amount <= 1e6
        case _:
            return 0 < fault.amount <= 1


def kill_this_process() -> None:
    """As a power cut would: no clean-up, nothing is said to anybody."""
    os.kill(os.getpid(), signal.SIGKILL)


class FaultyExecutor(ExecutorAround):
    """An `Executor` whose chunks go wrong in one way. `crash` ends the peer; it need not return."""

    def __init__(
        self,
        executor: Executor,
        fault: Fault,
        random: Random,
        crash: Callable[[], None] = kill_this_process,
        files: Callable[[], BlobFiles | None] = lambda: None,
    ) -> None:
        super().__init__(executor)
        self._fault = fault
        self._random = random
        self._crash = crash
        self._files = files
        self._chunks_started = 0

    def open_runner(self, manifest: Manifest) -> AbstractAsyncContextManager[Runner]:
        """A runner of the executor inside, whose chunks go wrong."""
        return self._open_runner(manifest)

    @asynccontextmanager
    async def _open_runner(self, manifest: Manifest) -> AsyncIterator[Runner]:
        async with self._inside.open_runner(manifest) as runner:
            yield _FaultyRunner(runner, self.run_faulty)

    async def run_faulty(self, runner: Runner, payload: bytes) -> Execution | ExecutionFailure:
        """Run a chunk and misbehave. The draws come in the order in which chunks are started."""
        self._chunks_started += 1
        match self._fault.kind:
            case FaultKind.CRASH if self._is_drawn():
                return await self._crash_in_the_middle(runner, payload)
            case FaultKind.HANG if self._is_drawn():
                await trio.sleep_forever()
            case FaultKind.SLOW:
                return await self._run_slowly(runner, payload)
            case FaultKind.LIE if self._is_drawn():
                return await self._lie(runner, payload, self._random)
            case FaultKind.COLLUDE:
                return await self._collude(runner, payload)
            case FaultKind.SLEEPER if self._chunks_started > self._fault.amount:
                return await self._lie(runner, payload, self._random)
        return await runner.run(payload)

    def _is_drawn(self) -> bool:
        return self._random.random() < self._fault.amount

    async def _collude(self, runner: Runner, payload: bytes) -> Execution | ExecutionFailure:
        """Everything follows from the input, so that colluders agree without a word to one another."""
        shared = Random(digest(payload))
        if shared.random() < self._fault.amount:
            return await self._lie(runner, payload, shared)
        return await runner.run(payload)

    async def _lie(self, runner: Runner, payload: bytes, random: Random) -> Execution | ExecutionFailure:
        seed = random.getrandbits(64)
        result = await runner.run(payload)
        if isinstance(result, ExecutionFailure):
            return result
        return Execution(await self._other(result.data, Random(seed)), result.compute_s, result.log)

    async def _other(self, data: bytes, random: Random) -> bytes:
        source = self._files()
        if FILE_MARK in data and source is not None:
            return await falsify_files(data, source, random)
        return falsify(data, random)

    async def _run_slowly(self, runner: Runner, payload: bytes) -> Execution | ExecutionFailure:
        started_at = trio.current_time()
        result = await runner.run(payload)
        await trio.sleep((trio.current_time() - started_at) * (self._fault.amount - 1))
        if isinstance(result, ExecutionFailure):
            return result
        return Execution(result.data, result.compute_s * self._fault.amount, result.log)

    async def _crash_in_the_middle(self, runner: Runner, payload: bytes) -> Execution | ExecutionFailure:
        with trio.move_on_after(self._random.uniform(0, _CRASH_AFTER_S_MAX)):
            await runner.run(payload)
        self._crash()
        await trio.sleep_forever()
        raise AssertionError("a crashed peer answers nothing")


@dataclass(frozen=True, slots=True)
class _FaultyRunner:
    runner: Runner
    run_faulty: Callable[[Runner, bytes], Awaitable[Execution | ExecutionFailure]]

    async def run(self, payload: bytes) -> Execution | ExecutionFailure:
        return await self.run_faulty(self.runner, payload)
