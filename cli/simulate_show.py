"""What `peer simulate` shows on a terminal: figures, violations, sweeps, what differs between two runs."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from cli.console import clean
from cli.text import count, seconds

if TYPE_CHECKING:
    from simulations.result import Result, Row
    from simulations.scenario import Scenario

VIOLATIONS_SHOWN_MAX = 20
COLUMNS_SHOWN_MAX = 6
HEADLINES = ("wrong_share", "overhead", "makespan_s", "liars_caught", "honest_caught", "lookup_p95_s")


def result_panel(result: "Result", out: Path | None) -> RenderableType:
    """One run."""
    table = _pairs()
    table.add_row("scenario", clean(result.scenario.name))
    table.add_row("seed", str(result.seed))
    table.add_row("trace hash", result.trace_hash)
    speed = f", {result.events / result.wall_s:,.0f} a second" if result.wall_s > 0 else ""
    table.add_row("events", f"{result.events:,}{speed}")
    table.add_row("time", f"{seconds(result.virtual_s)} virtual in {seconds(result.wall_s)}")
    for name, value in result.figures.items():
        table.add_row(clean(name), _number(value))
    if out is not None:
        table.add_row("kept in", str(out))
    return Group(table, *_violations(result))


def sweep_tables(rows: "Sequence[Row]", summary: "Sequence[Row]") -> RenderableType:
    """The means of a sweep that tell most; all of them are in its folder."""
    bad = [row for row in rows if row["violations"] or row["error"]]
    verdict = Text(f"{count(len(rows), 'run')}: all that must hold held", "green")
    if bad:
        verdict = Text(f"{count(len(rows), 'run')}, {len(bad)} of them failed or violated something", "bold red")
    columns = _columns_that_tell(summary)
    table = Table(box=None)
    for one in columns:
        table.add_column(clean(one.removeprefix("set.").removesuffix(" mean")), overflow="fold")
    for row in summary:
        table.add_row(*(_number(row.get(one)) for one in columns))
    return Group(table, verdict)


def scenarios_table(found: "Mapping[str, Scenario]") -> RenderableType:
    """The shipped scenarios."""
    table = Table("name", "workers", box=None)
    table.add_column("description", overflow="fold")
    for name, one in found.items():
        table.add_row(name, f"{one.workers.count:,}", " ".join(one.description.split()))
    return table


def experiments_table(titles: Mapping[str, str]) -> RenderableType:
    """What `peer simulate experiment` can run."""
    table = Table("name", "what is measured again", box=None)
    for name, title in titles.items():
        table.add_row(name, title)
    return table


def differences_text(before: "Result", after: "Result", found: Sequence[str]) -> RenderableType:
    """What a replay gave."""
    if before.trace_hash == after.trace_hash:
        return Text(f"the same: trace hash {after.trace_hash} over {after.events:,} events", "green")
    lines = ["the runs differ:", *(f"  {clean(line)}" for line in found)]
    return Text("\n".join(lines), "red")


def _violations(result: "Result") -> list[RenderableType]:
    if not result.violations:
        return [Text("all that must hold held", "green")]
    shown = result.violations[:VIOLATIONS_SHOWN_MAX]
    lines = [f"  {one.checker} at {one.at_s:,.1f} s: {one.detail}" for one in shown]
    if len(shown) < len(result.violations):
        lines.append(f"  and {len(result.violations) - len(shown):,} more")
    head = Text(count(len(result.violations), "violation"), "bold red")
    return [head, Text(clean("\n".join(lines)), "red")]


def _columns_that_tell(summary: "Sequence[Row]") -> list[str]:
    """Settings that differ and bad runs, then a few means: those that differ, the best known first."""
    columns = list(dict.fromkeys(column for row in summary for column in row))
    differ = {one for one in columns if len({row.get(one) for row in summary}) > 1}
    means = [one for one in columns if one.endswith(" mean")]
    means.sort(key=lambda one: (one not in differ, one.removesuffix(" mean") not in HEADLINES))
    settings = [one for one in columns if one.startswith("set.") and one in differ]
    return [*settings, "runs", "failed", "violating", *means[:COLUMNS_SHOWN_MAX]]


def _number(value: str | int | float | bool | None) -> str:
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return "-"
    if isinstance(value, str | bool):
        return clean(str(value))
    return f"{value:,.0f}" if value == int(value) else f"{value:,.4g}"


def _pairs() -> Table:
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    return table
