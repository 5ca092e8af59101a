"""The folder of a run: what went in, what came out, enough to run it again.

    scenario.toml     the scenario, every default written out
    inputs/           the files that the scenario names: delays, sessions
    result.json       seed, trace hash, figures, violations, versions
    tables/*.csv      one file per table, and the same as .parquet where pyarrow is installed
    plots/*.png       the plots of the report
    trace.txt         the part of the trace that was kept, one event per line
    report.html       all of it for people

The folder holds no path of this machine: it can be run again elsewhere.
"""

import shutil
from collections.abc import Mapping
from pathlib import Path

import msgspec
from msgspec.structs import replace

from protocol.errors import LocalError
from simulations import scenario as scenarios
from simulations.extras import TABLES, require
from simulations.result import Result, Violation
from simulations.scenario import Scenario
from simulations.tables import Kind, kinds, read_csv, write_tables

FORMAT = 1
SCENARIO_FILE = "scenario.toml"
RESULT_FILE = "result.json"
TRACE_FILE = "trace.txt"
REPORT_FILE = "report.html"
TABLES_FOLDER = "tables"
PLOTS_FOLDER = "plots"
INPUTS_FOLDER = "inputs"


class RunRecord(msgspec.Struct, frozen=True, kw_only=True):
    """What `result.json` holds. A figure that is no number is null."""

    format: int
    scenario: str
    seed: int
    trace_hash: str
    events: int
    virtual_s: float
    wall_s: float
    figures: dict[str, float | None]
    violations: list[Violation]
    versions: dict[str, str]
    tables: dict[str, dict[str, Kind]]
    """Per table, its columns in order and what they hold."""


def write_run(result: Result, folder: Path) -> None:
    """Everything but the report; raises `LocalError` when the folder cannot be written."""
    require("a folder for a run", TABLES)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_scenario(result.scenario, folder)
        write_tables(result.tables, folder / TABLES_FOLDER)
        (folder / TRACE_FILE).write_text("".join(f"{line}\n" for line in result.trace), encoding="utf-8")
        # Last, so that a folder with a result is a whole one.
        (folder / RESULT_FILE).write_bytes(_pretty(record(result)))
    except OSError as error:
        raise LocalError(f"cannot write the run to {folder}: {error.strerror}") from error


def read_run(folder: Path) -> Result:
    """The run in a folder; raises `LocalError` naming the file that is missing or wrong."""
    found = read_record(folder)
    tables = {name: read_csv(folder / TABLES_FOLDER / f"{name}.csv", columns) for name, columns in found.tables.items()}
    return Result(
        scenario=scenarios.load(folder / SCENARIO_FILE),
        seed=found.seed,
        trace_hash=found.trace_hash,
        events=found.events,
        virtual_s=found.virtual_s,
        wall_s=found.wall_s,
        figures={name: float("nan") if value is None else value for name, value in found.figures.items()},
        tables=tables,
        violations=tuple(found.violations),
        trace=_read_trace(folder / TRACE_FILE),
        versions=found.versions,
    )


def read_record(folder: Path) -> RunRecord:
    """What `result.json` of a folder says; raises `LocalError`."""
    path = folder / RESULT_FILE
    try:
        found = msgspec.json.decode(path.read_bytes(), type=RunRecord)
    except FileNotFoundError as error:
        raise LocalError(f"{folder} holds no run ({RESULT_FILE} is missing); name the --out of a run") from error
    except OSError as error:
        raise LocalError(f"cannot read {path}: {error.strerror}") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise LocalError(f"{path} is not the result of a run: {error}") from error
    if found.format != FORMAT:
        raise LocalError(f"{path} has format {found.format}; this version reads format {FORMAT}")
    return found


def record(result: Result) -> RunRecord:
    """What `result.json` says of a run."""
    return RunRecord(
        format=FORMAT,
        scenario=result.scenario.name,
        seed=result.seed,
        trace_hash=result.trace_hash,
        events=result.events,
        virtual_s=result.virtual_s,
        wall_s=result.wall_s,
        figures=dict(result.figures),
        violations=list(result.violations),
        versions=result.versions,
        tables={name: kinds(rows) for name, rows in result.tables.items()},
    )


def scenario_toml(scenario: Scenario) -> str:
    """The scenario as TOML, every default written out."""
    require("a scenario file", TABLES)
    return msgspec.toml.encode(scenario).decode()


def write_scenario(scenario: Scenario, folder: Path) -> None:
    """`scenario.toml` and the files that it names; the caller has made the folder and answers for `OSError`."""
    latency, churn = scenario.network.latency, scenario.churn
    latency = replace(latency, matrix_file=_copy(latency.matrix_file, folder))
    churn = replace(churn, trace_file=_copy(churn.trace_file, folder))
    beside = replace(scenario, network=replace(scenario.network, latency=latency), churn=churn)
    (folder / SCENARIO_FILE).write_text(scenario_toml(beside), encoding="utf-8")


def write_plots(plots: Mapping[str, bytes], folder: Path) -> None:
    """`plots/*.png`; the caller answers for `OSError`."""
    target = folder / PLOTS_FOLDER
    target.mkdir(parents=True, exist_ok=True)
    for name, png in plots.items():
        (target / f"{name}.png").write_bytes(png)


def _copy(named: str, folder: Path) -> str:
    """A file that the scenario names, copied into `inputs/`; its name as seen from there."""
    if not named:
        return ""
    target = folder / INPUTS_FOLDER / Path(named).name
    if not (target.exists() and target.samefile(named)):
        target.parent.mkdir(exist_ok=True)
        shutil.copyfile(named, target)
    return f"{INPUTS_FOLDER}/{target.name}"


def _pretty(found: RunRecord) -> bytes:
    return msgspec.json.format(msgspec.json.encode(found), indent=2) + b"\n"


def _read_trace(path: Path) -> tuple[str, ...]:
    try:
        return tuple(path.read_text(encoding="utf-8").split("\n")[:-1])
    except OSError as error:
        raise LocalError(f"cannot read {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise LocalError(f"{path} is not the trace of a run: {error}") from error
