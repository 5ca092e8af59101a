"""The formulas against the published tables, against one another, and against counting."""

import math
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulations import formulas

shares = st.floats(0.0, 1.0)


def test_m_first_needs_what_watanabe_and_fukushi_publish() -> None:
    assert [formulas.least_m(error, 0.35, formulas.m_first_error) for error in (0.05, 0.01, 0.001)] == [15, 29, 51]


@given(st.integers(1, 12), shares)
def test_the_first_to_m_is_the_majority_of_2m_minus_1(m: int, lying: float) -> None:
    assert formulas.m_first_error(m, lying) == pytest.approx(formulas.m_majority_error(m, lying), abs=1e-12)


@given(shares)
def test_m_first_by_counting_every_sequence(lying: float) -> None:
    error = executions = 0.0
    for votes in product((True, False), repeat=3):  # True: a lie; two equal ones decide.
        probability = math.prod(lying if vote else 1 - lying for vote in votes)
        used = 2 if votes[0] == votes[1] else 3
        error += probability * (sum(votes[:used]) >= 2)
        executions += probability * used
    assert formulas.m_first_error(2, lying) == pytest.approx(error)
    assert formulas.m_first_executions(2, lying) == pytest.approx(executions)


def test_credibility_needs_the_published_checks() -> None:
    found = [formulas.checks_for(1e-6, liars, agreeing) for liars in (0.1, 0.2, 0.3) for agreeing in (1, 2, 3)]
    assert found == [40_876, 41, 5, 91_970, 93, 10, 157_663, 158, 16]


@given(st.lists(st.lists(st.floats(0.01, 0.99), min_size=1, max_size=3), min_size=1, max_size=4))
def test_credibilities_of_all_groups_leave_room_for_none_being_right(groups: list[list[float]]) -> None:
    total = sum(formulas.group_credibility(groups, index) for index in range(len(groups)))
    assert 0 < total <= 1 + 1e-9


def test_one_result_is_as_credible_as_its_worker() -> None:
    assert formulas.group_credibility([[0.9]], 0) == pytest.approx(0.9)
    assert formulas.credibility(0.2, 10, blacklisting=False) == pytest.approx(0.98)
    assert formulas.credibility(0.2, 10) == pytest.approx(1 - 0.2 / (0.8 * 10 * math.e))


def test_spot_checks_wear_liars_down() -> None:
    assert formulas.spot_check_error(0.2, 1.0, 0.1, 0) == pytest.approx(0.2)
    assert formulas.spot_check_error(0.2, 1.0, 0.1, 100) < 1e-4


def test_boinc_replicates_newcomers_and_seldom_veterans() -> None:
    assert [formulas.boinc_single_probability(valid) for valid in (0, 9, 10, 100)] == [0.0, 0.0, 0.9, 0.99]


@pytest.mark.parametrize("time", [0.0, 1.0, 30.0, 200.0])
def test_exponential_sessions_have_no_memory(time: float) -> None:
    assert formulas.weibull_residual_survival(time, 1.0, 60.0) == pytest.approx(math.exp(-time / 60), abs=1e-6)


def test_residual_survival_of_the_published_churn() -> None:
    """Against the regularised incomplete gamma function Q(1/shape, (t/scale)**shape), computed with SciPy."""
    known = {(10, 0.34, 21.3): 0.95214751, (60, 0.38, 42.4): 0.83451498, (720, 0.59, 41.9): 0.01877911}
    for (time, shape, scale), expected in known.items():
        assert formulas.weibull_residual_survival(time, shape, scale) == pytest.approx(expected, abs=1e-5)
    assert formulas.weibull_mean(0.5, 5_000) == pytest.approx(10_000)


def test_a_record_lives_as_long_as_one_of_its_holders() -> None:
    assert formulas.record_survival(0.5, 1) == 0.5
    assert formulas.record_survival(0.1, 20) == pytest.approx(1 - 0.9**20)


@pytest.mark.parametrize(
    ("liars", "error", "dues", "for_a_tenth", "for_three_tenths"),
    [(0.1, 1e-4, 980, 4.8e4, 1.1e4), (0.1, 1e-6, 9.8e4, 4.8e6, 1.1e6), (0.3, 1e-4, 2_940, 1.4e5, 3.4e4)],
)
def test_the_design_law_costs_what_its_table_says(
    liars: float, error: float, dues: float, for_a_tenth: float, for_three_tenths: float
) -> None:
    assert formulas.design_law_error(liars, dues, 0.02) == pytest.approx(error, rel=0.01)
    assert formulas.design_law_overhead(dues, 0.02, for_a_tenth) == pytest.approx(0.1, rel=0.05)
    assert formulas.design_law_overhead(dues, 0.02, for_three_tenths) == pytest.approx(0.3, rel=0.05)
