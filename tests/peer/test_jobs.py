"""Whole jobs over the shipped coordinator and workers, on a memory network and in virtual time."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import count
from typing import ClassVar

import pytest
import trio
import trio.testing
from village import FunctionExecutor, Village, request, village

from peer.journal import Journal
from peer.seam import ExecutionFailure
from peer.views import JobState
from peer.worker_memory import JournalMemory
from protocol import encoding
from protocol.bodies import Manifest, Receipt
from protocol.errors import LocalError
from protocol.ids import JobId, LeaseId
from protocol.messages.base import to_plain
from protocol.messages.job import FailureKind
from protocol.signing import Identity
from protocol.trust import COOL_DOWN_S


def square(item: object) -> object:
    assert isinstance(item, int)
    return item * item


def liar(item: object) -> object:
    assert isinstance(item, int)
    return item * item + (1 if item % 3 == 0 else 0)


async def pass_time(virtual_s: float) -> None:
    with trio.move_on_after(virtual_s):
        await trio.sleep_forever()


async def three_workers(v: Village, *, third: FunctionExecutor | None = None) -> None:
    await v.worker("a", FunctionExecutor(square))
    await v.worker("b", FunctionExecutor(square))
    await v.worker("c", third or FunctionExecutor(square))


async def test_results_come_in_input_order_and_workers_are_paid(autojump_clock: trio.testing.MockClock) -> None:
    async with village() as v:
        await three_workers(v)
        coordinator = await v.coordinator(FunctionExecutor(square))
        job = coordinator.submit(request(range(100), local=0))
        view, lines = await v.finish(coordinator, job)
        assert (view.state, view.items_done, view.items_failed) == (JobState.DONE, 100, 0)
        assert [line.result for line in lines] == [item * item for item in range(100)]
        assert [line.item for line in lines] == list(range(100))
        assert view.funnel.found == view.funnel.awarded == 3 and view.overhead >= 2.0
        await pass_time(1.0)
        earned = sum(worker.view().credits_earned for worker in v.workers.values())
        assert earned == pytest.approx(view.credits) and earned > 0


async def test_a_liar_is_caught_banned_and_its_results_are_redone(autojump_clock: trio.testing.MockClock) -> None:
    async with village() as v:
        await three_workers(v, third=FunctionExecutor(liar))
        coordinator = await v.coordinator(FunctionExecutor(square, item_s=1.0))
        job = coordinator.submit(request(range(100)))
        view, lines = await v.finish(coordinator, job)
        assert view.state is JobState.DONE and view.liars == [v.peer("c")]
        assert [line.result for line in lines] == [item * item for item in range(100)]
        assert list(coordinator.trust.banned()) == [v.peer("c")]
        assert sum(v.peer("c")[-8:] in line and "works with" in line for line in view.events) == 1
        again, _ = await v.finish(coordinator, coordinator.submit(request(range(10))))
        assert v.peer("c") not in [worker.peer for worker in again.workers]


def lies_late(item: object) -> object:
    assert isinstance(item, int)
    return item * item + (item >= 5000)


async def test_what_a_liar_gave_to_past_jobs_is_in_doubt(autojump_clock: trio.testing.MockClock) -> None:
    async with village() as v:
        await v.worker("a", FunctionExecutor(square))
        await v.worker("c", FunctionExecutor(lies_late))
        coordinator = await v.coordinator(FunctionExecutor(square))
        past, lines = await v.finish(coordinator, coordinator.submit(request(range(40), verify="none", local=0)))
        given = sum(line.worker == v.peer("c") for line in lines)
        assert given > 0 and past.doubtful == 0
        await v.finish(coordinator, coordinator.submit(request(range(5000, 5020), verify="audit:1", local=0)))
        assert list(coordinator.trust.banned()) == [v.peer("c")]
        assert coordinator.view(JobId(past.id)).doubtful == given


async def test_what_a_liar_gave_to_running_jobs_is_taken_back(autojump_clock: trio.testing.MockClock) -> None:
    async with village() as v:
        await v.worker("a", FunctionExecutor(square))
        await v.worker("c", FunctionExecutor(square))
        coordinator = await v.coordinator(FunctionExecutor(square))
        running = coordinator.submit(request(range(2000), verify="none", local=0))
        version = 0
        while v.peer("c") not in {line.worker for line in v.journal.results(running)}:
            version = await coordinator.wait_change(running, version)
        coordinator.condemn(v.peer("c"), "caught lying in another job")
        view, lines = await v.finish(coordinator, running)
        assert view.revoked > 0 and view.doubtful == 0
        assert len(lines) == 2000 and {line.worker for line in lines} == {v.peer("a")}
        assert any("caught lying in another job" in line for line in view.events)


async def test_clean_results_last_from_job_to_job(autojump_clock: trio.testing.MockClock) -> None:
    """Strangers' results are checked by votes; those of peers that have paid their dues, or are paired, hardly."""
    async with village() as v:
        await three_workers(v)
        coordinator = await v.coordinator(FunctionExecutor(square))

        async def overhead() -> float:
            asked = request(range(200), verify="adaptive", max_error=0.01, local=0)
            view, _ = await v.finish(coordinator, coordinator.submit(asked))
            assert view.plan and view.error_bound is not None
            return view.overhead

        first = await overhead()
        assert first > 1.6
        earned = {one.peer: one.clean for one in coordinator.trust.trust()}
        assert set(earned) == {v.peer(name) for name in "abc"} and min(earned.values()) > 5
        for _ in range(3):
            await overhead()
        later = await overhead()
        assert later < first - 0.2
        for name in "abc":
            coordinator.trust.pair(v.peer(name))
        assert await overhead() < later


async def test_who_is_introduced_pays_half_the_dues(autojump_clock: trio.testing.MockClock) -> None:
    """A receipt by somebody known counts, as the worker's journal has it and shows it."""

    async def plan(introduced: bool) -> str:
        async with village() as v:
            introducer = Identity(bytes([99]) * 32)
            for name in "abc":
                journal = Journal.open(None)
                await v.worker(name, FunctionExecutor(square), memory=JournalMemory(journal))
                ids = {"job": JobId("j"), "lease": LeaseId("l"), "worker": v.peer(name)}
                receipt = Receipt(**ids, sequence=0, chunks=(), credits=50.0, price=1.0)
                data = encoding.encode(to_plain(introducer.sign(receipt)))
                journal.add_receipt(data, receipt, given=False, peer=introducer.peer_id)
            coordinator = await v.coordinator(FunctionExecutor(square))
            for name in "abc":
                coordinator.trust.add_clean(v.peer(name), "job", 150.0, 0)
            if introduced:
                coordinator.trust.pair(introducer.peer_id)
            view, _ = await v.finish(coordinator, coordinator.submit(request(range(100), verify="adaptive", local=0)))
            return view.plan

    assert "strangers" in await plan(introduced=False)
    assert "known peers" in await plan(introduced=True)


async def test_strangers_are_checked_by_votes_and_the_plan_says_what_it_is_worth(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with village() as v:
        await three_workers(v, third=FunctionExecutor(liar))
        coordinator = await v.coordinator(FunctionExecutor(square))
        view, lines = await v.finish(coordinator, coordinator.submit(request(range(100), verify="adaptive")))
        assert [line.result for line in lines] == [item * item for item in range(100)]
        assert view.liars == [v.peer("c")] and view.votes > 0
        assert "strangers" in view.plan and "--max-error" in view.shortfall


async def test_audits_catch_a_liar(autojump_clock: trio.testing.MockClock) -> None:
    async with village() as v:
        await three_workers(v, third=FunctionExecutor(liar))
        coordinator = await v.coordinator(FunctionExecutor(square))
        job = coordinator.submit(request(range(200), verify="audit:0.5", local=0))
        view, lines = await v.finish(coordinator, job)
        assert view.liars == [v.peer("c")] and view.audits > 0 and view.overhead < 2.0
        assert [line.result for line in lines] == [item * item for item in range(200)]


async def test_a_function_that_raises_fails_its_item_alone(autojump_clock: trio.testing.MockClock) -> None:
    def picky(item: object) -> object:
        if item == 7:
            raise ValueError("not seven")
        return item

    async with village() as v:
        for name in "ab":
            await v.worker(name, FunctionExecutor(picky))
        coordinator = await v.coordinator(FunctionExecutor(picky))
        view, lines = await v.finish(coordinator, coordinator.submit(request(range(20), local=0)))
        assert (view.state, view.items_done, view.items_failed) == (JobState.DONE, 19, 1)
        assert lines[7].error == "ValueError: not seven" and lines[7].traceback and lines[7].worker
        assert not view.liars


async def test_an_item_that_never_returns_is_given_up_and_named(autojump_clock: trio.testing.MockClock) -> None:
    stuck = ExecutionFailure(FailureKind.TIMEOUT, 0, "over 5 s")
    async with village() as v:
        for name in "abcd":
            await v.worker(name, FunctionExecutor(square, failing={13: stuck}))
        coordinator = await v.coordinator(FunctionExecutor(square))
        view, lines = await v.finish(coordinator, coordinator.submit(request(range(40), local=0)))
        assert (view.items_done, view.items_failed) == (39, 1)
        assert lines[13].error == "time limit exceeded on 3 peers: over 5 s"


async def test_a_worker_that_dies_gives_its_chunks_back_at_once(autojump_clock: trio.testing.MockClock) -> None:
    async with village() as v:
        await v.worker("a", FunctionExecutor(square, item_s=1.0))
        await v.worker("b", FunctionExecutor(square, item_s=1.0))
        coordinator = await v.coordinator(FunctionExecutor(square))
        job = coordinator.submit(request(range(10), verify="none", local=0))
        await pass_time(2.5)
        v.network.kill(v.hosts["b"])
        view, lines = await v.finish(coordinator, job)
        assert view.state is JobState.DONE and len(lines) == 10
        assert view.elapsed_s < 12.0


async def test_a_link_cut_without_a_word_costs_seconds(autojump_clock: trio.testing.MockClock) -> None:
    async with village() as v:
        await v.worker("a", FunctionExecutor(square, item_s=1.0))
        await v.worker("b", FunctionExecutor(square, item_s=1.0))
        coordinator = await v.coordinator(FunctionExecutor(square))
        job = coordinator.submit(request(range(10), verify="none", local=0))
        await pass_time(2.5)
        v.network.cut(v.hosts["coordinator"], v.hosts["b"])
        view, lines = await v.finish(coordinator, job)
        assert view.state is JobState.DONE and len(lines) == 10
        assert view.elapsed_s < 25.0


async def test_who_has_left_still_gets_its_receipt(autojump_clock: trio.testing.MockClock) -> None:
    async with village() as v:
        await v.worker("a", FunctionExecutor(square, item_s=1.0))
        worker = await v.worker("b", FunctionExecutor(square, item_s=1.0))
        coordinator = await v.coordinator(FunctionExecutor(square))
        job = coordinator.submit(request(range(10), verify="none", local=0))
        await pass_time(4.5)
        v.network.cut(v.hosts["coordinator"], v.hosts["b"])
        await pass_time(1.0)
        v.network.heal(v.hosts["coordinator"], v.hosts["b"])
        _, lines = await v.finish(coordinator, job)
        assert any(line.worker == v.peer("b") for line in lines)
        await pass_time(2.0)
        assert worker.view().credits_earned > 0
        assert v.journal.credits()["spent"] == 10.0


async def test_a_worker_that_is_called_twice_keeps_its_lease(autojump_clock: trio.testing.MockClock) -> None:
    async with village() as v:
        await v.worker("a", FunctionExecutor(square, item_s=1.0))
        coordinator = await v.coordinator(FunctionExecutor(square))
        job = coordinator.submit(request(range(10), verify="none", local=0))
        await pass_time(2.5)
        pool = coordinator._runners[job]._pool
        link = pool._links[v.peer("a")]
        with trio.move_on_after(1.0):
            await pool._session(v.records[0])  # As when a dial takes longer than the auction waits for it.
        assert pool._links.get(v.peer("a")) is link
        view, lines = await v.finish(coordinator, job)
        assert view.state is JobState.DONE and len(lines) == 10
        assert view.workers[0].failures == 0 and view.funnel.awarded == 1


async def test_a_hanging_worker_is_hedged(autojump_clock: trio.testing.MockClock) -> None:
    async with village() as v:
        await v.worker("a", FunctionExecutor(square, item_s=1.0))
        await v.worker("hang", FunctionExecutor(square, hang=True))
        coordinator = await v.coordinator(FunctionExecutor(square))
        view, lines = await v.finish(coordinator, coordinator.submit(request(range(6), verify="none", local=0)))
        assert view.state is JobState.DONE and len(lines) == 6
        assert view.elapsed_s < 20.0


async def test_no_worker_says_why_with_the_funnel(autojump_clock: trio.testing.MockClock) -> None:
    async with village() as v:
        await v.worker("dear", FunctionExecutor(square), price=99.0)
        coordinator = await v.coordinator(FunctionExecutor(square))
        view, lines = await v.finish(coordinator, coordinator.submit(request(range(6), local=0)))
        assert view.state is JobState.FAILED and not lines
        assert "no worker took the job" in view.message and "price too low" in view.message


async def test_the_own_machine_finishes_a_job_alone(autojump_clock: trio.testing.MockClock) -> None:
    async with village() as v:
        coordinator = await v.coordinator(FunctionExecutor(square))
        view, lines = await v.finish(coordinator, coordinator.submit(request(range(30), local=2)))
        assert view.state is JobState.DONE and [line.result for line in lines] == [n * n for n in range(30)]
        assert view.overhead == 1.0


async def test_cancel_keeps_what_was_accepted(autojump_clock: trio.testing.MockClock) -> None:
    async with village() as v:
        await v.worker("a", FunctionExecutor(square, item_s=1.0))
        coordinator = await v.coordinator(FunctionExecutor(square))
        job = coordinator.submit(request(range(100), verify="none", local=0))
        await pass_time(5.5)
        coordinator.cancel(job)
        view, lines = await v.finish(coordinator, job)
        assert view.state is JobState.CANCELLED and 0 < len(lines) < 100


async def test_two_jobs_share_a_worker_with_two_slots(autojump_clock: trio.testing.MockClock) -> None:
    async with village() as v:
        await v.worker("a", FunctionExecutor(square), slots=2)
        coordinator = await v.coordinator(FunctionExecutor(square))
        jobs = [coordinator.submit(request(range(20), verify="none", local=0)) for _ in range(2)]
        for job in jobs:
            view, lines = await v.finish(coordinator, job)
            assert view.state is JobState.DONE and len(lines) == 20


async def test_a_bad_request_is_refused_in_words(autojump_clock: trio.testing.MockClock) -> None:
    async with village() as v:
        coordinator = await v.coordinator(FunctionExecutor(square))
        with pytest.raises(LocalError, match="quorum:N"):
            coordinator.submit(request(range(3), verify="quorum:1"))
        with pytest.raises(LocalError, match="item 1"):
            coordinator.submit(request([1, object()]))
        with pytest.raises(LocalError, match="not known"):
            coordinator.view("no such job")  # type: ignore[arg-type]


async def test_all_local_slots_work_at_once(autojump_clock: trio.testing.MockClock) -> None:
    async with village() as v:
        coordinator = await v.coordinator(FunctionExecutor(square, item_s=1.0))
        view, _ = await v.finish(coordinator, coordinator.submit(request(range(30), local=3)))
        assert view.elapsed_s == pytest.approx(10.0, abs=0.5)


async def test_a_function_that_remembers_convicts_nobody(autojump_clock: trio.testing.MockClock) -> None:
    """Each process would give results of its own, though each repeats itself: only a fresh one here shows that."""

    @dataclass
    class Remembering(FunctionExecutor):
        processes: ClassVar[Iterator[int]] = count()

        @asynccontextmanager
        async def open_runner(self, manifest: Manifest) -> AsyncIterator[FunctionExecutor]:
            number = next(self.processes)
            yield FunctionExecutor(lambda item: [item, number])

    async with village() as v:
        for name in "ab":
            await v.worker(name, Remembering(square))
        coordinator = await v.coordinator(Remembering(square))
        view, _ = await v.finish(coordinator, coordinator.submit(request(range(20), verify="quorum:2", local=1)))
        assert view.state is JobState.FAILED and "deterministic" in view.message
        assert not view.liars and not coordinator.trust.banned()


async def test_a_running_job_tells_who_holds_what_and_an_ended_one_keeps_its_auction(autojump_clock):
    async with village() as town:
        await town.worker("good", FunctionExecutor(square, item_s=1.0))
        await town.worker("stuck", FunctionExecutor(square, hang=True))
        await town.worker("dear", FunctionExecutor(square), price=99.0)
        coordinator = await town.coordinator(FunctionExecutor(square))
        job = coordinator.submit(request(range(20), local=0, verify="none", price_max=10.0))
        await pass_time(15.0)
        view = coordinator.view(job)
        stuck = next(one for one in view.workers if one.peer == town.peer("stuck"))
        assert stuck.chunks_now == 2 and stuck.oldest_s > 10.0 and stuck.heard_s <= 2.5
        (line,) = [one for one in view.waits if town.peer("stuck") in one]
        assert line.startswith("1 chunk runs on") and "others took 1.0 s" in line
        ended, _ = await town.finish(coordinator, job)
        assert (ended.state, ended.items_done, ended.waits, ended.left_s) == (JobState.DONE, 20, [], None)
        kept = {one.peer: one for one in town.journal.job(job).candidates}
        assert len(kept) == 3
        assert (kept[town.peer("dear")].state, kept[town.peer("dear")].reason) == ("refused", "price too low")
        assert kept[town.peer("good")].paid is not None and kept[town.peer("dear")].paid is None


async def test_who_is_outvoted_rests_but_is_not_accused(autojump_clock: trio.testing.MockClock) -> None:
    """A coordinator that cannot execute has others' word alone: no proof, no offence."""

    class Elsewhere(FunctionExecutor):
        def offers(self) -> tuple[()]:
            return ()

    async with village() as v:
        for name in "ab":
            await v.worker(name, FunctionExecutor(square))
        await v.worker("c", FunctionExecutor(liar))
        coordinator = await v.coordinator(Elsewhere(square))
        view, lines = await v.finish(coordinator, coordinator.submit(request(range(60), verify="quorum:2", local=0)))
        assert view.state is JobState.DONE and [line.result for line in lines] == [n * n for n in range(60)]
        assert any("outvoted about" in line for line in view.events)
        (trust,) = [one for one in coordinator.trust.trust() if one.banned_for_s > 0]
        assert trust.peer == v.peer("c") and trust.offences == 0 and trust.banned_for_s <= COOL_DOWN_S
        assert [one.kind for one in coordinator.trust.evidence(trust.peer)] == ["outvoted"]
        assert not coordinator.proofs.recent(10)


async def test_who_is_banned_by_the_owner_is_no_liar(autojump_clock: trio.testing.MockClock) -> None:
    """Running jobs go on without it; past results are not in doubt by that."""
    async with village() as v:
        await v.worker("a", FunctionExecutor(square))
        await v.worker("c", FunctionExecutor(square))
        coordinator = await v.coordinator(FunctionExecutor(square))
        past, _ = await v.finish(coordinator, coordinator.submit(request(range(40), verify="none", local=0)))
        running = coordinator.submit(request(range(2000), verify="none", local=0))
        version = 0
        while v.peer("c") not in {line.worker for line in v.journal.results(running)}:
            version = await coordinator.wait_change(running, version)
        coordinator.shut_out(v.peer("c"), "banned by the owner")
        view, lines = await v.finish(coordinator, running)
        assert {line.worker for line in lines} == {v.peer("a")} and view.revoked > 0 and view.liars == []
        assert coordinator.view(JobId(past.id)).doubtful == 0


async def test_where_all_are_banned_it_says_so(autojump_clock: trio.testing.MockClock) -> None:
    async with village() as v:
        await v.worker("a", FunctionExecutor(square))
        coordinator = await v.coordinator(FunctionExecutor(square))
        coordinator.trust.ban(v.peer("a"), 3600.0, "slow")
        asked = request(range(4), verify="none", local=0, worker_wait_s=2.0)
        view, _ = await v.finish(coordinator, coordinator.submit(asked))
        assert view.state is JobState.FAILED and "1 peer that offers this is banned: `peer trust list`" in view.message
