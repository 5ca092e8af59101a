"""What the `peer simulate` commands do: check, run, write, show; each returns its exit code.

Everything that can be wrong about the request is found before the first run starts.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from rich.text import Text

from cli.console import print_json, say, show
from cli.exits import DONE, FAILED, WrongUse
from cli.inputs import prepare_out
from cli.interrupts import terminated_like_interrupted
from cli.simulate_progress import CaseProgress, RunProgress
from cli.simulate_show import differences_text, experiments_table, result_panel, scenarios_table, sweep_tables
from cli.text import count
from protocol.errors import LocalError

if TYPE_CHECKING:
    from simulations.experiments.outcome import Outcome
    from simulations.result import Result, Row
    from simulations.scenario import Scenario


def run_once(name: str, seed: int, *, settings: Sequence[str], out: Path | None, force: bool, as_json: bool) -> int:
    """`peer simulate run`."""
    with _wrong_use():
        from simulations.extras import REPORT, require
        from simulations.sweep import parse_setting, with_values

        scenario = with_values(_scenario(name), [parse_setting(one) for one in settings])
        if out is not None:
            require("--out", REPORT)
    if out is not None:
        prepare_out(out, force=force)
    result = _run(scenario, seed)
    if out is not None:
        _write(result, out)
    return _tell(result, out, as_json=as_json)


def run_sweep(
    name: str,
    *,
    settings: Sequence[str],
    seeds: str,
    jobs: str,
    out: Path | None,
    force: bool,
    as_json: bool,
) -> int:
    """`peer simulate sweep`."""
    with _wrong_use():
        from simulations.extras import SWEEP, require
        from simulations.sweep import cases, parse_jobs, parse_seeds, parse_setting, summarize, sweep

        require("a sweep", SWEEP)
        scenario = _scenario(name)
        todo = cases(scenario, [parse_setting(one) for one in settings], parse_seeds(seeds))
        at_once = min(parse_jobs(jobs), len(todo))
    if out is not None:
        prepare_out(out, force=force)
    from simulations.run import run

    say(f"{scenario.name}: {len(todo)} runs, {at_once} at once")
    ended: list[Row] = []
    with terminated_like_interrupted(), CaseProgress(scenario.name, len(todo)) as progress:

        def on_row(row: "Row") -> None:
            ended.append(row)
            progress.ended(row)

        try:
            rows = sweep(todo, run, at_once, on_row)
        except KeyboardInterrupt:
            _write_sweep(scenario, ended, out, asked=len(todo))
            raise
    _write_sweep(scenario, rows, out, asked=len(todo))
    if as_json:
        print_json({"scenario": scenario.name, "rows": rows, "summary": summarize(rows)})
    else:
        show(sweep_tables(rows, summarize(rows)))
    return FAILED if any(row["violations"] or row["error"] for row in rows) else DONE


def replay(folder: Path, *, as_json: bool) -> int:
    """`peer simulate replay`."""
    from simulations.replay import differences
    from simulations.store import read_run

    with _wrong_use():
        before = read_run(folder)
    after = _run(before.scenario, before.seed)
    found = differences(before, after)
    same = before.trace_hash == after.trace_hash
    if as_json:
        print_json({"same": same, "before": before.trace_hash, "after": after.trace_hash, "differences": found})
    else:
        show(differences_text(before, after, found))
    return DONE if same else FAILED


def list_scenarios(*, as_json: bool) -> None:
    """`peer simulate list`."""
    from simulations.scenarios import names, shipped

    found = [shipped(name) for name in names()]
    if as_json:
        print_json([{"name": name, "description": one.description} for name, one in zip(names(), found, strict=True)])
    else:
        show(scenarios_table(dict(zip(names(), found, strict=True))))


def report(folder: Path, *, as_json: bool) -> int:
    """`peer simulate report`."""
    from simulations.report import write_report
    from simulations.store import read_run

    with _wrong_use():
        result = read_run(folder)
    say(f"the report is {write_report(result, folder)}")
    return _tell(result, folder, as_json=as_json)


def run_experiments(names: Sequence[str], *, full: bool, out: Path | None, force: bool, as_json: bool) -> int:
    """`peer simulate experiment`."""
    from simulations.experiments.registry import TITLES

    if not names:
        if as_json:
            print_json(TITLES)
        else:
            show(experiments_table(TITLES))
        return DONE
    if out is not None:
        from simulations.experiments.keep import NEEDS
        from simulations.extras import require

        with _wrong_use():
            require("--out", NEEDS)
        prepare_out(out, force=force)
    outcomes = [_experiment(name, full, out, as_json) for name in (TITLES if "all" in names else names)]
    if as_json:
        print_json([one.as_dict() for one in outcomes])
    return FAILED if any(one.unexplained for one in outcomes) else DONE


def _experiment(name: str, full: bool, out: Path | None, as_json: bool) -> "Outcome":
    """One of them; it is kept as soon as it is there, since the next may take minutes."""
    from simulations.experiments.outcome import render
    from simulations.experiments.registry import run

    with _wrong_use(), terminated_like_interrupted():
        outcome = run(name, quick=not full)
    if not as_json:
        show(Text(render(outcome)))
    if out is not None:
        from simulations.experiments.keep import keep

        for path in keep(outcome, out):
            say(f"kept in {path}")
    return outcome


def _run(scenario: "Scenario", seed: int) -> "Result":
    from simulations.run import run

    say(f"{scenario.name}: seed {seed}")
    with _wrong_use(), terminated_like_interrupted(), RunProgress(scenario.name) as progress:
        return run(scenario, seed, progress.update)


def _write_sweep(scenario: "Scenario", rows: "list[Row]", out: Path | None, *, asked: int) -> None:
    """Also what an interrupted sweep has so far: it may be hours of work."""
    from simulations.sweep_report import write_sweep
    from simulations.versions import versions

    if out is not None and rows:
        path = write_sweep(scenario, rows, versions(), out, asked=asked)
        say(f"the report of {count(len(rows), 'run')} is {path}")


def _write(result: "Result", out: Path) -> None:
    from simulations.report import write_report
    from simulations.store import write_run

    write_run(result, out)
    say(f"the report is {write_report(result, out)}")


def _tell(result: "Result", out: Path | None, *, as_json: bool) -> int:
    if as_json:
        from simulations.store import record

        print_json(record(result))
    else:
        show(result_panel(result, out))
    return FAILED if result.violations else DONE


def _scenario(name: str) -> "Scenario":
    from simulations.scenarios import find

    return find(name)


@contextmanager
def _wrong_use() -> Iterator[None]:
    """What our own errors complain of here is what was asked for: no run ends with one once it goes on."""
    try:
        yield
    except LocalError as error:
        raise WrongUse(str(error)) from error
