"""`peer simulate`: what is asked for is checked before anything runs; answers, folders and exit codes."""

import dataclasses
import json
import sys
from types import ModuleType

import pytest

from cli.main import main
from cli.simulate_progress import CaseProgress, RunProgress
from protocol.errors import LocalError
from simulations.result import Result, Violation
from simulations.scenario import Scenario

TOML = 'name = "tiny"\n[workers]\ncount = 3\n'


def made_run(scenario: Scenario, seed: int, progress=lambda virtual_s, wall_s: None) -> Result:
    """A run that costs nothing; seed 2 fails, and seed 3 violates."""
    for virtual_s in range(0, 101, 5):
        progress(virtual_s, virtual_s / 4)
    if seed == 2:
        raise LocalError("inside")
    return Result(
        scenario=scenario,
        seed=seed,
        trace_hash=f"{seed}-{scenario.workers.liars}",
        events=10,
        virtual_s=100.0,
        wall_s=0.5,
        figures={"makespan_s": 10.0 * seed},
        tables={"jobs": [{"job": "j", "makespan_s": 3.5}], "chunks": [{"how": "voted"}]},
        violations=(Violation("jobs_finish", 9.0, "stuck \x1b[2J"),) if seed == 3 else (),
        versions={"trio": "0"},
    )


@pytest.fixture
def peer(tmp_path, monkeypatch, capsys):
    """`peer(*words)`: exit code, standard output, standard error of `peer simulate WORDS`."""
    module = ModuleType("simulations.run")
    module.run = made_run
    monkeypatch.setitem(sys.modules, "simulations.run", module)
    (tmp_path / "s.toml").write_text(TOML)
    monkeypatch.chdir(tmp_path)

    def peer(*words: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            main(["simulate", *words])
        return ended.value.code, *capsys.readouterr()

    return peer


def test_a_run_shows_its_figures_and_progress_in_both_times(peer):
    code, out, err = peer("run", "s.toml", "--seed", "4")
    assert code == 0
    assert err.startswith("tiny: seed 4\n")
    assert err.splitlines()[1:] == [
        "tiny: 40.0 s of virtual time in 10.0 s, 4 times as fast",
        "tiny: 80.0 s of virtual time in 20.0 s, 4 times as fast",
    ]
    assert "4-0.0" in out and "makespan_s" in out and "40" in out and "all that must hold held" in out


def test_json_has_figures_hash_and_violations(peer):
    code, out, _ = peer("run", "s.toml", "--seed", "3", "--json")
    found = json.loads(out)
    assert code == 1
    assert (found["trace_hash"], found["figures"]) == ("3-0.0", {"makespan_s": 30.0})
    assert found["violations"] == [{"checker": "jobs_finish", "at_s": 9.0, "detail": "stuck \x1b[2J"}]


def test_a_violation_ends_with_1_and_foreign_text_is_cleaned(peer):
    code, out, _ = peer("run", "s.toml", "--seed", "3")
    assert code == 1
    assert "1 violation" in out and "jobs_finish at 9.0 s: stuck" in out and "\x1b" not in out


def test_a_run_is_kept_reported_and_replayed(peer, tmp_path):
    code, _, err = peer("run", "s.toml", "--set", "workers.liars=0.5", "--out", "kept")
    assert code == 0 and "the report is kept/report.html" in err
    kept = {path.relative_to(tmp_path / "kept").as_posix() for path in (tmp_path / "kept").rglob("*") if path.is_file()}
    assert {
        "scenario.toml",
        "result.json",
        "report.html",
        "trace.txt",
        "tables/jobs.csv",
        "plots/chunks_by_way.png",
    } <= kept
    (tmp_path / "kept" / "report.html").unlink()
    assert peer("report", "kept")[0] == 0 and (tmp_path / "kept" / "report.html").exists()
    code, out, _ = peer("replay", "kept")
    assert (code, out) == (0, "the same: trace hash 1-0.5 over 10 events\n")


def test_a_replay_that_differs_ends_with_1_and_says_where(peer, monkeypatch):
    peer("run", "s.toml", "--out", "kept")

    def changed(scenario: Scenario, seed: int, progress: object) -> Result:
        return dataclasses.replace(made_run(scenario, seed), trace_hash="other", events=11)

    monkeypatch.setattr(sys.modules["simulations.run"], "run", changed)
    code, out, _ = peer("replay", "kept")
    assert code == 1 and "trace hash: 1-0.0 before, other now" in out and "events: 10 before, 11 now" in out
    code, out, _ = peer("replay", "kept", "--json")
    assert code == 1 and json.loads(out)["same"] is False


def test_a_sweep_gives_a_row_per_run_and_the_means(peer, tmp_path):
    code, out, err = peer(
        "sweep", "s.toml", "--set", "workers.liars=0.1,0.2", "--seeds", "1,4", "--jobs", "1", "--out", "sw"
    )
    assert code == 0
    assert "tiny: 4 runs, 1 at once" in err and "tiny: 4 of 4 runs in " in err
    assert "workers.liars" in out and "4 runs: all that must hold held" in out
    assert len((tmp_path / "sw" / "runs.csv").read_text().splitlines()) == 5
    code, out, _ = peer("sweep", "s.toml", "--seeds", "1,4", "--jobs", "1", "--json")
    assert [row["trace_hash"] for row in json.loads(out)["rows"]] == ["1-0.0", "4-0.0"]
    assert json.loads(out)["summary"][0]["makespan_s mean"] == 25.0


def test_a_sweep_with_bad_runs_ends_with_1_and_names_them(peer):
    code, out, err = peer("sweep", "s.toml", "--seeds", "1-3", "--jobs", "1")
    assert code == 1
    assert "tiny, seed 2: LocalError: inside" in err and "tiny, seed 3: jobs_finish at 9 s: stuck" in err
    assert "3 runs, 2 of them failed or violated something" in out


def test_an_interrupted_sweep_keeps_what_it_has(peer, monkeypatch, tmp_path):
    def interrupted(scenario: Scenario, seed: int) -> Result:
        if seed == 5:
            raise KeyboardInterrupt
        return made_run(scenario, seed)

    monkeypatch.setattr(sys.modules["simulations.run"], "run", interrupted)
    code, _, err = peer("sweep", "s.toml", "--seeds", "4-9", "--jobs", "1", "--out", "sw")
    assert code == 130 and "the report of 1 run is sw/report.html" in err
    assert len((tmp_path / "sw" / "runs.csv").read_text().splitlines()) == 2
    assert "1 of 6 runs have ended" in (tmp_path / "sw" / "report.html").read_text()


def test_the_shipped_scenarios_are_listed(peer):
    code, out, _ = peer("list")
    assert code == 0 and "calm" in out
    assert "calm" in [one["name"] for one in json.loads(peer("list", "--json")[1])]


def test_experiments_are_listed_and_run(peer, monkeypatch):
    from simulations.experiments import registry
    from simulations.experiments.outcome import Line, Outcome

    def fake(name: str, *, quick: bool) -> Outcome:
        line = Line("hops at [bold]N[/bold]", 3.0, expected=3.0 if quick else 4.0)
        return Outcome(name, "a title", (line,))

    assert set(registry.TITLES) <= set(peer("experiment")[1].split())
    assert json.loads(peer("experiment", "--json")[1]) == registry.TITLES
    assert peer("experiment", "nosuch")[0] == 2
    monkeypatch.setattr(registry, "run", fake)
    code, out, _ = peer("experiment", "v1")
    assert code == 0 and "v1: a title" in out and "hops at [bold]N[/bold]" in out
    code, out, _ = peer("experiment", "all", "--full", "--json")
    assert code == 1 and [one["name"] for one in json.loads(out)] == list(registry.TITLES)


def test_an_experiment_leaves_its_lines_and_charts_in_a_folder(peer, monkeypatch, tmp_path):
    from simulations.charts import Chart
    from simulations.experiments import registry
    from simulations.experiments.outcome import Line, Outcome
    from simulations.plots import Point

    curves = {"ours": (Point(1.0, 1.5, 0.1), Point(10.0, 1.02, 0.0)), "the law": (Point(1.0, 1.4, 0.0),)}
    chart = Chart("curve", "a curve", ("x", "y"), curves, frozenset({"the law"}), log=(True, False), level=1.02)
    outcome = Outcome("v1", "a title", (Line("error", 0.5, 1.0, ceiling=True),), charts=(chart,))
    monkeypatch.setattr(registry, "run", lambda name, *, quick: outcome)
    code, _, err = peer("experiment", "v1", "--out", "kept")
    assert code == 0 and "kept in kept/v1_curve.png" in err
    lines = (tmp_path / "kept" / "v1.csv").read_text().splitlines()
    assert lines[1].startswith("error,0.5,1.0,0.0,") and "agrees" in lines[1]
    assert (tmp_path / "kept" / "v1_curve.csv").read_text().splitlines()[2] == "ours,10.0,1.02,0.0"
    assert (tmp_path / "kept" / "v1_curve.png").read_bytes().startswith(b"\x89PNG")
    code, _, err = peer("experiment", "v1", "--out", "kept")
    assert code == 2 and "is not empty" in err


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        ("run nowhere.toml", "nowhere.toml"),
        ("run nosuch", "no shipped scenario"),
        ("run s.toml --set workers.liers=1", "workers.liars"),
        ("run s.toml --set workers.liars=7", "workers.liars"),
        ("run s.toml --set workers.liars", "--set takes key=value"),
        ("run s.toml --set workers.liars=0.1,0.2", "several values are for a sweep"),
        ("run s.toml --out .", "is not empty; choose another folder with --out"),
        ("sweep s.toml --seeds x", "--seeds takes"),
        ("sweep s.toml --jobs 0", "--jobs takes"),
        ("replay .", "holds no run"),
        ("report nowhere", "holds no run"),
    ],
)
def test_wrong_use_is_one_line_and_ends_with_2_before_anything_runs(peer, monkeypatch, words, complaint):
    def never(*_: object) -> Result:
        raise AssertionError("something ran")

    monkeypatch.setattr(sys.modules["simulations.run"], "run", never)
    code, out, err = peer(*words.split())
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert err.startswith("peer: ") and complaint in err


def test_what_is_missing_for_the_report_is_said_before_the_run(peer, monkeypatch):
    monkeypatch.setattr("simulations.extras.find_spec", lambda name: None if name == "matplotlib" else object())
    code, _, err = peer("run", "s.toml", "--out", "kept")
    assert (code, err.count("\n")) == (2, 1)
    assert "--out needs matplotlib; install what is missing with: pip install 'parallel-peer[simulate]'" in err
    assert peer("run", "s.toml")[0] == 0


def test_progress_shows_on_a_terminal_too(monkeypatch, capsys):
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    with RunProgress("a\x1b[2Jname") as progress:
        progress.update(10.0, 0.0)
        progress.update(100.0, 5.0)
    with CaseProgress("name", 2) as cases:
        cases.ended({"settings": "", "seed": 1, "violations": 0, "error": None})
        cases.ended({"settings": "a=1", "seed": 2, "violations": 1, "error": None, "first_violation": "worse"})
    err = capsys.readouterr().err
    assert "\x1b[2Jname" not in err and "20 times as fast" in err and "name, a=1 seed 2: worse" in err
