"""The job's own check of its results: `verify(item, result)` in the job file, run here in the sandbox on each of them.

What it says goes to the job's rules with the result. It is the submitter's code on strangers' data: it runs where a
chunk would, with the same limits, and what it makes of a hostile result (an error, a crash, no end) is a no.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import msgspec
import trio

from peer.job_items import JobItems, array_head
from peer.result_data import result_to_cbor
from peer.seam import Execution, ExecutionFailure, Executor, Runner
from protocol.bodies import Manifest
from protocol.errors import LocalError
from protocol.job_events import Piece, Proof
from protocol.limits import CHUNK_INPUT_BYTES_MAX, MIB
from protocol.outcomes import decode_outcomes

CHECK_TIMEOUT_S_MAX = 60.0
"""For one item, whatever the job's own limit: a hostile result may be made to keep `verify` busy."""
CHECK_ENTRY = "_parallel_peer_check"
_CHECK_CODE = f"""

def {CHECK_ENTRY}(pair):
    return bool(verify(pair[0], pair[1]))
"""
_PAIR_HEAD = b"\x82"
_HEAD_BYTES_MAX = 3

Said = Callable[[Proof | None, str], None]
"""Called with what the check says, and of a no why."""


@dataclass(frozen=True, slots=True)
class _Task:
    piece: Piece
    data: bytes
    said: Said


def check_manifest(manifest: Manifest) -> Manifest:
    """The job as one that checks results instead of making them."""
    return msgspec.structs.replace(
        manifest,
        code=manifest.code + _CHECK_CODE.encode(),
        entry=CHECK_ENTRY,
        item_timeout_s=min(manifest.item_timeout_s, CHECK_TIMEOUT_S_MAX),
    )


class ResultChecks:
    """One slot that checks results in the order in which they come. `run` until cancelled.

    At most the chunks that workers hold wait here: each result that waits is one that its worker still counts as out.
    """

    def __init__(
        self, executor: Executor, manifest: Manifest, items: JobItems, on_error: Callable[[LocalError], None]
    ) -> None:
        self._executor = executor
        self._manifest = check_manifest(manifest)
        self._items = items
        self._on_error = on_error
        self._waiting: deque[_Task] = deque()
        self._wake = trio.Event()
        self.passed = 0
        self.refused = 0

    def add(self, piece: Piece, data: bytes, said: Said) -> None:
        """Check this result of a chunk; it must have passed `decode_outcomes`."""
        self._waiting.append(_Task(piece, data, said))
        self._wake.set()

    def in_words(self) -> str:
        """What was checked so far."""
        return f"{self.passed:,} results passed the job's own check, {self.refused:,} did not"

    async def run(self) -> None:
        """The slot; a sandbox that cannot be started goes to `on_error`."""
        await self._wake.wait()
        try:
            async with self._executor.open_runner(self._manifest) as runner:
                while True:
                    while self._waiting:
                        await self._check(runner, self._waiting.popleft())
                    self._wake = trio.Event()
                    await self._wake.wait()
        except LocalError as error:
            self._on_error(error)

    async def _check(self, runner: Runner, task: _Task) -> None:
        outcomes = decode_outcomes(task.data, task.piece.stop - task.piece.start)
        given = [(task.piece.start + n, one.value) for n, one in enumerate(outcomes) if one.ok]
        why = await self._first_refusal(runner, given)
        if why is not None:
            self.refused += 1
            task.said(Proof.WRONG, why)
            return
        self.passed += len(given)
        task.said(Proof.RIGHT if len(given) == len(outcomes) else None, "")

    async def _first_refusal(self, runner: Runner, given: list[tuple[int, object]]) -> str | None:
        """Why the first of these (item, result) is refused; None when none is."""
        pairs = [
            (self._items.number(item), _PAIR_HEAD + self._items.encoded(item) + result_to_cbor(result))
            for item, result in given
        ]
        while pairs:
            batch, size = 0, _HEAD_BYTES_MAX
            while batch < len(pairs) and (size := size + len(pairs[batch][1])) <= CHUNK_INPUT_BYTES_MAX:
                batch += 1
            if not batch:
                return (
                    f"item {pairs[0][0]}: with its result over {CHUNK_INPUT_BYTES_MAX // MIB} MiB, too large to check"
                )
            if why := await self._refusal(runner, pairs[:batch]):
                return why
            pairs = pairs[batch:]
        return None

    async def _refusal(self, runner: Runner, pairs: list[tuple[int, bytes]]) -> str | None:
        answer = await runner.run(array_head(len(pairs)) + b"".join(data for _, data in pairs))
        if isinstance(answer, ExecutionFailure):
            return f"item {pairs[min(answer.item, len(pairs) - 1)][0]}: {answer.kind}: {answer.detail}"
        return _first_no(answer, [item for item, _ in pairs])


def _first_no(answer: Execution, items: list[int]) -> str | None:
    for item, outcome in zip(items, decode_outcomes(answer.data, len(items)), strict=True):
        if not outcome.ok:
            return f"item {item}: {outcome.error}: {outcome.message}"
        if outcome.value is not True:
            return f"item {item}"
    return None
