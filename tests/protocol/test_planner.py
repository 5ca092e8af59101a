"""The figures of the plan: the design law, the published bounds, and what carries a target."""

import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.plan_words import plan_line, shortfall_line
from protocol.planner import (
    AUDIT_MIN,
    Checked,
    Singles,
    Target,
    check_due,
    checks_due,
    choose_votes,
    dues_by_votes,
    dues_for,
    error_bound,
    forecast,
    hidden_rate,
    liars_among,
)
from simulations.formulas import design_law_error, design_law_overhead

shares = st.floats(0.01, 0.49)


@pytest.mark.parametrize(
    ("liars", "error", "dues"), [(0.1, 1e-4, 980), (0.1, 1e-6, 9.8e4), (0.2, 1e-6, 2.0e5), (0.3, 1e-4, 2940)]
)
def test_the_dues_are_those_of_the_published_table(liars: float, error: float, dues: float) -> None:
    assert dues_for(Target(max_error=error, assume_liars=liars)) == pytest.approx(dues, rel=0.03)
    assert design_law_error(liars, dues_for(Target(max_error=error, assume_liars=liars)), AUDIT_MIN) == pytest.approx(
        error
    )


@given(shares, st.floats(1e-4, 0.1), st.floats(1.1, 200.0))
def test_a_long_life_costs_what_the_law_says(liars: float, error: float, lives: float) -> None:
    target = Target(max_error=error, assume_liars=liars)
    life = dues_by_votes(target) * lives
    law = design_law_overhead(dues_by_votes(target), AUDIT_MIN, life)
    assert checks_due(target, 0, life) / life == pytest.approx(law)


@given(st.floats(0, 1e6), st.floats(0, 1e4), st.floats(0, 1e4))
def test_checks_that_are_due_add_up(clean: float, first: float, then: float) -> None:
    both = checks_due(Target(), clean, first + then)
    parts = checks_due(Target(), clean, first) + checks_due(Target(), clean + first, then)
    assert both == pytest.approx(parts, abs=1e-6)
    assert AUDIT_MIN * first <= checks_due(Target(), clean, first) + 1e-9


def test_nobody_is_ever_left_unchecked() -> None:
    assert check_due(Target(), 0) == 1.0
    assert check_due(Target(), 1e9) == AUDIT_MIN


@given(st.floats(0.001, 1.0), st.integers(1, 500))
def test_no_rate_of_lying_hides_more_than_the_bound(rate: float, checks: int) -> None:
    assert rate * (1 - rate) ** checks <= hidden_rate(checks) + 1e-12


def test_liars_hold_the_least_checked_results() -> None:
    """Names are free: among ninety that were checked well and ten that were not, the liars are the ten."""
    good, new = Singles(90, 1e9, lawful=False), Singles(10, 0, lawful=False)
    target = Target(assume_liars=0.1)
    assert error_bound(target, Checked(100, 0, 0, 2, 10, (good, new))) == pytest.approx(0.1, rel=1e-6)
    assert error_bound(target, Checked(100, 0, 0, 2, 10, (good,))) < 1e-6


@given(st.integers(0, 1000), st.integers(0, 1000), st.integers(2, 6), st.integers(1, 100))
def test_audits_never_make_a_bound_worse(voted: int, audits: int, votes: int, workers: int) -> None:
    def bound(found: int) -> float:
        return error_bound(Target(), Checked(1000, voted, found, votes, workers, ()))

    assert bound(audits + 1) <= bound(audits) <= voted * 0.2**votes / 1000 + 1e-12


def test_more_liars_than_expected_may_be_among_few_peers() -> None:
    assert liars_among(4, 0.2) == 3
    assert liars_among(1, 0.2) == 1


def test_strangers_cannot_carry_a_strict_target_and_the_ways_out_can() -> None:
    chunks, clean = 60, [0.0] * 4
    plan = forecast(Target(), choose_votes(Target(), chunks, clean), chunks, clean)
    assert not plan.holds(Target()) and plan.overhead <= 2.0
    words = shortfall_line(Target(), plan, chunks, clean, 0.0)
    assert "60 chunks on 4 peers" in words and "--max-error 0.04" in words
    assert "--max-overhead" not in words  # four peers cannot give five votes
    looser = Target(max_error=0.04)
    assert forecast(looser, choose_votes(looser, chunks, clean), chunks, clean).holds(looser)


def test_more_executions_carry_it_where_there_are_peers_for_them() -> None:
    chunks, clean = 60, [0.0] * 8
    plan = forecast(Target(), choose_votes(Target(), chunks, clean), chunks, clean)
    way_out = re.search(r"--max-overhead (\d)", shortfall_line(Target(), plan, chunks, clean, 0.0))
    assert way_out
    more = Target(max_overhead=int(way_out[1]))
    assert forecast(more, choose_votes(more, chunks, clean), chunks, clean).holds(more)


def test_peers_of_long_standing_carry_it_at_the_least_cost() -> None:
    clean = [dues_by_votes(Target()) / AUDIT_MIN] * 8
    plan = forecast(Target(), 2, 60, clean)
    assert plan.holds(Target()) and plan.overhead == pytest.approx(1 + AUDIT_MIN)
    assert shortfall_line(Target(), plan, 60, clean, 0.0) == ""
    assert "audits of 8 known peers" in plan_line(Target(), plan) and "1.02 executions" in plan_line(Target(), plan)


@given(
    st.floats(1e-6, 0.5),
    st.floats(1, 8),
    shares,
    st.integers(1, 10**6),
    st.lists(st.floats(0, 1e6), min_size=1, max_size=50),
)
def test_a_plan_keeps_within_the_overhead_cap(
    error: float, cap: float, liars: float, chunks: int, clean: list[float]
) -> None:
    target = Target(error, cap, liars, 0.25)
    plan = forecast(target, choose_votes(target, chunks, clean, 1e9), chunks, clean, 1e9)
    assert plan.overhead <= cap + 1e-9 and 0 <= plan.bound <= 1
    assert math.isfinite(plan.checks)
    assert plan_line(target, plan) and isinstance(shortfall_line(target, plan, chunks, clean, 0.0), str)


@pytest.mark.parametrize(
    ("target", "names"),
    [
        (Target(max_error=0.0), "max-error"),
        (Target(max_error=float("nan")), "max-error"),
        (Target(max_overhead=0.9), "max-overhead"),
        (Target(max_overhead=9.0), "max-overhead"),
        (Target(assume_liars=0.5), "assume-liars"),
        (Target(audit_share=1.1), "audit-share"),
    ],
)
def test_targets_that_cannot_be_meant_are_named(target: Target, names: str) -> None:
    assert names in (target.problem() or "")
