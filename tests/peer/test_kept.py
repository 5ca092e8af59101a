"""A coordinator that dies in the middle of slow chunks: its workers finish and keep them, and nothing is run again."""

from collections import Counter
from pathlib import Path

import pytest
import trio
import trio.testing
from lives import ITEMS, SQUARES, finish, lie, pass_time, running, square, wanted
from village import FunctionExecutor, Village, village

from peer.coordinator import Coordinator
from peer.journal import Journal
from peer.kept_shelf import JournalShelf
from peer.proof_replay import replay
from peer.proof_store import ProofStore, read_proof
from peer.seam import ExecutionFailure
from peer.views import JobState, JobView, ResultLine
from protocol.fraud_proof import Verdict, open_proof
from protocol.ids import JobId
from protocol.messages.job import FailureKind


def executions(v: Village) -> Counter[object]:
    """How often each item was executed by workers."""
    return Counter(item for name in v.workers for item in v.executors[name].runs)


async def workers(v: Village, *functions: object, item_s: float = 10.0, **policy: object) -> None:
    for name, function in zip("abcdef", functions, strict=False):
        await v.worker(name, FunctionExecutor(function, item_s=item_s), **policy)  # type: ignore[arg-type]


async def cut_off(v: Village, coordinator_seam: object, after_s: float, **changes: object) -> JobId:
    """A job whose coordinator dies after so long."""
    async with running(v, coordinator_seam) as coordinator:  # type: ignore[arg-type]
        job = coordinator.submit(wanted(**changes))
        await pass_time(after_s)
    return job


async def go_on(v: Village, coordinator: Coordinator, job: JobId) -> tuple[JobView, list[ResultLine]]:
    assert coordinator.resume_unfinished() == 1
    view, lines = await finish(v, coordinator, job)
    assert (view.state, [line.result for line in lines]) == (JobState.DONE, SQUARES)
    return view, lines


def handed_over(view: JobView) -> int:
    return sum(one.handed_over for one in view.workers)


async def test_what_ran_when_the_coordinator_died_is_finished_kept_and_not_run_again(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with village() as v:
        await workers(v, square, square, square)
        seam = v.seam("coordinator", FunctionExecutor(square))
        job = await cut_off(v, seam, 25.0)
        await pass_time(30.0)
        assert sum(kept.results for one in v.workers.values() for kept in one.view().kept) == 3
        assert all(one.view().slots_busy == 0 for one in v.workers.values())
        async with running(v, seam) as coordinator:
            view, _ = await go_on(v, coordinator, job)
            assert executions(v) == Counter(dict.fromkeys(ITEMS, 1))
            assert handed_over(view) == 3 and view.executions == 24
            assert any("handed over 1 result that it had kept" in line for line in view.events)
            await pass_time(30.0)
        assert not any(one.view().kept for one in v.workers.values()), "it is forgotten once it is in the books"
        earned = sum(one.view().credits_earned for one in v.workers.values())
        assert earned == pytest.approx(240.0) == pytest.approx(v.journal.credits()["spent"])


async def test_what_still_runs_when_the_coordinator_is_back_is_waited_for(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with village() as v:
        await workers(v, square, square, item_s=50.0)
        seam = v.seam("coordinator", FunctionExecutor(square))
        job = await cut_off(v, seam, 60.0)
        async with running(v, seam) as coordinator:
            view, _ = await go_on(v, coordinator, job)
            assert executions(v) == Counter(dict.fromkeys(ITEMS, 1))
            assert handed_over(view) == 2


async def test_a_coordinator_that_dies_again_and_again_gets_all_that_was_kept(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with village() as v:
        await workers(v, square, square)
        seam = v.seam("coordinator", FunctionExecutor(square))
        job = await cut_off(v, seam, 15.0)
        for _ in range(3):
            async with running(v, seam) as coordinator:
                coordinator.resume_unfinished()
                await pass_time(4.0)
            await pass_time(7.0)
        async with running(v, seam) as coordinator:
            view, _ = await go_on(v, coordinator, job)
            assert executions(v) == Counter(dict.fromkeys(ITEMS, 1)) and view.resumes == 4


async def test_a_worker_that_has_no_slot_any_more_hands_over_all_the_same(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """It has taken another job meanwhile, and refuses the call."""
    async with village() as v:
        await workers(v, square, square)
        seam, other_seam = v.seam("coordinator", FunctionExecutor(square)), v.seam("other", FunctionExecutor(square))
        job = await cut_off(v, seam, 25.0, worker_wait_s=1e4)
        await pass_time(20.0)
        before = executions(v)
        async with running(v, other_seam, "other") as other, running(v, seam) as coordinator:
            other.submit(wanted())
            await pass_time(5.0)
            assert all(one.view().slots_busy == 1 for one in v.workers.values())
            coordinator.resume_unfinished()
            await pass_time(3.0)
            view = coordinator.view(job)
            assert (view.items_done, handed_over(view)) == (before.total(), 2)
            assert view.state is JobState.CALLING
            coordinator.cancel(job)
            await pass_time(5.0)
        assert sum(one.view().credits_earned for one in v.workers.values()) == pytest.approx(10.0 * before.total())


@pytest.mark.parametrize("policy", ["quorum:2", "adaptive", "audit:1"])
async def test_what_is_handed_over_is_verified_like_anything_else(
    autojump_clock: trio.testing.MockClock, policy: str
) -> None:
    """The liar finishes its lies while nobody looks, and its coordinator comes back for them."""
    async with village() as v:
        await workers(v, square, square, square, lie)
        seam = v.seam("coordinator", FunctionExecutor(square, item_s=0.1))
        job = await cut_off(v, seam, 2.0, verify=policy)
        await pass_time(30.0)
        async with running(v, seam) as coordinator:
            view, _ = await go_on(v, coordinator, job)
            assert handed_over(view) == 4
            assert v.peer("d") in view.liars and v.peer("d") in coordinator.trust.banned()
            assert policy == "adaptive" or not any(line.worker == v.peer("d") for line in v.journal.results(job))


async def test_a_lie_that_was_handed_over_can_be_proved_to_others(
    autojump_clock: trio.testing.MockClock, tmp_path: Path
) -> None:
    async with village(tmp_path) as v:
        await workers(v, square, lie)
        seam = v.seam("coordinator", FunctionExecutor(square, item_s=0.1))
        job = await cut_off(v, seam, 2.0, verify="audit:1")
        await pass_time(30.0)
        async with running(v, seam) as coordinator:
            await go_on(v, coordinator, job)
            assert v.peer("b") in coordinator.trust.banned()
        (path,) = ProofStore(tmp_path / "proofs").paths()
        claim = open_proof(read_proof(path))
        judgement = await replay(FunctionExecutor(square), claim)
        assert (claim.accused, judgement.verdict) == (v.peer("b"), Verdict.PROVEN)


async def test_a_chunk_that_fails_after_the_coordinator_is_back_is_run_elsewhere(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with village() as v:
        await workers(v, square, square, item_s=30.0)
        seam = v.seam("coordinator", FunctionExecutor(square))
        job = await cut_off(v, seam, 20.0)
        stuck = ExecutionFailure(FailureKind.TIMEOUT, 0, "over 5 s")
        v.executors["a"].failing = dict.fromkeys(v.executors["a"].runs, stuck)
        failing = set(v.executors["a"].failing)
        async with running(v, seam) as coordinator:
            await go_on(v, coordinator, job)
            assert executions(v) == Counter(dict.fromkeys(ITEMS, 1)) + Counter(failing)


async def test_a_worker_that_is_restarted_meanwhile_hands_over_and_is_paid(
    autojump_clock: trio.testing.MockClock, tmp_path: Path
) -> None:
    def shelf() -> JournalShelf:
        return JournalShelf(Journal.open(tmp_path / "worker.sqlite"), lambda: 1000.0 + trio.current_time())

    async with village() as v:
        await v.worker("a", FunctionExecutor(square, item_s=10.0), shelf=shelf())
        seam = v.seam("coordinator", FunctionExecutor(square))
        job = await cut_off(v, seam, 35.0)
        await pass_time(20.0)
        before = executions(v)
        worker = await v.restart("a", shelf())
        (kept,) = worker.view().kept
        assert (kept.coordinator, kept.results) == (v.peer("coordinator"), 1)
        async with running(v, seam) as coordinator:
            view, _ = await go_on(v, coordinator, job)
            assert executions(v) == Counter(dict.fromkeys(ITEMS, 1)) and before.total() == 4
            assert handed_over(view) == 1
            await pass_time(10.0)
        assert not worker.view().kept and not shelf().load()
        assert worker.view().credits_earned == pytest.approx(240.0), "also for what it gave before"


async def test_the_own_machine_does_not_begin_with_what_workers_have(autojump_clock: trio.testing.MockClock) -> None:
    async with village() as v:
        await workers(v, square, square)
        seam = v.seam("coordinator", FunctionExecutor(square, item_s=10.0))
        job = await cut_off(v, seam, 25.0, local=1)
        await pass_time(20.0)
        before, own = executions(v), len(v.executors["coordinator"].runs)
        async with running(v, seam) as coordinator:
            view, _ = await go_on(v, coordinator, job)
            assert handed_over(view) == 2
            assert not before.keys() & set(v.executors["coordinator"].runs[own:]), "a worker had it"
            assert not any(count > 1 for count in executions(v).values())
