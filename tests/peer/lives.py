"""Lives of one peer, one after another on one journal, for tests of what survives them."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import trio
from village import FunctionExecutor, Village, request, village

from peer.coordinator import Coordinator
from peer.journal import Journal
from peer.seam import Seam
from peer.views import JobRequest, JobView, ResultLine
from peer.witness import NoWitness
from protocol.ids import JobId

ITEMS = range(24)
SQUARES = [n * n for n in ITEMS]


def square(item: object) -> object:
    assert isinstance(item, int)
    return item * item


def lie(item: object) -> object:
    assert isinstance(item, int)
    return item * item + 1


async def pass_time(virtual_s: float) -> None:
    with trio.move_on_after(virtual_s):
        await trio.sleep_forever()


@asynccontextmanager
async def running(v: Village, seam: Seam, name: str = "coordinator") -> AsyncIterator[Coordinator]:
    """One coordinator after another on one network, whose workers go on living."""
    async with trio.open_nursery() as nursery:
        coordinator = Coordinator(seam, v.directory(name), v.journal, NoWitness())  # type: ignore[arg-type]
        await nursery.start(coordinator.run)
        yield coordinator
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def life(
    journal: Journal, *workers: Callable[[object], object], seed: int = 0
) -> AsyncIterator[tuple[Village, Coordinator]]:
    """One life of the peer on this journal, with these workers; the same peers in each life, other chances."""
    try:
        async with village() as v:
            v.journal = journal
            for name, function in zip("abcdef", workers or (square, square), strict=False):
                await v.worker(name, FunctionExecutor(function, item_s=1.0))
            seam = v.seam("coordinator", FunctionExecutor(square, item_s=1.0))
            seam.random.seed(seed)
            async with running(v, seam) as coordinator:
                yield v, coordinator
    finally:
        journal.close()


def wanted(**changes: object) -> JobRequest:
    return request(ITEMS, **{"verify": "none", "local": 0, **changes})


def ran(v: Village) -> set[object]:
    """The items that any worker has executed."""
    return {item for name in v.workers for item in v.executors[name].runs}


async def finish(v: Village, coordinator: Coordinator, job: JobId) -> tuple[JobView, list[ResultLine]]:
    with trio.fail_after(1000.0):
        return await v.finish(coordinator, job)
