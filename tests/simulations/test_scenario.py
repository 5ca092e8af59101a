"""Scenario files: what is read, and what is said about what does not fit."""

from pathlib import Path

import pytest

from protocol.errors import LocalError
from simulations.scenario import Scenario, load, loads, with_value


def test_a_file_gives_what_it_says_and_defaults_for_the_rest(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text('name = "mine"\n[workers]\ncount = 7\nliars = 0.25\n[[partitions]]\nstart_s = 1\nend_s = 9\n')
    scenario = load(path)
    assert scenario.workers.count == 7 and scenario.workers.liars == 0.25
    assert scenario.partitions[0].end_s == 9.0
    assert scenario.workload == Scenario(name="any").workload


def test_files_that_a_scenario_names_lie_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text('name = "mine"\n[network.latency]\nkind = "matrix"\nmatrix_file = "king.txt"\n')
    assert load(path).network.latency.matrix_file == str(tmp_path / "king.txt")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('name = "x"\n[workers]\nliar = 1', r"mine: workers\.liar: no such key; did you mean workers\.liars\?"),
        ('name = "x"\nlocal = 3', r"local: no such key; did you mean workload\.local\?"),
        ('name = "x"\nzzzz = 3', r"zzzz: no such key; known here: name, .*limits"),
        ("[workers]", "name: is missing"),
        ('name = "x"\n[workers]\nliars = 2', r"workers\.liars: .*allowed: a number of at least 0 and at most 1"),
        ('name = "x"\n[workers]\ncount = "a"', r"workers\.count: .*allowed: a whole number"),
        ('name = "x"\n[network.latency]\nkind = "f"', r"network\.latency\.kind: .*allowed: constant, lognormal"),
        ('name = "x"\nworkers = 3', "workers: .*allowed: a table with count"),
        ('name = "x"\n[workers]\njoin_s = 60', r"workload\.start_s: must be at least workers\.join_s, 60"),
        ('name = "x"\n[[partitions]]\nstart_s = 1', r"partitions\[0\]\.end_s: is missing"),
        ('name = "x"\n[[partitions]]\nstart_s = 1\nend_s = 0.5', r"partitions\[0\]\.end_s: must be later"),
        (
            'name = "x"\n[[partitions]]\nstart_s = 1\nend_s = 5\n[[partitions]]\nstart_s = 4\nend_s = 6',
            r"partitions\[1\]\.start_s: must not be before",
        ),
        ('name = "x"\n[workload]\nverify = "quorum:1"', r"workload\.verify: .*quorum:N"),
        ('name = "x"\n[crashes]\ncoordinator_means = 3', r"did you mean crashes\.coordinator_mean_s\?"),
        ('name = "x"\n[crashes]\nat_write = 2', r"crashes\.at_write: .*allowed: a number of at least 0 and at most 1"),
        ('name = "x"\n[crashes]\nworker_down_s = 0', r"crashes\.worker_down_s: .*allowed: a number of more than 0"),
        (
            'name = "x"\n[workload]\ncoordinators = 0\n[crashes]\ncoordinator_mean_s = 9',
            r"crashes\.coordinator_mean_s: nobody can crash where workload\.coordinators is 0",
        ),
        (
            'name = "x"\n[workers]\ncount = 0\n[crashes]\nworker_mean_s = 9',
            r"crashes\.worker_mean_s: nobody can crash where workers\.count is 0",
        ),
        ('name = "x"\n[churn]\nkind = "trace"', r"churn\.trace_file: must name a file"),
        ('name = "x"\n[network.latency]\nkind = "matrix"', "matrix_file: must name a file"),
        ('name = "x"\n[workers.speed]\nkind = "uniform"\na = 2\nb = 1', r"workers\.speed\.b: must be at least"),
        ('name = "x"\n[workload.item_s]\nkind = "pareto"', r"workload\.item_s\.b: must be more than 0"),
        ('name = "x', "mine: not TOML"),
    ],
)
def test_what_does_not_fit_is_named_with_the_way_out(text: str, words: str) -> None:
    with pytest.raises(LocalError, match=words):
        loads(text, "mine")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(LocalError, match=r"nothing\.toml: the scenario file cannot be read"):
        load(tmp_path / "nothing.toml")


@pytest.mark.parametrize(
    ("key", "value", "found"),
    [
        ("workers.liars", "0.3", 0.3),
        ("workers.count", "5", 5),
        ("churn.kind", "weibull", "weibull"),
        ("workload.verify", "quorum:3", "quorum:3"),
        ("churn.returns", "false", False),
    ],
)
def test_one_value_is_set_from_text(key: str, value: str, found: object) -> None:
    before = Scenario(name="x")
    after = with_value(before, key, value)
    table, last = key.split(".")
    assert getattr(getattr(after, table), last) == found
    assert with_value(after, key, str(getattr(getattr(before, table), last)).lower()) == before


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("workers.liar", "1", r"workers\.liar: no such key; did you mean workers\.liars\?"),
        ("workers.liars", "many", r"workers\.liars=many: workers\.liars: .*at most 1"),
        ("limits.duration_s", "nan", "duration_s"),
        ("limits.duration_s", "inf", "duration_s"),
    ],
)
def test_a_value_that_does_not_fit_is_named(key: str, value: str, words: str) -> None:
    with pytest.raises(LocalError, match=words):
        with_value(Scenario(name="x"), key, value)
