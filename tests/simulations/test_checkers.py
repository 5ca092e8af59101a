"""Checkers: each finds what it is for, and says nothing about a run in which all is well."""

import re
from dataclasses import replace

import pytest

from peer.views import JobState
from simulations.checkers import CHECKERS, VIOLATIONS_PER_CHECKER_MAX, check
from simulations.record import ChunkEnd, Failure, Gauge, JobEnd, Record
from simulations.scenario import Limits, Scenario

FIRST = ChunkEnd(job="j", chunk=0, start=0, stop=6, at_s=40.0, source="w", paid=frozenset({"v", "w"}))
SECOND = ChunkEnd(job="j", chunk=1, start=6, stop=10, at_s=50.0, source=None)
JOB = JobEnd(job="j", state=JobState.DONE, items=10, ended_at_s=60.0)
GAUGE = Gauge(name="contacts", peer="w", value=20, limit=20, at_s=9.0)
GOOD = Record(
    scenario=Scenario(name="s", limits=Limits(wrong_share_max=0.1)),
    healed_at_s=100.0,
    over_at_s=130.0,
    jobs=(JOB,),
    chunks=(SECOND, FIRST),
    gauges=(GAUGE,),
)


def test_a_good_run_has_no_violation() -> None:
    assert check(GOOD) == ()


@pytest.mark.parametrize(
    ("checker", "bad", "words"),
    [
        ("every_chunk_ends", replace(GOOD, chunks=(FIRST,)), "items 6 to 9 have no result"),
        ("every_chunk_ends", replace(GOOD, chunks=(SECOND,)), "items 0 to 5 have no result"),
        ("every_chunk_ends", replace(GOOD, chunks=(replace(FIRST, stop=8), SECOND)), "items 6 to 7 have two results"),
        ("every_chunk_ends", replace(GOOD, jobs=(replace(JOB, finals=False),)), "has open chunks"),
        ("few_wrong_results", replace(GOOD, chunks=(replace(FIRST, wrong=2), SECOND)), "2 of 10 results are wrong"),
        ("few_wrong_results", replace(GOOD, chunks=(FIRST, replace(SECOND, given_up=True))), "4 of 10 results"),
        ("accepted_is_paid", replace(GOOD, chunks=(replace(FIRST, paid=frozenset("v")), SECOND)), "chunk 0 .* by w"),
        ("tables_are_bounded", replace(GOOD, gauges=(replace(GAUGE, value=21),)), "contacts of w came to 21"),
        ("no_task_is_left", replace(GOOD, tasks_left=("peer.worker",)), "peer.worker runs although"),
        ("jobs_finish", replace(GOOD, jobs=(replace(JOB, state=JobState.RUNNING),)), "still running, 30 s after"),
        ("jobs_finish", replace(GOOD, jobs=(replace(JOB, state=JobState.FAILED, message="why"),)), "is failed: why"),
        ("nothing_fails_inside", replace(GOOD, failures=(Failure(at_s=3.0, detail="boom"),)), "boom"),
    ],
)
def test_each_checker_finds_what_it_is_for(checker: str, bad: Record, words: str) -> None:
    [violation] = check(bad)
    assert violation.checker == checker
    assert re.search(words, violation.detail)


def test_wrong_results_up_to_the_target_are_no_violation() -> None:
    assert check(replace(GOOD, chunks=(replace(FIRST, wrong=1), SECOND))) == ()


def test_violations_are_bounded_and_the_earliest_come_first() -> None:
    failures = [Failure(at_s=float(9999 - number), detail="x") for number in range(1000)]
    found = check(replace(GOOD, failures=failures, tasks_left=("t",)))
    assert len(found) == VIOLATIONS_PER_CHECKER_MAX + 1
    assert [one.at_s for one in found] == sorted(one.at_s for one in found)


def test_every_checker_is_named_and_runs() -> None:
    assert all(name == checker.__name__ and not list(checker(GOOD)) for name, checker in CHECKERS.items())
