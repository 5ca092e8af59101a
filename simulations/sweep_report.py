"""The folder of a sweep: `runs.csv`, `summary.csv`, the same as Parquet, plots, and one HTML report."""

import math
from collections.abc import Sequence
from pathlib import Path

from protocol.errors import LocalError
from simulations.extras import REPORT, require
from simulations.plots import Point, draw_sweep
from simulations.report import render_sweep
from simulations.result import MACHINE_FIGURES, Row
from simulations.scenario import Scenario
from simulations.store import REPORT_FILE, write_plots, write_scenario
from simulations.sweep import figure_names, setting_names, summarize
from simulations.tables import numbers, write_tables

PLOTS_MAX = 40


def write_sweep(
    scenario: Scenario, rows: list[Row], versions: dict[str, str], folder: Path, *, asked: int | None = None
) -> Path:
    """All of it, also when fewer runs than were `asked` for have ended; gives the path of the report.

    Raises `LocalError` when it cannot be written, or a package is missing.
    """
    require("the report of a sweep", REPORT)
    summary = summarize(rows)
    plots = sweep_plots(rows, summary)
    path = folder / REPORT_FILE
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_scenario(scenario, folder)
        write_tables({"runs": rows, "summary": summary}, folder)
        write_plots(plots, folder)
        path.write_text(
            render_sweep(scenario, rows, summary, plots, versions, asked=asked or len(rows)), encoding="utf-8"
        )
    except OSError as error:
        raise LocalError(f"cannot write the sweep to {folder}: {error.strerror}") from error
    return path


def sweep_plots(rows: Sequence[Row], summary: Sequence[Row]) -> dict[str, bytes]:
    """Each figure that changes, against the first setting that is a number with several values."""
    axis = next((one for one in setting_names(rows) if len(set(numbers(summary, one))) > 1), None)
    if axis is None:
        return {}
    changing = [one for one in figure_names(rows) if len(set(numbers(rows, one))) > 1]
    names = [one for one in changing if one not in MACHINE_FIGURES][:PLOTS_MAX]
    return {
        _file_name(name): draw_sweep(name, axis.removeprefix("set."), _lines(summary, axis, name)) for name in names
    }


def _lines(summary: Sequence[Row], axis: str, figure: str) -> dict[str, list[Point]]:
    """The means with their standard errors: a line per combination of the other settings."""
    found: dict[str, list[Point]] = {}
    others = [one for one in setting_names(summary) if one != axis and len({row[one] for row in summary}) > 1]
    for row in summary:
        x, y = numbers([row], axis), numbers([row], f"{figure} mean")
        if x and y:
            deviation = sum(numbers([row], f"{figure} sd"))
            runs = max(1.0, sum(numbers([row], "runs")) - sum(numbers([row], "failed")))
            label = " ".join(f"{one.removeprefix('set.')}={row[one]}" for one in others)
            found.setdefault(label, []).append(Point(x[0], y[0], deviation / math.sqrt(runs)))
    return {label: sorted(points, key=lambda point: point.x) for label, points in found.items()}


def _file_name(figure: str) -> str:
    return "".join(one if one.isalnum() or one in "-_." else "_" for one in figure)
