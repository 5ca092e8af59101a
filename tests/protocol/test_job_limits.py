"""A job that reaches its budget or its deadline ends with what it has, and pays for it."""

from math import inf
from random import Random

import pytest
from test_job_machine import LOCAL, World

from protocol.adaptive import parse_policy
from protocol.ids import PeerId
from protocol.job_events import Ending, ItemsAdded, ItemsClosed
from protocol.job_limits import JobLimits, owed
from protocol.job_machine import JobMachine, JobRules

SIZES = (10,) * 400


def world(**limits: float) -> World:
    rules = JobRules(parse_policy("none"), limits=JobLimits(**limits))
    return World(JobMachine(rules, Random(0)))


def run(one: World, until: float = inf) -> None:
    one.tell(ItemsAdded(SIZES))
    one.tell(ItemsClosed())
    while one.ended is None and one.now < until and one.step():
        pass


def test_a_job_within_its_limits_is_done():
    one = world(budget=1e9, deadline_s=1e9)
    one.join("a", "b")
    run(one)
    assert one.ended is not None and one.ended.ending is Ending.DONE


def test_at_its_budget_it_ends_and_pays_what_was_accepted_and_no_more():
    one = world(budget=5.0)
    one.join("a", "b")
    run(one)
    assert one.ended is not None and one.ended.ending is Ending.STOPPED
    assert "the budget of 5 credits is reached; what is accepted is kept and paid" in one.ended.reason
    paid = sum(tally.price for tally in one.machine.workers.tallies.values())
    largest = max(one.settled.values(), key=lambda it: it.piece.stop - it.piece.start)
    assert 0 < paid <= owed(one.machine.workers) < 5.0 + (largest.piece.stop - largest.piece.start) * 0.1 + 0.2
    done = sum(it.piece.stop - it.piece.start for it in one.settled.values())
    assert 0 < done < len(SIZES)
    assert sorted(chunk for chunks in one.paid.values() for chunk in chunks) == sorted(one.settled)


def test_own_work_costs_nothing():
    one = world(budget=0.001)
    one.join(LOCAL, local=True)
    run(one)
    assert one.ended is not None and one.ended.ending is Ending.DONE
    assert owed(one.machine.workers) == 0


def test_at_its_deadline_it_ends_even_when_nobody_answers():
    one = world(deadline_s=15.0)
    one.now = 100.0
    one.join("a")
    one.silent.add(PeerId("a"))
    run(one)
    assert one.ended is not None and one.ended.ending is Ending.STOPPED
    assert one.ended.reason.startswith("the deadline of 15 s is reached")
    assert 115.0 <= one.now < 118.0


@pytest.mark.parametrize(("seconds", "words"), [(7200.0, "2 h"), (5400.0, "90 min"), (90.0, "90 s"), (0.5, "0.5 s")])
def test_deadlines_in_words(seconds: float, words: str):
    reached = JobLimits(deadline_s=seconds).reached(world().machine.workers, seconds)
    assert reached is not None and f"of {words} is" in reached
