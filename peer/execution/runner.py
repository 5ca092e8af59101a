"""Chunk after chunk of one job through one warm sandboxed process, whichever its runtime.

The process is untrusted once it has loaded the job. So every answer is checked for its form before it
leaves here: a worker signs what this gives it.
"""

import signal
import sys
from collections.abc import Callable
from contextlib import suppress

import trio

from peer.execution.chunk_files import ChunkFiles
from peer.execution.item_watch import ItemWatch
from peer.execution.limits import LOAD_TIMEOUT_S, POLL_INTERVAL_S, PROCESSES_MAX, START_TIMEOUT_S
from peer.execution.process import SandboxProcess
from peer.seam import Execution, ExecutionFailure
from protocol import encoding
from protocol.bodies import Manifest
from protocol.errors import BadFrame, LocalError, RemoteError
from protocol.framing import frame
from protocol.limits import CHUNK_INPUT_BYTES_MAX, MIB, TEXT_LENGTH_MAX
from protocol.messages.job import FailureKind
from protocol.outcomes import decode_outcomes

_FORGED = "the job wrote to the runner's own channel"


class _Failed(Exception):
    """An exchange with the runner that ended without an answer; the process is of no more use."""

    def __init__(self, kind: FailureKind, detail: str, item: int | None = None) -> None:
        super().__init__(detail)
        self.kind, self.detail, self.item = kind, detail, item


class SandboxRunner:
    """A `Runner` (peer/seam.py). Started at once, so that it is warm when the first chunk comes.

    `start_process` starts a process that loads the job; it raises `LocalError` when that cannot be.
    """

    def __init__(
        self,
        start_process: Callable[[], SandboxProcess],
        manifest: Manifest,
        files: ChunkFiles,
        load_timeout_s: float = LOAD_TIMEOUT_S,
    ) -> None:
        self._start_process = start_process
        self._files = files
        self._manifest = manifest
        self._load_timeout_s = load_timeout_s
        self._process: SandboxProcess | None = None
        self._is_loaded = False
        self._is_running = False

    async def run(self, payload: bytes) -> Execution | ExecutionFailure:
        """See `Runner.run`. The compute time is wall time as seen from outside, without the loading of the job."""
        count = _count_items(payload)
        if count is None or len(payload) > CHUNK_INPUT_BYTES_MAX:
            detail = f"the input of a chunk must be a list of items with at most {CHUNK_INPUT_BYTES_MAX} bytes"
            return ExecutionFailure(FailureKind.CRASHED, 0, detail)
        if self._is_running:
            raise LocalError("a runner runs one chunk at a time; open one for each slot")
        self._is_running, is_done = True, False
        try:
            result = await self._run(payload, count)
            is_done = True
            return result
        finally:
            self._is_running = False
            if not is_done:
                await self.aclose()

    async def aclose(self) -> None:
        """End the process and everything that it started. Shielded from cancellation."""
        process, self._process = self._process, None
        if process is not None:
            await process.reap()

    def start(self) -> None:
        """Start the process, which begins to load the job; raises `LocalError` when that cannot be."""
        self._is_loaded = False
        self._process = self._start_process()

    async def _run(self, payload: bytes, count: int) -> Execution | ExecutionFailure:
        await self._files.place(payload)
        process = await self._living_process()
        watch = ItemWatch(count, self._manifest.item_timeout_s, trio.current_time())
        try:
            if not self._is_loaded:
                await self._load(process)
            if _next_message(process) is not None:
                raise _Failed(FailureKind.CRASHED, _FORGED)
            watch.started_at = started_at = trio.current_time()
            process.send(frame(payload, CHUNK_INPUT_BYTES_MAX))
            answer = await self._answer_after_files(process, watch)
            compute_s = trio.current_time() - started_at
            result = self._result(answer, count, compute_s)
        except _Failed as failed:
            result = ExecutionFailure(failed.kind, watch.item if failed.item is None else failed.item, failed.detail)
        return await self._finish(process, result)

    async def _living_process(self) -> SandboxProcess:
        if self._process is not None and (self._process.returncode is not None or self._process.channel_ended):
            if not self._is_loaded and self._process.returncode is not None:
                return self._process  # it could not even be loaded: the exchange will tell why
            await self.aclose()
        if self._process is None:
            self.start()
        assert self._process is not None
        return self._process

    async def _load(self, process: SandboxProcess) -> None:
        now = trio.current_time()
        try:
            caged = await self._answer(process, ItemWatch(1, START_TIMEOUT_S, now))
        except _Failed as failed:
            raise LocalError(f"the sandbox does not start: {failed.detail}; {_last_line(process)}") from failed
        watch = ItemWatch(1, self._load_timeout_s, trio.current_time())
        try:
            loaded = await self._answer(process, watch)
        except _Failed as failed:
            raise _Failed(failed.kind, f"while the job file was loaded: {failed.detail}", 0) from failed
        if caged != ["caged"] or loaded != ["loaded"]:
            raise _Failed(FailureKind.CRASHED, _FORGED, 0)
        self._is_loaded = True

    async def _answer_after_files(self, process: SandboxProcess, watch: ItemWatch) -> object:
        """The answer to a chunk, once the files that come before it are kept."""
        while True:
            match answer := await self._answer(process, watch):
                case ["file", str(name)]:
                    try:
                        await self._files.take(process, name)
                    except BadFrame as error:
                        raise _Failed(FailureKind.CRASHED, f"{_FORGED}: {error}") from error
                case _:
                    return answer

    async def _answer(self, process: SandboxProcess, watch: ItemWatch) -> object:
        """The next message, as it was decoded; raises `_Failed`, with the watch at the item at fault."""
        poll_at = trio.current_time() + POLL_INTERVAL_S
        while True:
            process.pump()
            message = _next_message(process)
            if message is not None:
                return message
            now = trio.current_time()
            if process.channel_ended or process.returncode is not None:
                watch.observe(process.item, now)
                raise _Failed(FailureKind.CRASHED, await _how_it_ended(process))
            if now >= min(poll_at, watch.deadline):
                watch.observe(process.item, now)
                self._check(process, watch, now)
                poll_at = now + POLL_INTERVAL_S
            with trio.move_on_at(min(poll_at, watch.deadline)):
                await process.activity()

    def _check(self, process: SandboxProcess, watch: ItemWatch, now: float) -> None:
        if now >= watch.deadline:
            raise _Failed(FailureKind.TIMEOUT, f"not done after {watch.timeout_s:g} s, the time limit for an item")
        memory_bytes_max = self._manifest.memory_bytes_max
        used = process.usage(memory_bytes_max)
        if used.memory_bytes > memory_bytes_max:
            raise _Failed(
                FailureKind.MEMORY, f"{used.memory_bytes // MIB} MiB used; the job allows {memory_bytes_max // MIB} MiB"
            )
        if excess := process.excess():
            raise _Failed(FailureKind.CRASHED, excess)
        own = used.processes - 1  # the first one is the sandbox's own
        if own > PROCESSES_MAX:
            raise _Failed(FailureKind.CRASHED, f"{own} processes; at most {PROCESSES_MAX} are allowed")

    def _result(self, answer: object, count: int, compute_s: float) -> Execution | ExecutionFailure:
        match answer:
            case ["done", bytes(data)]:
                try:
                    decode_outcomes(data, count)
                    self._files.check(data)
                except BadFrame as error:
                    raise _Failed(FailureKind.CRASHED, f"the runner's result has no valid form: {error}") from error
                return Execution(data, compute_s)
            case ["failed", str(kind), int(item), str(detail)] if kind in FailureKind.__members__ and 0 <= item < max(
                count, 1
            ):
                return ExecutionFailure(FailureKind[kind], item, detail)
        raise _Failed(FailureKind.CRASHED, _FORGED)

    async def _finish(
        self, process: SandboxProcess, result: Execution | ExecutionFailure
    ) -> Execution | ExecutionFailure:
        log = process.output.take()
        if isinstance(result, ExecutionFailure):
            await self.aclose()
            return ExecutionFailure(result.kind, result.item, result.detail[:TEXT_LENGTH_MAX], log)
        if process.has_leftovers():
            # What a chunk has started ends with it: between chunks nobody watches.
            await self.aclose()
            with suppress(LocalError):  # then the next chunk tries again and says it
                self.start()
        return Execution(result.data, result.compute_s, log)


def _count_items(payload: bytes) -> int | None:
    """The length in the head of a CBOR list (RFC 8949, section 3); None when it is none."""
    head = payload[0] if payload else 0
    if head >> 5 == 4 and head & 31 < 24:
        return head & 31
    if head in (0x98, 0x99, 0x9A):
        return int.from_bytes(payload[1 : 1 + (1 << (head - 0x98))], "big")
    return None


def _next_message(process: SandboxProcess) -> object:
    try:
        payload = process.next_frame()
        return None if payload is None else encoding.decode(payload)
    except RemoteError as error:
        raise _Failed(FailureKind.CRASHED, f"{_FORGED}: {error}") from error


async def _how_it_ended(process: SandboxProcess) -> str:
    """The channel may close a moment before the process ends."""
    with trio.move_on_after(POLL_INTERVAL_S):
        await process.ended()
    code = process.returncode
    if code is None:
        return "the job closed the runner's own channel"
    with suppress(ValueError):
        if code > 128:
            return f"the runner was ended by {signal.Signals(code - 128).name}"
    return f"the runner ended by itself with status {code}"


def _last_line(process: SandboxProcess) -> str:
    lines = process.output.take().decode(errors="replace").strip().splitlines()
    return lines[-1] if lines else f"it said nothing (on {sys.platform})"
