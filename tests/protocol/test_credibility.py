"""Group credibility (F4, F5): against the formulas as published, and in the hands of the default policy."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.adaptive import Adaptive
from protocol.chunk import Vote
from protocol.credibility import group_doubts, most_credible, worker_doubt
from protocol.ids import PeerId
from protocol.planner import VOTES_MAX, Target
from simulations import formulas

RIGHT, WRONG = b"right", b"wrong"
DOUBTS = st.floats(1e-6, 0.49)


def votes(right: int, wrong: int, *, checks: float = 0.0, liars_checks: float = 0.0) -> list[Vote]:
    honest = [Vote(PeerId(f"r{n}"), RIGHT, 1.0, checks=checks) for n in range(right)]
    return honest + [Vote(PeerId(f"w{n}"), WRONG, 1.0, checks=liars_checks) for n in range(wrong)]


@given(st.lists(st.lists(DOUBTS, min_size=1, max_size=4), min_size=1, max_size=4))
def test_group_doubts_are_those_of_the_formula(groups: list[list[float]]) -> None:
    credibilities = [[1 - doubt for doubt in group] for group in groups]
    expected = [1 - formulas.group_credibility(credibilities, index) for index in range(len(groups))]
    assert group_doubts(groups) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("checks", [1, 2, 10, 1000])
def test_the_doubt_about_a_worker_falls_as_the_formula_says_but_never_above_the_crowds(checks: int) -> None:
    assert worker_doubt(0.2, checks) == pytest.approx(min(0.2, 1 - formulas.credibility(0.2, checks)))
    assert worker_doubt(0.2, 0) == 0.2


@given(st.integers(0, 6), st.integers(1, 7))
def test_a_larger_group_of_equal_workers_is_more_credible_and_more_so_with_each_vote(wrong: int, more: int) -> None:
    key, doubt = most_credible(votes(wrong + more, wrong), 0.2)
    assert key == RIGHT and doubt < 0.5
    assert most_credible(votes(wrong + more + 1, wrong), 0.2)[1] < doubt


def test_one_that_has_passed_many_checks_outweighs_two_strangers() -> None:
    key, doubt = most_credible(votes(1, 2, checks=1000.0), 0.2)
    assert key == RIGHT and doubt < 0.01


def test_the_policy_takes_one_more_vote_until_the_target_holds() -> None:
    policy = Adaptive(Target(max_error=0.01))
    assert policy.decide(votes(2, 1)) is None
    assert policy.decide(votes(5, 1)) == RIGHT
    assert policy.decide(votes(2, 1, checks=100.0)) == RIGHT
    strict = Adaptive(Target(max_error=1e-9))
    assert strict.decide(votes(VOTES_MAX - 1, 0) + votes(0, 1)) == RIGHT, "but not for ever: then the majority does"
    assert strict.decide(votes(4, 4)) is None
