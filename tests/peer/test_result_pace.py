"""Many workers answer at once: the event loop is not held up by all of their results together."""

from collections import Counter
from unittest.mock import patch

import trio
from trio.testing import MockClock
from village import FunctionExecutor, request, village

from peer.worker_link import RESULT_BATCHES_PER_PASS_MAX, CheckedResult, WorkerLink
from peer.worker_pool import WorkerPool

WORKERS = 12
ITEM_S = 0.6


class Passes(trio.abc.Instrument):
    """Counts what happens in each pass of the event loop."""

    def __init__(self) -> None:
        self.number = 0
        self.results: Counter[int] = Counter()

    def before_io_wait(self, timeout: float) -> None:
        self.number += 1


async def test_one_pass_takes_in_a_few_results_and_none_waits_for_long(autojump_clock: MockClock) -> None:
    passes, on_result = Passes(), WorkerPool.on_result

    def count(pool: WorkerPool, link: WorkerLink, result: CheckedResult) -> None:
        passes.results[passes.number] += 1
        on_result(pool, link, result)

    trio.lowlevel.add_instrument(passes)
    async with village() as v:
        for number in range(WORKERS):
            await v.worker(f"worker {number}", FunctionExecutor(lambda item: item, item_s=ITEM_S))
        coordinator = await v.coordinator(FunctionExecutor(lambda item: item))
        with patch.object(WorkerPool, "on_result", count):
            job = coordinator.submit(request(range(10 * WORKERS), verify="none", local=0))
            view, results = await v.finish(coordinator, job)
    trio.lowlevel.remove_instrument(passes)
    assert len(results) == passes.results.total() == 10 * WORKERS
    assert max(passes.results.values()) <= RESULT_BATCHES_PER_PASS_MAX < WORKERS
    assert view.elapsed_s < 20 * ITEM_S
