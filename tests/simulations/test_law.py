"""The exact figures of plans under the design law, against cases that can be worked out by hand and against drawing."""

import math
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.planner import AUDIT_MIN, Target, dues_for
from simulations.experiments.law import Plan, best_possible, played, wrong_share
from simulations.experiments.worst_case import LIARS, Size, search
from simulations.formulas import design_law_error

TARGET = Target(max_error=LIARS * (1 - AUDIT_MIN) / 20.0, assume_liars=LIARS)


def test_who_lies_once_all_checks_are_rare_lies_forty_nine_times() -> None:
    """Honest for c / q_min results, then a lie each time: 49 get through on average before one is checked."""
    dues = dues_for(TARGET)
    lies = (1 - AUDIT_MIN) / AUDIT_MIN
    expected = lies / (dues / AUDIT_MIN + lies + 1)
    assert wrong_share(Plan(sleep=1 / AUDIT_MIN), TARGET) == pytest.approx(expected, rel=0.01)


def test_who_lies_from_the_first_result_gets_nothing_through() -> None:
    assert wrong_share(Plan(), TARGET) == 0.0


def test_one_lie_for_each_identity_is_worth_a_quarter() -> None:
    """Best at twice the dues, where every other lie is checked: 1 / (4 c)."""
    share = wrong_share(Plan(sleep=2.0, lies=1), TARGET)
    assert share == pytest.approx(1 / (4 * dues_for(TARGET)), rel=0.05)


@settings(max_examples=25, deadline=None)
@given(
    st.floats(0, 60), st.floats(0.001, 1), st.floats(-3, 3), st.one_of(st.just(math.inf), st.floats(0.5, 80)),
    st.floats(0, 10), st.integers(0, 3),
)  # fmt: skip
def test_no_plan_beats_the_optimum_nor_the_bound(
    sleep: float, rate: float, decay: float, life: float, burst: float, lies: int
) -> None:
    share = wrong_share(Plan(sleep, rate, decay, life, burst, lies), TARGET)
    assert share <= best_possible(TARGET) * (1 + 1e-6) <= design_law_error(1.0, dues_for(TARGET), AUDIT_MIN)


@pytest.mark.parametrize(
    "plan", [Plan(sleep=3.0, rate=0.3), Plan(sleep=2.0, lies=2), Plan(rate=0.1, life=6.0, burst=1.0)]
)
def test_drawing_result_by_result_gives_the_exact_share(plan: Plan) -> None:
    share, identities = played(plan, TARGET, 200_000, Random(3))
    assert share == pytest.approx(wrong_share(plan, TARGET), rel=5 / math.sqrt(identities))


def test_a_short_search_comes_near_the_optimum() -> None:
    found = search(TARGET, Size(60, 15, 0), Random(5))
    assert 0.9 * best_possible(TARGET) < found.share
