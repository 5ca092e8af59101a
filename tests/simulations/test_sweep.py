"""Sweeps: every combination once, in the order asked for, and one bad run spoils no other."""

import math

import joblib
import pytest
from joblib._parallel_backends import ThreadingBackend
from made_results import failing_run, made_run

from protocol.errors import LocalError
from simulations.scenario import Scenario
from simulations.sweep import (
    Setting,
    cases,
    figure_names,
    parse_jobs,
    parse_seeds,
    parse_setting,
    setting_names,
    summarize,
    sweep,
    with_values,
)
from simulations.sweep_report import sweep_plots, write_sweep

BASE = Scenario(name="base")
LIARS = Setting("workers.liars", ("0.1", "0.2"))
KINDS = Setting("churn.kind", ("none", "weibull"))


def test_settings_and_seeds_are_read():
    assert parse_setting("workers.liars=0.1, 0.2") == LIARS
    assert parse_setting("workload.verify=audit:0.1").values == ("audit:0.1",)
    assert parse_seeds("1-3,7,2") == (1, 2, 3, 7)
    assert parse_jobs("3") == 3
    assert parse_jobs("auto") >= 1


@pytest.mark.parametrize("text", ["workers.liars", "=1", "a=", "a=1,,2", "a=1,1"])
def test_wrong_settings_are_refused(text):
    with pytest.raises(LocalError, match="--set"):
        parse_setting(text)


@pytest.mark.parametrize("text", ["", "x", "3-1", "1-", "-4", "1-1000000000000", "1;2"])
def test_wrong_seeds_are_refused(text):
    with pytest.raises(LocalError, match="--seeds takes seeds and ranges"):
        parse_seeds(text)


@pytest.mark.parametrize("text", ["0", "-1", "many", "", "1.5"])
def test_wrong_jobs_are_refused(text):
    with pytest.raises(LocalError, match="--jobs takes"):
        parse_jobs(text)


def test_every_combination_comes_with_every_seed():
    found = cases(BASE, [LIARS, KINDS], (1, 2))
    assert [(one.settings, one.seed) for one in found[:3]] == [
        ((("workers.liars", "0.1"), ("churn.kind", "none")), 1),
        ((("workers.liars", "0.1"), ("churn.kind", "none")), 2),
        ((("workers.liars", "0.1"), ("churn.kind", "weibull")), 1),
    ]
    assert len(found) == 8
    assert (found[-1].scenario.workers.liars, found[-1].scenario.churn.kind) == (0.2, "weibull")


def test_what_does_not_fit_is_refused_before_anything_runs():
    with pytest.raises(LocalError, match="liers"):
        cases(BASE, [Setting("workers.liers", ("1",))], (1,))
    with pytest.raises(LocalError, match="liars"):
        cases(BASE, [Setting("workers.liars", ("0.1", "2"))], (1,))
    with pytest.raises(LocalError, match="given twice"):
        cases(BASE, [LIARS, LIARS], (1,))
    with pytest.raises(LocalError, match="200,000 runs"):
        cases(BASE, [LIARS], range(100_000))
    with pytest.raises(LocalError, match="several values are for a sweep"):
        with_values(BASE, [LIARS])


def test_rows_come_in_the_order_of_the_cases_from_several_processes():
    heard: list[int] = []
    rows = sweep(cases(BASE, [LIARS], (5, 1, 3)), made_run, 2, lambda row: heard.append(int(row["seed"])))
    assert [(row["set.workers.liars"], row["seed"]) for row in rows] == [
        (share, seed) for share in (0.1, 0.2) for seed in (5, 1, 3)
    ]
    assert sorted(heard) == [1, 1, 3, 3, 5, 5]
    assert rows[0]["makespan_s"] == pytest.approx(115)
    assert (rows[0]["trace_hash"], rows[0]["figure.seed"]) == (f"{5:064x}", 1.0)
    assert setting_names(rows) == ["set.workers.liars"]
    assert figure_names(rows) == ["makespan_s", "figure.seed"]


class AllAtOnce(ThreadingBackend):
    """Stands for a cluster's backend that gives no result before all are there."""

    supports_return_generator = False


@pytest.mark.parametrize("backend", ["threading", "all at once"])
def test_other_backends_of_joblib_serve_as_well(backend):
    joblib.register_parallel_backend("all at once", AllAtOnce)
    heard: list[str] = []
    with joblib.parallel_config(backend, n_jobs=2):
        rows = sweep(cases(BASE, [KINDS], (1, 2)), made_run, None, lambda row: heard.append(str(row["settings"])))
    assert [row["seed"] for row in rows] == [1, 2, 1, 2] and len(heard) == 4


def test_a_run_that_fails_is_a_row_and_the_others_go_on():
    rows = sweep(cases(BASE, [], (1, 2, 3)), failing_run, 1)
    assert [row["error"] for row in rows] == [None, "ZeroDivisionError: inside", None]
    assert [row["violations"] for row in rows] == [0, 0, 1]
    assert rows[2]["first_violation"] == "liveness at 9 s: stuck"
    (only,) = summarize(rows)
    assert (only["runs"], only["failed"], only["violating"]) == (3, 1, 1)
    assert only["makespan_s mean"] == pytest.approx(62.0)


def test_means_and_deviations_are_over_the_seeds_of_a_combination():
    low, high = summarize(sweep(cases(BASE, [LIARS], (1, 2, 3)), made_run, 1))
    assert (low["set.workers.liars"], low["makespan_s mean"], low["makespan_s sd"]) == (0.1, pytest.approx(112), 1.0)
    assert high["makespan_s mean"] == pytest.approx(122)
    (alone,) = summarize(sweep(cases(BASE, [], (1,)), made_run, 1))
    assert alone["makespan_s sd"] is None and not math.isnan(alone["makespan_s mean"])


def test_the_folder_of_a_sweep(tmp_path):
    rows = sweep(cases(BASE, [KINDS, LIARS], (1, 2)), made_run, 1)
    report = write_sweep(BASE, rows, {"trio": "0.35.0"}, tmp_path / "s")
    assert {path.name for path in report.parent.iterdir()} == {
        "scenario.toml",
        "runs.csv",
        "runs.parquet",
        "summary.csv",
        "summary.parquet",
        "plots",
        "report.html",
    }
    assert [path.name for path in (report.parent / "plots").iterdir()] == ["makespan_s.png"]
    text = report.read_text()
    assert (
        "8 runs, 4 combinations" in text
        and "All that must hold held" in text
        and "0.35.0" in text
        and "cut short" not in text
    )


def test_a_sweep_with_bad_runs_says_so(tmp_path):
    rows = sweep(cases(BASE, [], (1, 2, 3)), failing_run, 1)
    text = write_sweep(BASE, rows, {}, tmp_path).read_text()
    assert "ZeroDivisionError: inside" in text and "liveness at 9 s: stuck" in text and "All that must" not in text


def test_without_a_setting_of_numbers_there_is_nothing_to_draw():
    rows = sweep(cases(BASE, [KINDS], (1, 2)), made_run, 1)
    assert sweep_plots(rows, summarize(rows)) == {}
