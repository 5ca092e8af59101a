"""Many runs of one scenario: every combination of some settings, each with every seed, side by side.

Runs go through joblib: on the cores of this machine, or wherever `joblib.parallel_config` sends them when the
caller asks for no number of jobs. A run that fails is a row that says so; the others go on.
"""

import itertools
import math
import os
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from protocol.errors import LocalError
from simulations.extras import require
from simulations.result import Result, Row, Violation
from simulations.scenario import Scenario, with_value
from simulations.tables import numbers

RUNS_MAX = 100_000
FIRST_COLUMNS = (
    "settings",
    "seed",
    "violations",
    "first_violation",
    "error",
    "trace_hash",
    "events",
    "virtual_s",
    "wall_s",
)
_SEEDS = re.compile(r"(\d+)(?:-(\d+))?")

Runner = Callable[[Scenario, int], Result]


@dataclass(frozen=True, slots=True)
class Setting:
    """One key of the scenario and the values that it takes."""

    key: str
    values: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Case:
    """One run of a sweep. `settings` are the keys that differ, as they were given."""

    scenario: Scenario
    settings: tuple[tuple[str, str], ...]
    seed: int


def parse_setting(text: str) -> Setting:
    """`key=v1,v2,...`; raises `LocalError`."""
    key, equals, values = text.partition("=")
    found = tuple(value.strip() for value in values.split(","))
    if not key.strip() or not equals or not all(found):
        raise LocalError(f"--set takes key=value or key=value,value, not {text!r}")
    if len(set(found)) < len(found):
        raise LocalError(f"--set {text}: a value stands there twice")
    return Setting(key.strip(), found)


def parse_seeds(text: str) -> tuple[int, ...]:
    """`1-20` or `1,5,9-12`; raises `LocalError`."""
    seeds: list[int] = []
    for part in text.split(","):
        match = _SEEDS.fullmatch(part.strip())
        first, last = (int(match[1]), int(match[2] or match[1])) if match else (1, 0)
        if not 0 <= last - first < RUNS_MAX:
            raise LocalError(
                f"--seeds takes seeds and ranges of at most {RUNS_MAX:,}, as in 1-20 or 1,5,9-12, not {text!r}"
            )
        seeds += range(first, last + 1)
    return tuple(dict.fromkeys(seeds))


def parse_jobs(text: str) -> int:
    """`auto` for one run per core, or a number of runs at once; raises `LocalError`."""
    if text == "auto":
        return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if not text.isdecimal() or not 1 <= int(text) <= RUNS_MAX:
        raise LocalError(f"--jobs takes a number of at least 1, or auto, not {text!r}")
    return int(text)


def with_values(scenario: Scenario, settings: Sequence[Setting]) -> Scenario:
    """The scenario with settings of one value each; raises `LocalError`."""
    for setting in settings:
        if len(setting.values) > 1:
            raise LocalError(f"{setting.key}: several values are for a sweep; one run takes one value")
        scenario = with_value(scenario, setting.key, setting.values[0])
    return scenario


def cases(scenario: Scenario, settings: Sequence[Setting], seeds: Sequence[int]) -> list[Case]:
    """Every combination with every seed, in order; raises `LocalError` for a wrong value, or too many runs."""
    doubles = [one.key for place, one in enumerate(settings) if one.key in {other.key for other in settings[:place]}]
    if doubles:
        raise LocalError(f"--set {doubles[0]} was given twice; give all its values at once, parted by commas")
    total = math.prod(len(one.values) for one in settings) * len(seeds)
    if total > RUNS_MAX:
        raise LocalError(f"that would be {total:,} runs; a sweep has at most {RUNS_MAX:,}")
    found = []
    for values in itertools.product(*(one.values for one in settings)):
        chosen = tuple((one.key, value) for one, value in zip(settings, values, strict=True))
        changed = scenario
        for key, value in chosen:
            changed = with_value(changed, key, value)
        found += [Case(changed, chosen, seed) for seed in seeds]
    return found


def sweep(
    todo: Sequence[Case],
    run: Runner,
    jobs: int | None = None,
    on_row: Callable[[Row], None] = lambda _: None,
) -> list[Row]:
    """One row per case, in the order of the cases; `on_row` hears of each as it ends.

    `jobs` runs go on at once; `None` leaves that to `joblib.parallel_config`. `run` must be importable by name where
    the runs happen. Raises `LocalError` when joblib is missing.
    """
    require("a sweep", ("joblib",))
    import joblib

    try:
        parallel = joblib.Parallel(n_jobs=jobs, batch_size=1, return_as="generator_unordered")
    except ValueError:
        # Some backends, such as that of Ray, can only give all results at once.
        parallel = joblib.Parallel(n_jobs=jobs, batch_size=1)
    rows: dict[int, Row] = {}
    for place, row in parallel(joblib.delayed(_numbered)(run, place, case) for place, case in enumerate(todo)):
        rows[place] = row
        on_row(row)
    return [rows[place] for place in range(len(todo))]


def summarize(rows: Sequence[Row]) -> list[Row]:
    """One row per combination of settings: means and standard deviations of the figures over the seeds."""
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(str(row["settings"]), []).append(row)
    return [_summary(group) for group in groups.values()]


def figure_names(rows: Sequence[Row]) -> list[str]:
    """The figures that any of the runs has, in order of appearance."""
    found = dict.fromkeys(column for row in rows for column in row)
    return [column for column in found if column not in FIRST_COLUMNS and not column.startswith(_SET)]


def setting_names(rows: Sequence[Row]) -> list[str]:
    """The columns of the keys that were set."""
    return [column for column in (rows[0] if rows else {}) if column.startswith(_SET)]


_SET = "set."
"""Before the columns of keys, since a figure may have the same name."""


def _numbered(run: Runner, place: int, case: Case) -> tuple[int, Row]:
    return place, run_case(run, case)


def run_case(run: Runner, case: Case) -> Row:
    """One run as one row."""
    try:
        result = run(case.scenario, case.seed)
    except Exception as error:  # noqa: BLE001 - the boundary of one run: its failure is its row, and the others go on
        return _row(case, error=f"{type(error).__name__}: {error}")
    return _row(case, result=result)


def _row(case: Case, result: Result | None = None, error: str | None = None) -> Row:
    violations: tuple[Violation, ...] = result.violations if result else ()
    first = violations[0] if violations else None
    return {
        "settings": " ".join(f"{key}={value}" for key, value in case.settings),
        **{f"{_SET}{key}": _plain(value) for key, value in case.settings},
        "seed": case.seed,
        "violations": len(violations),
        "first_violation": f"{first.checker} at {first.at_s:g} s: {first.detail}" if first else None,
        "error": error,
        "trace_hash": result.trace_hash if result else None,
        "events": result.events if result else None,
        "virtual_s": result.virtual_s if result else None,
        "wall_s": result.wall_s if result else None,
        **({} if result is None else {_figure(name): value for name, value in result.figures.items()}),
    }


def _figure(name: str) -> str:
    return f"figure.{name}" if name in FIRST_COLUMNS else name


def _plain(value: str) -> float | str:
    try:
        return float(value)
    except ValueError:
        return value


def _summary(group: list[Row]) -> Row:
    first = group[0]
    return {
        **{column: first[column] for column in setting_names(group)},
        "runs": len(group),
        "failed": sum(1 for row in group if row["error"]),
        "violating": sum(1 for row in group if row["violations"]),
        **dict(_means(group)),
    }


def _means(group: list[Row]) -> Iterator[tuple[str, float | None]]:
    for name in figure_names(group):
        values = numbers(group, name)
        mean = math.fsum(values) / len(values) if values else None
        yield f"{name} mean", mean
        yield f"{name} sd", _deviation(values, mean)


def _deviation(values: Sequence[float], mean: float | None) -> float | None:
    if mean is None or len(values) < 2:
        return None
    return math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1))
