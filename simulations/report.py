"""One HTML file that says all of a run, or of a sweep: it loads nothing from elsewhere."""

import base64
import math
from collections.abc import Mapping
from pathlib import Path

from protocol.errors import LocalError
from simulations.extras import REPORT, require
from simulations.plots import draw
from simulations.result import Result, Row, Value
from simulations.scenario import Scenario
from simulations.store import REPORT_FILE, scenario_toml, write_plots
from simulations.tables import kinds, spreads

RUN_TEMPLATE = "report.html.jinja"
SWEEP_TEMPLATE = "sweep.html.jinja"
VIOLATIONS_SHOWN_MAX = 200
ROWS_SHOWN_MAX = 1000


def write_report(result: Result, folder: Path) -> Path:
    """The plots and `report.html`, whose path it gives; raises `LocalError` when the folder cannot be written."""
    require("a report", REPORT)
    plots = draw(result)
    path = folder / REPORT_FILE
    try:
        write_plots(plots, folder)
        path.write_text(render(result, plots), encoding="utf-8")
    except OSError as error:
        raise LocalError(f"cannot write the report to {folder}: {error.strerror}") from error
    return path


def render(result: Result, plots: Mapping[str, bytes]) -> str:
    """The report of a run with its plots inside; raises `LocalError` when a package is missing."""
    tables = {
        name: {"rows": len(rows), "columns": list(kinds(rows)), "spreads": spreads(rows)}
        for name, rows in result.tables.items()
    }
    return _fill(
        RUN_TEMPLATE,
        result=result,
        scenario_toml=scenario_toml(result.scenario),
        violations=result.violations[:VIOLATIONS_SHOWN_MAX],
        tables=tables,
        images=_images(plots),
    )


def render_sweep(
    scenario: Scenario,
    rows: list[Row],
    summary: list[Row],
    plots: Mapping[str, bytes],
    versions: dict[str, str],
    *,
    asked: int,
) -> str:
    """The report of a sweep: what each combination of settings gave over the seeds."""
    return _fill(
        SWEEP_TEMPLATE,
        scenario=scenario,
        scenario_toml=scenario_toml(scenario),
        runs=len(rows),
        asked=asked,
        bad=[row for row in rows if row.get("violations") or row.get("error")][:VIOLATIONS_SHOWN_MAX],
        columns=list(kinds(summary)),
        summary=summary[:ROWS_SHOWN_MAX],
        images=_images(plots),
        versions=versions,
    )


def number(value: Value) -> str:
    """A cell as people read it: four figures are enough, and thousands are parted."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, str):
        return value
    if isinstance(value, float) and not math.isfinite(value):
        return "-"
    if value == int(value) and abs(value) < 1e15:
        return f"{int(value):,}"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def _images(plots: Mapping[str, bytes]) -> dict[str, str]:
    return {name: f"data:image/png;base64,{base64.b64encode(png).decode()}" for name, png in plots.items()}


def _fill(template: str, **values: object) -> str:
    require("a report", ("jinja2",))
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["number"] = number
    return environment.get_template(template).render(values)
