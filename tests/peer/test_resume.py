"""Jobs that go on: after a pause, after this peer was stopped, and after it was killed at any of its writes."""

import shutil
from collections.abc import Callable
from itertools import count
from pathlib import Path

import msgspec
import pytest
import trio
import trio.testing
from dying_journal import DyingJournal, Killed
from lives import ITEMS, SQUARES, finish, lie, life, pass_time, ran, running, square, wanted
from village import FunctionExecutor, village

from peer import coordinator as coordinator_module
from peer.job_saves import SAVE_INTERVAL_S
from peer.job_sum import joined
from peer.journal import Journal
from peer.seam import ExecutionFailure
from peer.views import JobState, JobView
from protocol.errors import LocalError
from protocol.ids import JobId
from protocol.messages.job import FailureKind


async def start_and_stop(path: Path, after_s: float = 6.5, **changes: object) -> tuple[JobId, set[int]]:
    """A job that is cut off as the peer is stopped; the items that had a result by then."""
    async with life(Journal.open(path)) as (_, coordinator):
        job = coordinator.submit(wanted(**changes))
        await pass_time(after_s)
    journal = Journal.open(path)
    accepted = set(journal.outcomes(job))
    journal.close()
    assert 0 < len(accepted) < len(ITEMS)
    return job, accepted


async def test_a_job_goes_on_by_itself_and_runs_nothing_twice(
    autojump_clock: trio.testing.MockClock, tmp_path: Path
) -> None:
    job, accepted = await start_and_stop(tmp_path / "journal.sqlite")
    async with life(Journal.open(tmp_path / "journal.sqlite")) as (v, coordinator):
        assert coordinator.resume_unfinished() == 1
        assert coordinator.resume_unfinished() == 0, "it runs already"
        view, lines = await finish(v, coordinator, job)
        assert (view.id, view.state, view.items, view.items_done) == (job, JobState.DONE, 24, 24)
        assert [line.result for line in lines] == SQUARES
        assert ran(v) == set(ITEMS) - accepted, "what stood was run again, or the rest was not"
        assert (view.resumes, view.retries) == (1, 0)
        assert view.elapsed_s > 6.5 and view.executions >= 24
        assert any(f"goes on: {len(accepted)} of 24 items stand" in line for line in view.events)
        assert coordinator.resume_unfinished() == 0


def test_results_that_outlived_their_figures_were_executed_all_the_same() -> None:
    before = JobView(id="j", name="j", state=JobState.RUNNING, items=24, items_done=10, executions=10)
    run = JobView(id="j", name="j", state=JobState.DONE, items=8, items_done=8, executions=9)
    assert joined(before, run, kept=16, suspects=()).executions == 25
    assert joined(before, run, kept=9, suspects=()).executions == 19


def test_the_bound_of_a_job_that_was_cut_off_is_that_of_its_parts() -> None:
    before = JobView(id="j", name="j", state=JobState.RUNNING, items=24, items_done=10, error_bound=0.01)
    run = JobView(id="j", name="j", state=JobState.DONE, items=8, items_done=8, error_bound=0.001)

    def bound(before: JobView, run: JobView, kept: int) -> float | None:
        return joined(before, run, kept=kept, suspects=()).error_bound

    assert bound(before, run, 10) == pytest.approx((10 * 0.01 + 8 * 0.001) / 18)
    assert bound(before, run, 16) == pytest.approx((10 * 0.01 + 6 * before.assume_liars + 8 * 0.001) / 24)
    unknown = msgspec.structs.replace(before, error_bound=None)
    assert bound(unknown, run, 16) == pytest.approx((16 * before.assume_liars + 8 * 0.001) / 24)
    assert bound(before, run, 0) == 0.001
    running = msgspec.structs.replace(run, state=JobState.RUNNING, error_bound=None)
    assert bound(before, running, 10) is None
    nothing = msgspec.structs.replace(run, items_done=0, error_bound=None)
    assert bound(before, nothing, 10) == pytest.approx(0.01)


async def test_the_bound_of_a_run_that_was_cut_off_is_kept(
    autojump_clock: trio.testing.MockClock, tmp_path: Path
) -> None:
    path = tmp_path / "journal.sqlite"
    job, accepted = await start_and_stop(path, verify="quorum:2", after_s=8.5)
    async with life(Journal.open(path)) as (v, coordinator):
        saved = v.journal.job(job)
        assert saved is not None and saved.error_bound == pytest.approx(0.2**2)
        assert saved.items_done == len(accepted)
        coordinator.resume_unfinished()
        assert coordinator.view(job).error_bound is None, "what counts may still be revoked"
        view, _ = await finish(v, coordinator, job)
        assert view.error_bound == pytest.approx(0.2**2)


async def test_a_job_goes_on_again_and_again(autojump_clock: trio.testing.MockClock, tmp_path: Path) -> None:
    job, _ = await start_and_stop(tmp_path / "journal.sqlite", after_s=3.5)
    for _ in range(2):
        async with life(Journal.open(tmp_path / "journal.sqlite")) as (_, coordinator):
            coordinator.resume_unfinished()
            await pass_time(3.5)
    async with life(Journal.open(tmp_path / "journal.sqlite")) as (v, coordinator):
        coordinator.resume_unfinished()
        view, lines = await finish(v, coordinator, job)
        assert (view.resumes, view.items_done, [line.result for line in lines]) == (3, 24, SQUARES)
        assert 0 < len(ran(v)) < 18


async def test_a_job_of_which_all_is_done_ends_without_a_worker(
    autojump_clock: trio.testing.MockClock, tmp_path: Path
) -> None:
    """The peer died between the last result and the job's end."""
    path = tmp_path / "journal.sqlite"
    async with life(Journal.open(path)) as (v, coordinator):
        job = coordinator.submit(wanted())
        await finish(v, coordinator, job)
        view = coordinator.view(job)
    journal = Journal.open(path)
    journal.save_job(JobView(id=job, name=view.name, state=JobState.RUNNING, items=24))
    async with life(journal) as (v, coordinator):
        coordinator.resume_unfinished()
        view, _ = await finish(v, coordinator, job)
        assert (view.state, view.items_done, ran(v)) == (JobState.DONE, 24, set())


async def test_figures_are_saved_while_a_job_runs(autojump_clock: trio.testing.MockClock, tmp_path: Path) -> None:
    """So that a kill loses the figures of a few seconds, and no more."""
    async with life(Journal.open(tmp_path / "journal.sqlite")) as (v, coordinator):
        job = coordinator.submit(wanted())
        await pass_time(SAVE_INTERVAL_S + 2.0)
        saved = v.journal.job(job)
        assert saved is not None and saved.state is JobState.RUNNING
        assert 0 < saved.items_done <= len(v.journal.outcomes(job)) and saved.executions > 0


async def test_a_liar_caught_after_the_restart_takes_back_what_was_believed_before(
    autojump_clock: trio.testing.MockClock, tmp_path: Path
) -> None:
    path = tmp_path / "journal.sqlite"
    async with life(Journal.open(path), square, lie) as (v, coordinator):
        job = coordinator.submit(wanted())
        await pass_time(6.5)
        liar = v.peer("b")
    believed = Journal.open(path)
    lies = {line.item for line in believed.results(job) if line.worker == liar}
    assert lies
    async with life(believed, square, lie) as (v, coordinator):
        await v.nursery.start(coordinator.redo_doubtful)
        coordinator.resume_unfinished()
        await pass_time(2.0)
        coordinator.condemn(liar, "caught lying elsewhere")
        assert coordinator.view(job).doubtful == len(lies)
        coordinator.trust.caught(liar, "j", "a lie")
        with trio.fail_after(1000.0):
            while not coordinator.view(job).state.is_final or coordinator.view(job).doubtful:
                await pass_time(1.0)
        assert [line.result for line in v.journal.results(job)] == SQUARES


async def test_results_in_doubt_when_the_peer_died_are_run_again(
    autojump_clock: trio.testing.MockClock, tmp_path: Path
) -> None:
    job, accepted = await start_and_stop(tmp_path / "journal.sqlite")
    journal = Journal.open(tmp_path / "journal.sqlite")
    worker = next(line.worker for line in journal.results(job))
    assert worker is not None and (given := journal.doubt(worker)[job])
    in_doubt = set(journal.doubtful(job))
    async with life(journal) as (v, coordinator):
        coordinator.resume_unfinished()
        view, _ = await finish(v, coordinator, job)
        assert ran(v) == (set(ITEMS) - accepted) | in_doubt and len(in_doubt) == given
        assert view.doubtful == 0


async def test_what_failed_stands_but_not_where_a_retry_of_it_was_cut_off(
    autojump_clock: trio.testing.MockClock, tmp_path: Path
) -> None:
    path = tmp_path / "journal.sqlite"
    stuck = ExecutionFailure(FailureKind.TIMEOUT, 0, "over 5 s")
    async with life(Journal.open(path), square, square, square) as (v, coordinator):
        for name in "abc":
            v.executors[name].failing = {3: stuck, 4: stuck}
        job = coordinator.submit(wanted())
        past, _ = await finish(v, coordinator, job)
        assert past.items_failed == 2
        for name in "abc":
            v.executors[name].hang = True
        assert coordinator.retry(job) == 2
        await pass_time(2.0)
    async with life(Journal.open(path)) as (v, coordinator):
        assert coordinator.resume_unfinished() == 1
        view, _ = await finish(v, coordinator, job)
        assert (ran(v), view.items_done, view.items_failed) == ({3, 4}, 24, 0)
        assert v.journal.to_run_again(job) == set()


async def test_a_job_that_cannot_go_on_says_why(
    autojump_clock: trio.testing.MockClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job, accepted = await start_and_stop(tmp_path / "journal.sqlite")
    async with life(Journal.open(tmp_path / "journal.sqlite")) as (v, coordinator):
        with monkeypatch.context() as patch:
            patch.setattr(coordinator_module, "JOBS_RUNNING_MAX", 0)
            assert coordinator.resume_unfinished() == 0
        view = coordinator.view(job)
        assert (view.state, view.items_done) == (JobState.INTERRUPTED, len(accepted))
        assert "the job cannot go on: 0 jobs run already" in view.message
        coordinator.resume(job)
        view, lines = await finish(v, coordinator, job)
        assert (view.state, [line.result for line in lines]) == (JobState.DONE, SQUARES)


# Pausing.


async def test_a_paused_job_is_left_alone_over_restarts_until_it_is_resumed(
    autojump_clock: trio.testing.MockClock, tmp_path: Path
) -> None:
    path = tmp_path / "journal.sqlite"
    async with life(Journal.open(path)) as (v, coordinator):
        job = coordinator.submit(wanted())
        await pass_time(6.5)
        coordinator.pause(job)
        coordinator.pause(job)
        view = coordinator.view(job)
        assert (view.state, view.message) == (JobState.PAUSED, "paused by the user")
        assert view.credits > 0, "what was accepted is paid"
        assert view.chunks.keys() <= {"pending", "accepted"}, "nobody is at work on it any more"
        await pass_time(5.0)
        before = len(ran(v))
        await pass_time(20.0)
        assert len(ran(v)) == before and not any(worker.view().leases for worker in v.workers.values())
        accepted = set(v.journal.outcomes(job))
    async with life(Journal.open(path)) as (v, coordinator):
        assert coordinator.resume_unfinished() == 0
        await pass_time(20.0)
        assert (coordinator.view(job).state, ran(v)) == (JobState.PAUSED, set())
        coordinator.resume(job)
        coordinator.resume(job)
        view, lines = await finish(v, coordinator, job)
        assert (view.state, [line.result for line in lines]) == (JobState.DONE, SQUARES)
        assert ran(v) == set(ITEMS) - accepted


async def test_a_job_is_resumed_while_its_workers_still_take_their_leave(
    autojump_clock: trio.testing.MockClock, tmp_path: Path
) -> None:
    async with life(Journal.open(tmp_path / "journal.sqlite")) as (v, coordinator):
        job = coordinator.submit(wanted())
        await pass_time(6.5)
        coordinator.pause(job)
        coordinator.resume(job)
        view, lines = await finish(v, coordinator, job)
        assert (view.state, view.resumes, [line.result for line in lines]) == (JobState.DONE, 1, SQUARES)


async def test_what_can_be_paused_resumed_and_cancelled(
    autojump_clock: trio.testing.MockClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with life(Journal.open(tmp_path / "journal.sqlite")) as (v, coordinator):
        done = coordinator.submit(wanted())
        await finish(v, coordinator, done)
        with pytest.raises(LocalError, match=f"job {done} is done: only one that runs"):
            coordinator.pause(done)
        with pytest.raises(LocalError, match=f"job {done} is done: `peer job retry {done}`"):
            coordinator.resume(done)
        for ask in (coordinator.pause, coordinator.resume):
            with pytest.raises(LocalError, match="not known"):
                ask(JobId("nobody"))
        paused, other = coordinator.submit(wanted()), coordinator.submit(wanted())
        coordinator.pause(paused)
        monkeypatch.setattr(coordinator_module, "JOBS_PAUSED_MAX", 1)
        with pytest.raises(LocalError, match="1 jobs are paused already"):
            coordinator.pause(other)
        coordinator.cancel(paused)
        assert coordinator.view(paused).state is JobState.CANCELLED
        coordinator.pause(other)


async def test_a_job_waits_for_the_network_after_a_start_and_can_be_ended_meanwhile(
    autojump_clock: trio.testing.MockClock, tmp_path: Path
) -> None:
    path = tmp_path / "journal.sqlite"
    job, accepted = await start_and_stop(path)
    async with life(Journal.open(path)) as (_, coordinator):
        with trio.move_on_after(5.0) as waiting:
            await coordinator.wait_change(job, await coordinator.wait_change(job, 0))
        assert waiting.cancelled_caught, "whoever follows it would ask again and again"
        coordinator.pause(job)
        assert (coordinator.view(job).state, coordinator.view(job).items_done) == (JobState.PAUSED, len(accepted))
        coordinator.cancel(job)
        assert coordinator.view(job).state is JobState.CANCELLED


# Paying.


@pytest.mark.parametrize("banned", [False, True])
async def test_workers_are_paid_for_a_run_that_was_cut_off_when_the_job_ends(
    autojump_clock: trio.testing.MockClock, *, banned: bool
) -> None:
    async with village() as v:
        for name in "ab":
            await v.worker(name, FunctionExecutor(square, item_s=1.0))
        seam = v.seam("coordinator", FunctionExecutor(square))
        async with running(v, seam) as coordinator:
            job = coordinator.submit(wanted())
            await pass_time(6.5)
        accepted = v.journal.outcomes(job)
        givers = {line.item: line.worker for line in v.journal.results(job)}
        assert sum(worker.view().credits_earned for worker in v.workers.values()) == 0
        async with running(v, seam) as coordinator:
            coordinator.resume_unfinished()
            if banned:
                coordinator.trust.ban(v.peer("b"), 1e6, "the owner said so")
            view, _ = await finish(v, coordinator, job)
            while coordinator.running() or not v.workers["a"].view().credits_earned:
                await pass_time(1.0)
            await pass_time(30.0)
        forfeited = sum(givers[item] == v.peer("b") for item in accepted) if banned else 0
        earned = sum(worker.view().credits_earned for worker in v.workers.values())
        assert earned == pytest.approx(24.0 - forfeited) and forfeited < 24 == view.items_done
        assert v.journal.credits()["spent"] == pytest.approx(earned) == pytest.approx(view.credits)
        assert v.journal.owed_earlier(job) == [] and v.journal.read("SELECT * FROM owed") == []


# Killed.


async def live_and_die(
    journal: DyingJournal, policy: str, *workers: Callable[[object], object], seed: int = 0, local: int = 0
) -> None:
    """One life, until the job ends or the journal dies."""
    try:
        async with life(journal, *workers, seed=seed) as (v, coordinator):
            job = coordinator.submit(wanted(verify=policy, local=local))
            await finish(v, coordinator, job)
    except* Killed:
        pass


@pytest.mark.slow
@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize(
    ("policy", "workers"), [("none", (square, square)), ("quorum:2", (square, square, lie)), ("audit:1", (square, lie))]
)
async def test_a_coordinator_killed_at_any_write_loses_and_repeats_nothing(
    autojump_clock: trio.testing.MockClock, tmp_path: Path, policy: str, workers: tuple, *, after: bool
) -> None:
    whole = DyingJournal.open_dying(tmp_path / "whole.sqlite")
    await live_and_die(whole, policy, *workers)
    assert whole.writes > 12
    for write in range(1, whole.writes):
        path = tmp_path / f"{write}.sqlite"
        await live_and_die(DyingJournal.open_dying(path, write, after=after), policy, *workers)
        journal = Journal.open(path)
        jobs = journal.jobs()
        accepted = {item for job in jobs for item in journal.outcomes(JobId(job.id))}
        accepted -= {item for job in jobs for item in journal.doubtful(JobId(job.id))}
        async with life(journal, *workers) as (v, coordinator):
            await v.nursery.start(coordinator.redo_doubtful)
            coordinator.resume_unfinished()
            for job in jobs:
                view, lines = await finish(v, coordinator, JobId(job.id))
                assert (view.state, view.doubtful) == (JobState.DONE, 0), write
                assert [line.result for line in lines] == SQUARES, write
                assert set(view.liars) == coordinator.trust.banned().keys(), f"{write}: the report names them not"
            assert not ran(v) & accepted, write
            assert policy != "none" or v.journal.credits()["spent"] <= 24.0 + 1e-6, f"{write}: paid twice"
            assert jobs or (write == 1 and not after), "a job that was taken is not known any more"


@pytest.mark.slow
@pytest.mark.parametrize("after", [False, True])
async def test_a_coordinator_killed_as_it_catches_a_liar_still_takes_back_what_the_liar_gave_to_past_jobs(
    autojump_clock: trio.testing.MockClock, tmp_path: Path, *, after: bool
) -> None:
    async with life(Journal.open(tmp_path / "past.sqlite"), square, lie) as (v, coordinator):
        past = coordinator.submit(wanted(local=1))
        _, lines = await finish(v, coordinator, past)
        assert [line.result for line in lines] != SQUARES, "the liar was believed"
    for write in count(1):
        path = tmp_path / f"{write}.sqlite"
        shutil.copy(tmp_path / "past.sqlite", path)
        journal = DyingJournal.open_dying(path, write, after=after)
        await live_and_die(journal, "audit:1", square, lie, seed=1, local=1)
        async with life(Journal.open(path), square, lie, seed=2) as (v, coordinator):
            await v.nursery.start(coordinator.redo_doubtful)
            coordinator.resume_unfinished()
            await finish(v, coordinator, coordinator.submit(wanted(verify="audit:1", local=1)))
            with trio.fail_after(1000.0):
                while [line.result for line in v.journal.results(past)] != SQUARES:
                    await pass_time(1.0)
            assert coordinator.view(past).doubtful == 0, write
        if journal.writes < write:
            break
    assert write > 12
