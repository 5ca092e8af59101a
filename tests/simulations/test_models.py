"""Samplers: what they give on average, that a seed repeats them, and what files they refuse."""

from itertools import islice, pairwise
from math import gamma, inf, log
from pathlib import Path
from random import Random
from statistics import fmean, median, pstdev

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.errors import LocalError
from simulations.models.churn import PRESETS, DrawnChurn, make_churn, read_trace
from simulations.models.latency import DELAY_S_MIN, MatrixLatency, PlaneLatency, make_latency
from simulations.models.latency_matrix import REGION_ROUND_TRIPS_MS, REGIONS, read_matrix
from simulations.models.speed import VALUE_MIN, draw_machines, sample
from simulations.scenario import Churn, Distribution, Latency, Workers

SAMPLES = 20_000
KINDS = st.sampled_from(["constant", "lognormal", "plane", "regions"])


@given(KINDS, st.integers(0, 2**32), st.integers(0, 10**6), st.integers(0, 10**6))
def test_a_delay_is_symmetric_positive_and_repeats(kind: str, seed: int, one: int, other: int) -> None:
    latency = Latency(kind=kind)  # type: ignore[arg-type]
    model, again = make_latency(latency, Random(seed)), make_latency(latency, Random(seed))
    assert DELAY_S_MIN <= model.one_way_s(one, other) == model.one_way_s(other, one) == again.one_way_s(one, other)


def test_lognormal_delays_have_their_median_and_sigma() -> None:
    model = make_latency(Latency(kind="lognormal", median_s=0.04, sigma=0.5), Random(1))
    delays_s = [model.one_way_s(0, other) for other in range(1, SAMPLES)]
    assert median(delays_s) == pytest.approx(0.04, rel=0.02)
    assert pstdev([log(one) for one in delays_s]) == pytest.approx(0.5, rel=0.02)


def test_delays_on_a_plane_obey_the_triangle_and_its_bounds() -> None:
    model = make_latency(Latency(kind="plane", plane_s=0.2), Random(1))
    assert isinstance(model, PlaneLatency)
    for host in range(1000):
        a, b, c = (model.one_way_s(x, y) for x, y in ((host, host + 1), (host + 1, host + 2), (host, host + 2)))
        assert 0.02 <= a <= 0.22 and c <= a + b
    xs = [model.place(host)[0] for host in range(SAMPLES)]
    assert fmean(xs) == pytest.approx(0.5, abs=0.01) and pstdev(xs) == pytest.approx(12**-0.5, rel=0.02)


def test_regions_are_a_symmetric_table_and_all_are_used() -> None:
    size = len(REGIONS)
    assert all(len(row) == size for row in REGION_ROUND_TRIPS_MS)
    assert all(REGION_ROUND_TRIPS_MS[i][j] == REGION_ROUND_TRIPS_MS[j][i] for i in range(size) for j in range(size))
    model = make_latency(Latency(kind="regions"), Random(3))
    assert isinstance(model, MatrixLatency)
    assert {model.place(host) for host in range(500)} == set(range(size))
    one, other = (next(host for host in range(500) if model.place(host) == region) for region in (0, 3))
    assert model.one_way_s(one, other) == pytest.approx(0.035)


def test_a_square_matrix_of_round_trips_is_halved_and_filled(tmp_path: Path) -> None:
    path = tmp_path / "matrix"
    path.write_text("0 20000 40000\n20000 0 -1\n44000 -1 0\n")
    matrix = read_matrix(path, 1e-6)
    assert matrix.one_way_s(0, 1) == pytest.approx(0.01)
    assert matrix.one_way_s(0, 2) == matrix.one_way_s(2, 0) == pytest.approx(0.021)
    assert matrix.one_way_s(1, 2) == pytest.approx(0.0155)


def test_a_p2psim_topology_has_one_way_delays(tmp_path: Path) -> None:
    path = tmp_path / "mking"
    path.write_text("topology E2EGraph 3\nfailure_model NullFailureModel\nnode 1\nnode 2\nnode 7\n\n1,2 30\n2,7 50\n")
    matrix = read_matrix(path, 1e-3)
    assert matrix.size == 3
    assert matrix.one_way_s(0, 1) == matrix.one_way_s(1, 0) == pytest.approx(0.03)
    assert matrix.one_way_s(0, 2) == pytest.approx(0.04), "the median stands for what is missing"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "0 rows"),
        ("1 2\n3", "line 2: 1 numbers, but the matrix has 2 rows"),
        ("1 a\n2 3", "line 1: 'a' is not a number"),
        ("topology E2EGraph 1\nnode 1\n1,9 3", "line 3: '1,9' are not two nodes"),
    ],
)
def test_a_matrix_that_does_not_fit_is_named(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "matrix"
    path.write_text(text)
    with pytest.raises(LocalError, match=words):
        make_latency(Latency(kind="matrix", matrix_file=str(path)), Random(1))


@pytest.mark.parametrize("preset", sorted(PRESETS))
def test_weibull_sessions_have_the_published_mean_and_median(preset: str) -> None:
    shape, scale_s = PRESETS[preset]
    model, random = DrawnChurn(Churn(kind="weibull", preset=preset)), Random(11)  # type: ignore[arg-type]
    sessions_s = [model.session_s(random) for _ in range(10 * SAMPLES)]
    assert median(sessions_s) == pytest.approx(scale_s * log(2) ** (1 / shape), rel=0.03)
    assert fmean(sessions_s) == pytest.approx(scale_s * gamma(1 + 1 / shape), rel=0.05)


def test_exponential_sessions_and_absences_have_their_means_and_crashes_their_share() -> None:
    churn, random = make_churn(Churn(kind="exponential", mean_s=3600, absence_s=600, crash=0.25)), Random(5)
    stays = list(islice(churn.sessions(0, random), SAMPLES))
    absences_s = [after.start_s - before.end_s for before, after in pairwise(stays)]
    assert stays[0].start_s == 0.0
    assert fmean(one.end_s - one.start_s for one in stays) == pytest.approx(3600, rel=0.03)
    assert fmean(absences_s) == pytest.approx(600, rel=0.03)
    assert fmean(one.crashes for one in stays) == pytest.approx(0.25, abs=0.01)


def test_who_does_not_return_has_one_session_and_without_churn_it_never_ends() -> None:
    [only] = make_churn(Churn(kind="exponential", returns=False)).sessions(3, Random(1))
    assert 0.0 == only.start_s < only.end_s < inf
    [always] = make_churn(Churn()).sessions(3, Random(1))
    assert always.end_s == inf and not always.crashes


def test_a_trace_is_played_by_the_workers_in_turn(tmp_path: Path) -> None:
    path = tmp_path / "trace"
    path.write_text("# peer start end\na,10,20\nb 0 5\n\na 30 40.5\n")
    assert read_trace(path) == [[(10.0, 20.0), (30.0, 40.5)], [(0.0, 5.0)]]
    model = make_churn(Churn(kind="trace", trace_file=str(path), crash=1.0))
    assert [(one.start_s, one.end_s, one.crashes) for one in model.sessions(2, Random(1))] == [
        (10.0, 20.0, True),
        (30.0, 40.5, True),
    ]


@pytest.mark.parametrize(
    ("text", "words"),
    [("", "has no line"), ("a 1", "line 1: 'a 1' is not"), ("a 5 3", "from 5 to 3"), ("a 1 9\na 3 12", "peer a comes")],
)
def test_a_trace_that_does_not_fit_is_named(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "trace"
    path.write_text(text)
    with pytest.raises(LocalError, match=words):
        make_churn(Churn(kind="trace", trace_file=str(path)))


@pytest.mark.parametrize(
    ("distribution", "middle"),
    [
        (Distribution(kind="constant", a=3.0), 3.0),
        (Distribution(kind="uniform", a=2.0, b=6.0), 4.0),
        (Distribution(kind="lognormal", a=2.0, b=0.8), 2.0),
        (Distribution(kind="pareto", a=1.0, b=2.0), 2**0.5),
    ],
)
def test_a_distribution_has_its_median(distribution: Distribution, middle: float) -> None:
    random = Random(2)
    assert median(sample(distribution, random) for _ in range(SAMPLES)) == pytest.approx(middle, rel=0.02)


@given(st.sampled_from(["constant", "lognormal"]), st.floats(0, 1e9), st.floats(0, 1e9), st.integers(0, 2**32))
def test_samples_are_positive_and_finite(kind: str, a: float, b: float, seed: int) -> None:
    assert VALUE_MIN <= sample(Distribution(kind=kind, a=a, b=b), Random(seed)) < inf  # type: ignore[arg-type]


@given(st.integers(0, 200), st.floats(0, 1), st.floats(0, 1), st.integers(0, 2**32))
def test_shares_of_the_population_are_exact_and_apart(count: int, liars: float, no_shows: float, seed: int) -> None:
    machines = draw_machines(Workers(count=count, liars=liars, no_shows=no_shows), Random(seed))
    assert sum(one.liar for one in machines) == round(liars * count)
    assert sum(one.no_show for one in machines) == min(round(no_shows * count), count - round(liars * count))
    assert not any(one.liar and one.no_show for one in machines)
    assert machines == draw_machines(Workers(count=count, liars=liars, no_shows=no_shows), Random(seed))


def test_stragglers_are_slower_by_their_factor() -> None:
    machines = draw_machines(Workers(count=40, stragglers=0.25, straggler_factor=8.0), Random(1))
    assert sorted(one.speed for one in machines) == [0.125] * 10 + [1.0] * 30
    assert all(one.straggler == (one.speed < 1) and one.claimed_speed == 1.0 for one in machines)
