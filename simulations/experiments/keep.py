"""An experiment's files: `NAME.csv` with its lines, its tables as CSV, each chart as CSV and PNG."""

from pathlib import Path

from protocol.errors import LocalError
from simulations.charts import draw_chart
from simulations.experiments.outcome import Outcome
from simulations.result import Row
from simulations.tables import write_csv

NEEDS = ("matplotlib",)
"""Packages of the extra `simulate` that this takes."""


def keep(outcome: Outcome, folder: Path) -> list[Path]:
    """Write the files into a folder that is there, and name them; raises `LocalError` where it cannot."""
    paths = []
    try:
        paths.append(folder / f"{outcome.name}.csv")
        write_csv(paths[-1], _lines(outcome))
        for name, rows in outcome.tables.items():
            paths.append(folder / f"{outcome.name}_{name}.csv")
            write_csv(paths[-1], rows)
        for chart in outcome.charts:
            paths.append(folder / f"{outcome.name}_{chart.name}.csv")
            write_csv(paths[-1], [dict(row) for row in chart.rows()])
            paths.append(paths[-1].with_suffix(".png"))
            paths[-1].write_bytes(draw_chart(chart))
    except OSError as error:
        raise LocalError(f"cannot write {outcome.name} to {folder}: {error.strerror}") from error
    return paths


def _lines(outcome: Outcome) -> list[Row]:
    return [
        {
            "label": one.label,
            "measured": one.measured,
            "expected": one.expected,
            "within": one.within,
            "ceiling": one.ceiling,
            "verdict": str(one.verdict),
            "why": one.why,
        }
        for one in outcome.lines
    ]
