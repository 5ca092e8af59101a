"""Every shipped scenario, run with the shipped code: twice the same, and nothing that must hold is violated."""

import pytest

from simulations.run import run
from simulations.scenarios import names, shipped

QUICK = ("calm", "hostile_small", "stragglers")
OF_SCALE = ("ten_thousand", "thousand")
"""Too large to be run twice here; the larger one is a benchmark."""


def check(name: str, seed: int) -> None:
    first = run(shipped(name), seed)
    assert not first.violations
    assert first.figures["items_done"] == first.figures["items"] > 0 == first.figures["honest_caught"]
    assert run(shipped(name), seed).trace_hash == first.trace_hash


@pytest.mark.parametrize("name", QUICK)
def test_a_quick_scenario_holds_and_repeats(name: str) -> None:
    check(name, 7)


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted({*names()} - {*QUICK, *OF_SCALE}))
def test_a_scenario_holds_and_repeats(name: str) -> None:
    check(name, 7)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "first"),
    [*(("hostile_small", first) for first in range(1000, 1020, 5)), ("crashes", 1000), ("crashes", 1005)],
)
def test_many_seeds_of_a_small_hostile_scenario_hold(name: str, first: int) -> None:
    scenario = shipped(name)
    violations = {seed: run(scenario, seed).violations for seed in range(first, first + 5)}
    assert not {seed: found for seed, found in violations.items() if found}


@pytest.mark.slow
@pytest.mark.first
def test_a_thousand_peers_under_churn_a_tenth_of_them_liars() -> None:
    result = run(shipped("thousand"), 7)
    print(f"\n{result.wall_s:.1f} s, {result.events} events, {result.figures['kib_per_peer']:.0f} KiB per peer")
    assert not result.violations
    assert result.figures["items_done"] == 2000 and result.figures["wrong_accepted"] == 0
    assert result.figures["liars_caught"] > 5 and result.figures["honest_caught"] == 0
