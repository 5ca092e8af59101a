"""Every shipped scenario, run with the shipped code: twice the same, and nothing that must hold is violated."""

import pytest

from simulations.run import run
from simulations.scenarios import names, shipped

QUICK = ("calm", "hostile_small", "stragglers")
OF_SCALE = ("ten_thousand", "thousand")
"""Too large to be run twice here."""


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
def test_many_seeds_of_the_small_hostile_scenario_hold() -> None:
    scenario = shipped("hostile_small")
    violations = {seed: run(scenario, seed).violations for seed in range(1000, 1020)}
    assert not {seed: found for seed, found in violations.items() if found}
