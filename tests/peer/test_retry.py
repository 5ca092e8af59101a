"""Past jobs of which a part is run again: what failed, was never run, or rests on a peer found lying since."""

from pathlib import Path

import pytest
import trio
import trio.testing
from village import FunctionExecutor, Village, request, village

from peer import coordinator as coordinator_module
from peer import redo as redo_module
from peer.coordinator import Coordinator
from peer.journal import Journal
from peer.redo import REDO_WITHIN_S, Redo
from peer.seam import ExecutionFailure
from peer.views import JobState, JobView, ResultLine
from protocol.errors import LocalError
from protocol.ids import JobId
from protocol.messages.job import FailureKind

LIES_FROM = 5000


def square(item: object) -> object:
    assert isinstance(item, int)
    return item * item


def lies_late(item: object) -> object:
    assert isinstance(item, int)
    return item * item + (item >= LIES_FROM)


async def pass_time(virtual_s: float) -> None:
    with trio.move_on_after(virtual_s):
        await trio.sleep_forever()


async def with_a_sleeper(v: Village, executor: FunctionExecutor | None = None, *, redo: bool = False) -> Coordinator:
    await v.worker("a", FunctionExecutor(square))
    await v.worker("c", FunctionExecutor(lies_late))
    coordinator = await v.coordinator(executor or FunctionExecutor(square))
    if redo:
        await v.nursery.start(coordinator.redo_doubtful)
    return coordinator


async def past_job(v: Village, coordinator: Coordinator, **wanted: object) -> tuple[JobId, JobView, list[ResultLine]]:
    """A job whose results are believed as they come; its id, last view and results."""
    job = coordinator.submit(request(range(40), **{"verify": "none", "local": 0, **wanted}))
    return job, *await v.finish(coordinator, job)


async def catch_the_sleeper(v: Village, coordinator: Coordinator) -> JobView:
    job = coordinator.submit(request(range(LIES_FROM, LIES_FROM + 20), verify="audit:1", local=0))
    view, _ = await v.finish(coordinator, job)
    assert view.liars == [v.peer("c")]
    return view


async def test_doubtful_results_are_done_again_by_others_and_the_rest_stands(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with village() as v:
        coordinator = await with_a_sleeper(v)
        job, past, before = await past_job(v, coordinator)
        await catch_the_sleeper(v, coordinator)
        given = {line.item for line in before if line.worker == v.peer("c")}
        assert 0 < len(given) < 40 and coordinator.view(job).doubtful == len(given)
        ran = len(v.executors["a"].runs)
        assert coordinator.retry(job) == len(given)
        assert (coordinator.view(job).state, coordinator.view(job).items_done) == (JobState.CALLING, 40 - len(given))
        view, lines = await v.finish(coordinator, job)
        assert (view.state, view.items, view.items_done, view.doubtful) == (JobState.DONE, 40, 40, 0)
        assert [line.result for line in lines] == [n * n for n in range(40)]
        assert {line.worker for line in lines} == {v.peer("a")}
        assert set(v.executors["a"].runs[ran:]) == given, "a result that stood was done again"
        assert (view.retries, view.liars) == (1, [v.peer("c")])
        assert view.executions == past.executions + len(given) and view.elapsed_s > past.elapsed_s
        assert {one.peer: one.items_done for one in view.workers} == {v.peer("a"): 40, v.peer("c"): len(given)}
        assert any(f"retry: {len(given)} in doubt" in line for line in view.events)
        assert any("works with" in line for line in view.events[: len(past.events)]), "the earlier story stays"
        assert coordinator.view(job) == v.journal.job(job)
        assert coordinator.retry(job) == 0, "all results stand now"


async def test_failed_items_are_run_again_and_named_as_in_the_job(autojump_clock: trio.testing.MockClock) -> None:
    stuck = ExecutionFailure(FailureKind.TIMEOUT, 0, "over 5 s")
    async with village() as v:
        executors = [FunctionExecutor(square, failing={7: stuck, 30: stuck}) for _ in "abc"]
        for name, executor in zip("abc", executors, strict=True):
            await v.worker(name, executor)
        coordinator = await v.coordinator(FunctionExecutor(square))
        job, past, _ = await past_job(v, coordinator)
        assert (past.items_done, past.items_failed) == (38, 2)
        for executor in executors:
            del executor.failing[7]
        assert coordinator.retry(job) == 2
        view, lines = await v.finish(coordinator, job)
        assert (view.items_done, view.items_failed) == (39, 1)
        assert lines[7].result == 49 and (lines[30].error or "").startswith("time limit exceeded on")
        assert sum("item 30: time limit exceeded" in line for line in view.events) == 2


async def test_a_cancelled_job_is_finished_by_a_retry(autojump_clock: trio.testing.MockClock) -> None:
    async with village() as v:
        await v.worker("a", FunctionExecutor(square, item_s=1.0))
        coordinator = await v.coordinator(FunctionExecutor(square))
        job = coordinator.submit(request(range(30), verify="none", local=0))
        await pass_time(8.5)
        coordinator.cancel(job)
        past, lines = await v.finish(coordinator, job)
        assert 0 < len(lines) < 30
        assert coordinator.retry(job) == 30 - len(lines)
        view, lines = await v.finish(coordinator, job)
        assert (view.state, view.items_done, view.message) == (JobState.DONE, 30, "")
        assert [line.result for line in lines] == [n * n for n in range(30)]
        assert view.compute_s == pytest.approx(30.0)
        assert view.credits == pytest.approx(v.journal.credits()["spent"]) == pytest.approx(30.0)
        assert view.submitted_at_unix_s == past.submitted_at_unix_s


async def test_a_retry_that_comes_to_nothing_loses_nothing(autojump_clock: trio.testing.MockClock) -> None:
    """Nobody is left to do it: the old results stay, in doubt."""
    async with village() as v:
        await v.worker("c", FunctionExecutor(lies_late))
        coordinator = await v.coordinator(FunctionExecutor(square))
        job, _, before = await past_job(v, coordinator)
        coordinator.trust.caught(v.peer("c"), "j", "a lie")
        coordinator.condemn(v.peer("c"), "caught lying in job j")
        assert coordinator.retry(job) == 40
        view, lines = await v.finish(coordinator, job)
        assert view.state is JobState.FAILED and "no worker took the job" in view.message
        assert (view.items_done, view.items_failed, view.doubtful) == (40, 0, 40)
        assert lines == before


async def test_what_is_found_out_during_a_retry_is_in_doubt_too(autojump_clock: trio.testing.MockClock) -> None:
    async with village() as v:
        await v.worker("a", FunctionExecutor(square))
        await v.worker("b", FunctionExecutor(square))
        await v.worker("c", FunctionExecutor(square))
        coordinator = await v.coordinator(FunctionExecutor(square))
        job, _, before = await past_job(v, coordinator)
        of = {name: sum(line.worker == v.peer(name) for line in before) for name in "abc"}
        assert min(of.values()) > 0
        coordinator.condemn(v.peer("c"), "banned by the owner")
        assert coordinator.retry(job) == of["c"]
        coordinator.condemn(v.peer("b"), "banned by the owner")
        assert coordinator.view(job).doubtful == of["b"] + of["c"]
        view, _ = await v.finish(coordinator, job)
        assert view.doubtful == of["b"] == len(v.journal.doubtful(job))


async def test_a_job_that_runs_or_is_unknown_is_not_retried(autojump_clock: trio.testing.MockClock) -> None:
    async with village() as v:
        await v.worker("a", FunctionExecutor(square))
        coordinator = await v.coordinator(FunctionExecutor(square))
        job = coordinator.submit(request(range(10), verify="none", local=0))
        with pytest.raises(LocalError, match=f"job {job} still runs: wait for its end"):
            coordinator.retry(job)
        with pytest.raises(LocalError, match="not known"):
            coordinator.retry(JobId("nobody"))
        await v.finish(coordinator, job)
        assert coordinator.retry(job) == 0


async def test_a_retry_that_is_cut_off_can_be_retried(autojump_clock: trio.testing.MockClock, tmp_path: Path) -> None:
    async with village() as v:
        v.journal = Journal.open(tmp_path / "journal.sqlite")
        await v.worker("a", FunctionExecutor(square, item_s=1.0))
        await v.worker("c", FunctionExecutor(square, item_s=1.0))
        coordinator = await v.coordinator(FunctionExecutor(square))
        job, past, before = await past_job(v, coordinator)
        coordinator.condemn(v.peer("c"), "banned by the owner")
        given = coordinator.view(job).doubtful
        coordinator.retry(job)
        while coordinator.view(job).doubtful == given:
            await pass_time(0.5)
        after_a_kill = Journal.open(tmp_path / "journal.sqlite")
        (view,) = after_a_kill.unfinished()
        assert (view.id, view.items_done, view.executions) == (job, 40, past.executions)
        assert 0 < len(after_a_kill.doubtful(job)) < given
        assert len(list(after_a_kill.results(job))) == len(before)
        after_a_kill.close()
    view = v.journal.job(job)
    assert view is not None and (view.state, view.message) == (JobState.RUNNING, "this peer was stopped")
    assert (view.items_done, view.doubtful) == (40 - view.doubtful, len(v.journal.doubtful(job)))
    v.journal.close()


# Unasked.


async def until_sure(coordinator: Coordinator, job: JobId) -> JobView:
    """The job once none of its results is in doubt any more; never, if nobody does them again."""
    version = 0
    while not coordinator.view(job).state.is_final or coordinator.view(job).doubtful:
        version = await coordinator.wait_change(job, version)
        await pass_time(0.1)
    return coordinator.view(job)


async def test_a_job_that_ended_lately_is_done_again_unasked_and_its_story_says_why(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with village() as v:
        coordinator = await with_a_sleeper(v, redo=True)
        job, past, before = await past_job(v, coordinator)
        other, _, _ = await past_job(v, coordinator)
        caught = await catch_the_sleeper(v, coordinator)
        with trio.fail_after(60.0):
            view = await until_sure(coordinator, job)
            await until_sure(coordinator, other)
        assert (view.state, view.items_done, view.retries) == (JobState.DONE, 40, 1)
        assert [line.result for line in v.journal.results(job)] == [n * n for n in range(40)]
        given = sum(line.worker == v.peer("c") for line in before)
        assert view.executions == past.executions + given
        why = f"what {v.peer('c')[-8:]} gave is done again: caught lying in job {caught.id}"
        assert sum(why in line for line in view.events) == 1
        assert coordinator.view(JobId(caught.id)).retries == 0


async def test_jobs_are_done_again_unasked_one_at_a_time_and_when_there_is_room(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with village() as v:
        coordinator = await with_a_sleeper(v, redo=True)
        jobs = [(await past_job(v, coordinator))[0] for _ in range(2)]
        v.executors["a"].hang = v.executors["c"].hang = True
        running = coordinator.submit(request(range(4), verify="none", local=0))
        await pass_time(20.0)
        monkeypatch.setattr(coordinator_module, "JOBS_RUNNING_MAX", 1)
        coordinator.condemn(v.peer("c"), "banned by the owner")
        await pass_time(20.0)
        assert [coordinator.view(job).state for job in jobs] == [JobState.DONE] * 2, "there was no room"
        coordinator.cancel(running)
        await pass_time(20.0)
        assert {coordinator.view(job).state for job in jobs} == {JobState.RUNNING, JobState.DONE}


async def test_old_and_unfinished_jobs_are_left_to_their_owner(autojump_clock: trio.testing.MockClock) -> None:
    async with village() as v:
        coordinator = await with_a_sleeper(v, redo=True)
        old, _, _ = await past_job(v, coordinator)
        await pass_time(REDO_WITHIN_S)
        v.executors["a"].item_s = v.executors["c"].item_s = 1.0
        cancelled = coordinator.submit(request(range(40), verify="none", local=0))
        await pass_time(8.5)
        coordinator.cancel(cancelled)
        await v.finish(coordinator, cancelled)
        await catch_the_sleeper(v, coordinator)
        await pass_time(60.0)
        for job in (old, cancelled):
            assert coordinator.view(job).doubtful > 0 and coordinator.view(job).retries == 0


async def test_only_doubtful_items_are_done_again_unasked(autojump_clock: trio.testing.MockClock) -> None:
    """Not those that failed: they would fail again, and nobody has asked."""
    stuck = ExecutionFailure(FailureKind.TIMEOUT, 0, "over 5 s")
    async with village() as v:
        coordinator = await with_a_sleeper(v, redo=True)
        for name in "ac":
            v.executors[name].failing[7] = stuck
        job, past, _ = await past_job(v, coordinator)
        assert past.items_failed == 1
        v.executors["a"].failing.clear()
        await catch_the_sleeper(v, coordinator)
        with trio.fail_after(60.0):
            view = await until_sure(coordinator, job)
        assert (view.items_done, view.items_failed, view.retries) == (39, 1, 1)


def test_the_queue_is_bounded_and_names_each_reason_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redo_module, "REDO_WAITING_MAX", 2)
    monkeypatch.setattr(redo_module, "REASONS_MAX", 2)
    redo = Redo()
    for job in ("a", "b", "c", "a"):
        for reason in ("one", "one", "two", "three"):
            redo.add(JobId(job), reason)
    assert redo.take(JobId("a")) == ["one", "two"] and redo.take(JobId("b")) == ["one", "two"]
    with pytest.raises(KeyError):
        redo.take(JobId("c"))
