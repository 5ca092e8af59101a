"""An `Executor` without a sandbox for simulations and tests in virtual time: it runs only their own code.

Chunks are run in this process, at once; the time that they take is virtual and given by `duration_s`. The
outcomes have the same bytes as those of a sandboxed runner, but for random numbers, which are not seeded.
"""

import linecache
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from types import ModuleType

import trio

from peer.execution import runner_data
from peer.execution.runner_job import MODULE_NAME, load_function, outcome_function, outcome_of
from peer.seam import Execution, ExecutionFailure, Runner
from protocol.bodies import Manifest
from protocol.capability import RuntimeOffer
from protocol.errors import BadFrame, LocalError
from protocol.ids import digest
from protocol.limits import CHUNK_RESULT_BYTES_MAX
from protocol.messages.job import FailureKind

ItemFunction = Callable[[object], object]
_OFFER = RuntimeOffer(name="python", version="3.11", sandbox="none: simulated")


class LocalExecutor:
    """Runs `function`, or the manifest's code when none is given, in this process.

    `duration_s(item)` is the virtual time that an item takes; where it is over the manifest's limit,
    the chunk fails as it would in a sandbox. Workers with another `environment` are not comparable.
    """

    def __init__(
        self,
        duration_s: Callable[[object], float] = lambda _: 0.0,
        function: ItemFunction | None = None,
        environment: bytes = b"simulated",
        offers: Sequence[RuntimeOffer] = (_OFFER,),
    ) -> None:
        self._duration_s = duration_s
        self._function = function
        self._environment = digest(environment)
        self._offers = tuple(offers)

    def offers(self) -> Sequence[RuntimeOffer]:
        """What it was made with."""
        return self._offers

    def environment(self, runtime: str) -> bytes:
        """The digest of what it was made with; raises `LocalError` for a runtime that is not offered."""
        if all(offer.name != runtime for offer in self._offers):
            raise LocalError(f"the runtime {runtime!r} is not offered here")
        return self._environment

    def open_runner(self, manifest: Manifest) -> AbstractAsyncContextManager[Runner]:
        """See `Executor.open_runner`."""
        return self._open_runner(manifest)

    @asynccontextmanager
    async def _open_runner(self, manifest: Manifest) -> AsyncIterator[Runner]:
        self.environment(manifest.runtime)
        yield LocalRunner(manifest, self._function, self._duration_s)


class LocalRunner:
    """One slot. Chunks wait in virtual time, then they are done."""

    def __init__(
        self, manifest: Manifest, function: ItemFunction | None, duration_s: Callable[[object], float]
    ) -> None:
        self._manifest = manifest
        self._duration_s = duration_s
        self._outcome_of = partial(outcome_of, function) if function is not None else _load(manifest)

    async def run(self, payload: bytes) -> Execution | ExecutionFailure:
        """See `Runner.run`."""
        try:
            items = runner_data.decode_items(payload)
        except BadFrame as error:
            return ExecutionFailure(FailureKind.CRASHED, 0, f"the input of the chunk is not data: {error}")
        started_at = trio.current_time()
        failure = await self._take_time(items)
        if failure is not None:
            return failure
        data = runner_data.join_outcomes([self._outcome_of(item) for item in items])
        if len(data) > CHUNK_RESULT_BYTES_MAX:
            return ExecutionFailure(FailureKind.TOO_LARGE, 0, f"the result has {len(data)} bytes")
        return Execution(data, trio.current_time() - started_at)

    async def _take_time(self, items: list[object]) -> ExecutionFailure | None:
        """Sleeps once for the whole chunk: a simulation has many of them."""
        limit_s = self._manifest.item_timeout_s
        durations_s = [self._duration_s(item) for item in items]
        late = next((index for index, duration_s in enumerate(durations_s) if duration_s > limit_s), None)
        if late is None:
            await trio.sleep(sum(durations_s))
            return None
        await trio.sleep(sum(durations_s[:late]) + limit_s)
        detail = f"not done after {limit_s:g} s, the time limit for an item"
        return ExecutionFailure(FailureKind.TIMEOUT, late, detail)


def _load(manifest: Manifest) -> Callable[[object], bytes]:
    name = manifest.name if manifest.name.endswith(".py") else "job.py"
    linecache.cache.pop(name, None)  # the lines of another job's file of that name
    return outcome_function(partial(load_function, ModuleType(MODULE_NAME), name, manifest.code, manifest.entry))
