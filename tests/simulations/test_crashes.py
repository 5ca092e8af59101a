"""Peers that are killed and start again: when, what of their journal outlives them, and what would be noticed."""

from collections.abc import Callable, Sequence
from itertools import islice, pairwise
from random import Random

import pytest

from peer import job_retry
from peer.coordinator import Coordinator
from peer.job_owing import Debt
from peer.views import JobRequest, JobState, JobView, ResultLine
from protocol.bodies import Receipt
from protocol.ids import JobId, LeaseId, PeerId
from simulations.book import Book
from simulations.crashes import AT_WRITE_WITHIN_S, Crash, Killed, Moment, coordinator_crashes, with_worker_crashes
from simulations.models.churn import Session
from simulations.result import Result
from simulations.run import run
from simulations.scenario import Churn, Crashes, Limits, Scenario, Workers, Workload
from simulations.trace import Trace
from simulations.traced_journal import TracedJournal

JOB = JobId("job")
CRASHES = Crashes(coordinator_mean_s=20.0, coordinator_down_s=5.0, worker_mean_s=30.0, worker_down_s=2.0)
SCENARIO = Scenario(
    name="killed",
    workers=Workers(count=5),
    crashes=Crashes(coordinator_mean_s=5.0, coordinator_down_s=2.0),
    workload=Workload(items=60, verify="none", local=0),
    limits=Limits(duration_s=120.0, liveness_s=300.0, wrong_share_max=0.0),
)


def checkers_of(result: Result) -> set[str]:
    return {one.checker for one in result.violations}


# When.


def test_a_coordinator_dies_again_and_again_until_all_heals_and_lives_in_between() -> None:
    found = list(coordinator_crashes(CRASHES, Random(1), 30.0, 1000.0))
    assert 10 < len(found) < 60 and all(30.0 < one.at_s < 1000.0 and one.down_s > 0 for one in found)
    assert all(one.at_s + AT_WRITE_WITHIN_S + one.down_s < other.at_s for one, other in pairwise(found))
    assert {one.moment for one in found} == {*Moment}
    assert list(coordinator_crashes(Crashes(), Random(1), 30.0, 1000.0)) == []


@pytest.mark.parametrize(
    ("at_write", "moments"), [(0.0, {Moment.BETWEEN}), (1.0, {Moment.BEFORE_WRITE, Moment.AFTER_WRITE})]
)
def test_the_share_of_crashes_in_the_middle_of_a_write_is_as_asked_for(at_write: float, moments: set[Moment]) -> None:
    crashes: list[Crash] = list(
        coordinator_crashes(Crashes(coordinator_mean_s=9.0, at_write=at_write), Random(1), 0.0, 1000.0)
    )
    assert {one.moment for one in crashes} == moments


def test_the_stays_of_a_worker_are_cut_by_crashes_and_end_as_they_would_have() -> None:
    stays = [Session(0.0, 200.0, crashes=False), Session(300.0, 500.0, crashes=True)]
    cut = list(with_worker_crashes(iter(stays), CRASHES, Random(2)))
    assert len(cut) > 4 and all(one.end_s <= other.start_s for one, other in pairwise(cut))
    assert all(any(whole.start_s <= one.start_s < one.end_s <= whole.end_s for whole in stays) for one in cut)
    assert all(one.crashes for one in cut if one.end_s not in (200.0, 500.0))
    assert list(with_worker_crashes(iter(stays), Crashes(), Random(2))) == stays


def test_a_worker_that_stays_for_good_crashes_for_ever() -> None:
    endless = iter([Session(0.0, float("inf"), crashes=False)])
    assert all(one.crashes for one in islice(with_worker_crashes(endless, CRASHES, Random(2)), 100))


# What is left.


def opened() -> tuple[TracedJournal, Book]:
    book = Book(Trace(lambda: 0.0), {}, range(1))
    return TracedJournal.open_traced(book, 0, lambda peer: None, keeps=True), book


def right(*items: int) -> list[ResultLine]:
    return [ResultLine(item=item, ok=True, result=item, worker="w") for item in items]


async def with_a_job() -> tuple[TracedJournal, Book]:
    journal, book = opened()
    journal.add_job(
        JobView(id=JOB, name="j", state=JobState.RUNNING, items=9), JobRequest(name="j", code="", items=list(range(9)))
    )
    return journal, book


Write = Callable[[TracedJournal], object]


def pay(journal: TracedJournal) -> None:
    receipt = Receipt(job=JOB, lease=LeaseId("l"), sequence=0, worker=PeerId("w"), chunks=(), credits=1.0, price=1.0)
    with journal.transaction():
        journal.save_owed(JOB, [Debt(PeerId("w"), LeaseId("l"), 1.0, 1.0)])
        journal.add_receipt(b"", receipt, given=True, peer="w")


@pytest.mark.parametrize("moment", [Moment.BEFORE_WRITE, Moment.AFTER_WRITE])
async def test_a_journal_that_dies_at_a_write_keeps_it_whole_or_not_at_all_and_takes_no_more(moment: Moment) -> None:
    journal, book = await with_a_job()
    journal.record_results(JOB, right(1, 2))
    deaths: list[str] = []
    journal.die_at_next_write(moment, lambda: deaths.append("dead"))
    with pytest.raises(Killed):
        pay(journal)
    for write in (pay, lambda one: one.record_results(JOB, right(3)), lambda one: one.doubt("w")):
        with pytest.raises(Killed):
            write(journal)
    assert journal.dead and deaths == ["dead"], "its peer is told once, before anything else happens"
    paid = moment is Moment.AFTER_WRITE
    assert len(book.recording.given) == paid, "what was taken back was told, or what was written was not"
    again = journal.reopened()
    assert (again.credits()["spent"], again.outcomes(JOB)) == (float(paid), {1: True, 2: True})
    again.record_results(JOB, right(3))
    assert again.outcomes(JOB).keys() == {1, 2, 3}
    again.close()


async def test_what_the_next_life_finds_is_held_against_what_was_written() -> None:
    journal, book = await with_a_job()
    journal.record_results(JOB, right(1, 2))
    journal.doubt("w")
    book.check_kept(JOB, journal.outcomes(JOB), journal.doubtful(JOB))
    assert not book.recording.broken
    book.check_kept(JOB, {1: True, 2: False}, {1: "w"})
    assert [one.checker for one in book.recording.broken] == ["accepted_is_kept"] * 3
    journal.close()


# Whole runs.


def test_killed_coordinators_go_on_and_nothing_that_was_accepted_runs_again() -> None:
    result = run(SCENARIO, 1)
    assert not result.violations
    (coordinator,) = [row for row in result.tables["peers"] if row["kind"] == "coordinator"]
    assert result.figures["items_done"] == 60 and int(str(coordinator["crashes"])) >= 2
    assert max(int(str(row["run"])) for row in result.tables["chunks"]) >= 2
    assert result.figures["overhead"] < 2.0


def test_killed_workers_come_back_and_work_on() -> None:
    scenario = Scenario(
        name="w",
        workers=Workers(count=4),
        churn=Churn(),
        crashes=Crashes(worker_mean_s=10.0, worker_down_s=2.0),
        workload=Workload(items=50, verify="none", local=0),
        limits=Limits(duration_s=200.0),
    )
    result = run(scenario, 1)
    assert not result.violations and result.figures["items_done"] == 50
    assert result.figures["crashes"] > 4 and result.figures["sessions"] > result.figures["crashes"]


def test_a_coordinator_that_does_all_again_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    def everything(part: object, items: int, *_: object) -> Sequence[int]:
        return range(items)

    monkeypatch.setattr(job_retry, "_wanted", everything)
    assert "nothing_runs_again" in checkers_of(run(SCENARIO, 1))


def test_a_coordinator_that_does_not_go_on_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Coordinator, "resume_unfinished", lambda self: 0)
    assert "jobs_finish" in checkers_of(run(SCENARIO, 1))


def test_a_result_that_counts_before_it_is_written_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    def lose(self: TracedJournal, job_id: JobId, lines: Sequence[ResultLine]) -> None:
        self.book.on_results(job_id, lines)

    monkeypatch.setattr(TracedJournal, "record_results", lose)
    assert "accepted_is_kept" in checkers_of(run(SCENARIO, 1))
