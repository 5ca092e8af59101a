"""Checkers: each finds what it is for, and says nothing about a run in which all is well."""

import re
from collections.abc import Callable
from copy import deepcopy

import pytest
from msgspec.structs import replace

from peer.views import JobState, JobView, WorkerView
from simulations.checkers import CHECKERS, VIOLATIONS_PER_CHECKER_MAX, check
from simulations.recording import JobRecord, ReceiptRecord, Recording
from simulations.result import Violation
from simulations.scenario import Limits, Scenario, Workload

SCENARIO = Scenario(name="s", limits=Limits(wrong_share_max=0.15))


def view(state: JobState = JobState.DONE, message: str = "", **chunks: int) -> JobView:
    workers = [WorkerView(peer="me", state="working", local=True), WorkerView(peer="w", state="working")]
    return JobView(id="j", name="j", state=state, message=message, workers=workers, chunks=chunks or {"accepted": 5})


def good() -> Recording:
    job = JobRecord(
        job="j", coordinator=0, items=10, submitted_at_s=30.0, ended_at_s=60.0, view=view(split=1, failed=1)
    )
    job.right = dict.fromkeys(range(9), True)
    job.failed = {9}
    job.given_by = {**dict.fromkeys(range(5), "w"), **dict.fromkeys(range(5, 9), "me")}
    recording = Recording(jobs=[job], given=[ReceiptRecord("j", "w", 5.0)], healed_at_s=100.0, ended_at_s=130.0)
    recording.see("contacts", 20, 20)
    recording.handed_out[("j", 3, 7)] = recording.executed[("j", 3, 7)] = 1
    return recording


def test_a_good_run_has_no_violation() -> None:
    assert check(good(), SCENARIO) == ()


Change = Callable[[Recording], object]


@pytest.mark.parametrize(
    ("checker", "change", "words"),
    [
        ("every_chunk_ends", lambda run: run.jobs[0].right.pop(3), "1 items have no outcome, the first of them 3"),
        ("every_chunk_ends", lambda run: run.jobs[0].right.update({9: True}), "item 9 has"),
        ("every_chunk_ends", lambda run: setattr(run.jobs[0], "view", view(accepted=3, leased=2)), "are 2 leased"),
        ("few_wrong_results", lambda run: run.jobs[0].right.update({2: False}), "2 of 10 .* item 2, given by w"),
        ("accepted_is_paid", lambda run: run.given.clear(), "5 results of w were accepted and not paid"),
        ("every_liar_is_named", lambda run: run.caught_in.add(("j", "w")), "w was caught, and the report does not"),
        ("tables_are_bounded", lambda run: run.see("contacts", 21, 20), "contacts came to 21, over the limit of 20"),
        ("no_task_is_left", lambda run: setattr(run, "tasks_after", 3), "3 tasks run although"),
        ("jobs_finish", lambda run: run.jobs.clear(), "0 of 1 jobs were submitted"),
        ("jobs_finish", lambda run: setattr(run.jobs[0], "ended_at_s", None), "30 s after the healing"),
        ("jobs_finish", lambda run: setattr(run.jobs[0], "view", view(JobState.FAILED, "why")), "is failed: why"),
        (
            "jobs_finish",
            lambda run: setattr(run.jobs[0], "view", replace(view(), doubtful=2)),
            "2 results are still in",
        ),
        (
            "nothing_runs_again",
            lambda run: run.executed.update({("j", 3, 7): 1}),
            "peer 3 has executed item 7 2 times, and was given it 1 times",
        ),
        ("no_error_logged", lambda run: run.broken.append(Violation("no_error_logged", 3.0, "boom")), "boom"),
    ],
)
def test_each_checker_finds_what_it_is_for(checker: str, change: Change, words: str) -> None:
    bad = deepcopy(good())
    change(bad)
    [violation] = check(bad, SCENARIO)
    assert violation.checker == checker
    assert re.search(words, violation.detail)


def test_who_has_no_machine_of_its_own_may_find_no_worker_while_there_are_faults() -> None:
    run = good()
    run.jobs[0].view = view(JobState.FAILED, "no worker took the job", pending=5)
    run.healed_at_s = None
    assert [one.checker for one in check(run, SCENARIO)] == ["jobs_finish"]
    assert check(run, Scenario(name="s", workload=Workload(local=0), limits=SCENARIO.limits)) == ()


def test_what_the_coordinator_did_again_itself_is_not_paid() -> None:
    run = good()
    run.jobs[0].given_by[0] = "the coordinator, which has no slots"
    assert check(run, SCENARIO) == ()


def test_a_banned_liar_is_owed_nothing() -> None:
    run = good()
    run.given.clear()
    run.banned.add((0, "w"))
    assert check(run, SCENARIO) == ()


def test_what_a_coordinator_had_accepted_just_before_it_died_may_go_unpaid() -> None:
    run = good()
    run.given.clear()
    run.jobs[0].unpaid = {0, 1, 2, 3}
    assert [one.checker for one in check(run, SCENARIO)] == ["accepted_is_paid"], "item 4 was written down as owed"
    run.jobs[0].unpaid.add(4)
    assert check(run, SCENARIO) == ()


def test_violations_are_bounded_and_the_earliest_come_first() -> None:
    run = good()
    run.broken = [Violation("x", float(9999 - number), "x") for number in range(1000)]
    run.tasks_after = 1
    found = check(run, SCENARIO)
    assert len(found) == VIOLATIONS_PER_CHECKER_MAX + 1
    assert [one.at_s for one in found] == sorted(one.at_s for one in found)


def test_every_checker_runs_under_its_name() -> None:
    assert all(name == checker.__name__ and not list(checker(good(), SCENARIO)) for name, checker in CHECKERS.items())
