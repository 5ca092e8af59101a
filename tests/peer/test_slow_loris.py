"""Workers that are never done: results that trickle or never end cost a moment and bounded memory, not the job."""

import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
import trio
import trio.testing
from hostile import Hostile, join, square
from village import FunctionExecutor, Village, request, village

from peer.views import JobState, JobView
from peer.worker_link import RESULT_BYTES_COLLECTED_MAX
from protocol.bodies import Manifest
from protocol.framing import frame
from protocol.ids import BidId, LeaseId, digest
from protocol.limits import (
    CHUNK_RESULT_BYTES_MAX,
    FRAME_SIZE_BYTES_MAX,
    HEARTBEAT_INTERVAL_S,
    PART_SIZE_BYTES_MAX,
    REQUEST_TIMEOUT_S,
)
from protocol.messages.job import JOB_CODEC, Award, Bid, Call, Heartbeat, Leaving, PayloadPart
from protocol.overdue import DEADLINE_GRACE_S
from protocol.worker_book import SILENCE_S_MAX
from simulations.memory_stream import PIPE_SIZE_BYTES_MAX

ITEM_TIMEOUT_S = 5.0
ITEM_S = 0.2
ITEMS = 400
"""Work for two honest workers for about a minute, so that every deadline passes while the job runs."""


async def bytes_of_a_frame(hostile: Hostile) -> None:
    """A byte now and then of a message that would be right: a heartbeat cannot come between."""
    stream = hostile.stream  # Of this visit: it is called again.
    for byte in frame(JOB_CODEC.encode(hostile.results())):
        await stream.send(bytes([byte]))
        await trio.sleep(HEARTBEAT_INTERVAL_S)


async def parts_of_a_result(hostile: Hostile) -> None:
    """A byte now and then of the largest result that is allowed, alive all the while."""
    for offset in range(CHUNK_RESULT_BYTES_MAX):
        part = PayloadPart(digest=digest(b"?"), offset=offset, size_bytes=CHUNK_RESULT_BYTES_MAX, data=b"x")
        await hostile.channel.send(part, Heartbeat(lease=hostile.lease, running=(hostile.assigned.chunks[0].chunk,)))
        await trio.sleep(HEARTBEAT_INTERVAL_S)


async def nothing_but_heartbeats(hostile: Hostile) -> None:
    while True:
        await hostile.channel.send(Heartbeat(lease=hostile.lease))
        await trio.sleep(HEARTBEAT_INTERVAL_S)


async def half_a_result(hostile: Hostile) -> None:
    """The first parts, and then it only lives on."""
    data = bytes(PART_SIZE_BYTES_MAX)
    for place in range(3):
        offset = place * PART_SIZE_BYTES_MAX
        part = PayloadPart(digest=digest(b"?"), offset=offset, size_bytes=CHUNK_RESULT_BYTES_MAX, data=data)
        await hostile.channel.send(part)
    await nothing_but_heartbeats(hostile)


WAYS = {
    "bytes of a frame": (bytes_of_a_frame, SILENCE_S_MAX, "no sign of life"),
    "parts of a result": (parts_of_a_result, ITEM_TIMEOUT_S + DEADLINE_GRACE_S, "kept a chunk beyond its time limit"),
    "half a result": (half_a_result, ITEM_TIMEOUT_S + DEADLINE_GRACE_S, "kept a chunk beyond its time limit"),
    "heartbeats": (nothing_but_heartbeats, ITEM_TIMEOUT_S + DEADLINE_GRACE_S, "kept a chunk beyond its time limit"),
}


class Loris(Hostile):
    """Says when it was let go: its stream breaks, or the coordinator's last words come."""

    def __init__(self, attack: Callable[[Hostile], Awaitable[None]]) -> None:
        super().__init__(self._until_let_go)
        self._slowly = attack
        self.bytes_sent = 0
        self.lasted_s = 0.0

    async def _until_let_go(self, hostile: Hostile) -> None:
        began = trio.current_time()
        try:
            await self._slowly(hostile)
        finally:
            # Of the first visit: in the last one the job ends before its time is up.
            self.lasted_s = self.lasted_s or trio.current_time() - began
            self.bytes_sent = self.channel.bytes_sent


async def run_beside(v: Village, loris: Loris, items: int) -> JobView:
    for honest in "ab":
        await v.worker(honest, FunctionExecutor(square, item_s=ITEM_S))
    join(v, loris)
    coordinator = await v.coordinator(FunctionExecutor(square, item_s=ITEM_S))
    job = coordinator.submit(request(range(items), local=0, item_timeout_s=ITEM_TIMEOUT_S))
    view, lines = await v.finish(coordinator, job)
    assert view.state is JobState.DONE and [line.result for line in lines] == [n * n for n in range(items)]
    assert view.liars == [], "slow is not a lie"
    return view


@pytest.mark.parametrize("way", WAYS)
async def test_who_is_never_done_is_let_go_at_a_deadline(
    way: str, autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    attack, deadline_s, words = WAYS[way]
    loris = Loris(attack)
    async with village() as v:
        view = await run_beside(v, loris, ITEMS)
        assert any(words in line for line in view.events), view.events
        assert deadline_s - 1.0 < loris.lasted_s < deadline_s + REQUEST_TIMEOUT_S + HEARTBEAT_INTERVAL_S
    assert [one.levelname for one in caplog.records if one.levelno > logging.WARNING or one.exc_info] == []


@pytest.mark.parametrize("way", WAYS)
async def test_a_short_job_does_not_wait_for_who_is_never_done(
    way: str, autojump_clock: trio.testing.MockClock
) -> None:
    """Whoever is idle is given the same chunk long before the deadline."""
    async with village() as v:
        view = await run_beside(v, Loris(WAYS[way][0]), 10)
        assert view.elapsed_s < SILENCE_S_MAX


async def endless_results(hostile: Hostile) -> None:
    """Whole payloads of the largest parts, one after the other, which no result ever names."""
    data = bytes(PART_SIZE_BYTES_MAX)
    while True:
        await hostile.channel.send(PayloadPart(digest=digest(data), offset=0, size_bytes=len(data), data=data))


async def test_endless_results_end_at_the_limit_on_memory(autojump_clock: trio.testing.MockClock) -> None:
    loris = Loris(endless_results)
    async with village() as v:
        view = await run_beside(v, loris, 20)
        state = next(one.state for one in view.workers if one.peer == loris.peer)
        assert f"goes over {RESULT_BYTES_COLLECTED_MAX} in all" in state
    under_way = PIPE_SIZE_BYTES_MAX + 2 * FRAME_SIZE_BYTES_MAX
    assert RESULT_BYTES_COLLECTED_MAX < loris.bytes_sent < 1.01 * RESULT_BYTES_COLLECTED_MAX + under_way


class Mute(Hostile):
    """Reads the call, and says nothing more than a byte now and then; or no more once it has won."""

    def __init__(self, *, bids: bool) -> None:
        super().__init__(nothing_but_heartbeats)
        self._bids = bids
        self.hung_up = trio.Event()

    async def _by_the_book(self) -> None:
        call = await self.next(Call)
        if self._bids:
            bid = Bid(call_id=call.call_id, bid=BidId("1"), price=0.1, slots=64, speed=9.0, ready_s=0.0, expires_s=9.0)
            await self.channel.send(bid)
            await self.next(Award)
        try:
            for byte in frame(JOB_CODEC.encode(Leaving(lease=LeaseId("a" * 32), reason="x" * 200))):
                await self.stream.send(bytes([byte]))
                await trio.sleep(1.0)
        finally:
            self.hung_up.set()


@pytest.mark.parametrize("bids", [False, True])
async def test_who_never_answers_the_call_or_is_never_ready_does_not_keep_others_from_it(
    bids: bool, autojump_clock: trio.testing.MockClock
) -> None:
    """It bids for all the slots that the job wants: before, nobody else was called for as long as it lived."""
    async with village() as v:
        mute = Mute(bids=bids)
        join(v, mute)
        coordinator = await v.coordinator(FunctionExecutor(square))
        job = coordinator.submit(request(range(10), local=0, verify="none", worker_wait_s=60.0))
        with trio.move_on_after(5.0):
            await trio.sleep_forever()
        await v.worker("late", FunctionExecutor(square))
        view, lines = await v.finish(coordinator, job)
        assert [line.result for line in lines] == [n * n for n in range(10)], view.message
        assert view.elapsed_s < 30.0
        if bids:
            assert mute.hung_up.is_set()
            (kept,) = [one for one in view.candidates if one.peer == mute.peer]
            assert (kept.state, kept.reason) == ("unreachable", "won, but was not ready in time")


class SlowToOpen(FunctionExecutor):
    """An environment that takes a minute to prepare."""

    @asynccontextmanager
    async def open_runner(self, manifest: Manifest) -> AsyncIterator[FunctionExecutor]:
        await trio.sleep(60.0)
        yield self


async def test_a_worker_that_takes_a_minute_to_prepare_is_waited_for(autojump_clock: trio.testing.MockClock) -> None:
    async with village() as v:
        await v.worker("slow", SlowToOpen(square))
        coordinator = await v.coordinator(FunctionExecutor(square))
        job = coordinator.submit(request(range(10), local=0, verify="none", worker_wait_s=90.0))
        view, lines = await v.finish(coordinator, job)
        assert [line.result for line in lines] == [n * n for n in range(10)], view.message
        assert 60.0 < view.elapsed_s < 70.0
