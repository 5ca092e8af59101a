"""How the doctor's findings look in a terminal."""

from collections import Counter

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from cli.console import clean
from cli.text import count
from peer.doctor.check import Check, Diagnosis, Level

_MARKS = {
    Level.OK: Text("ok", "green"),
    Level.UNKNOWN: Text("?", "dim"),
    Level.WARNING: Text("warning", "yellow"),
    Level.PROBLEM: Text("PROBLEM", "bold red"),
}


def diagnosis_view(found: Diagnosis) -> RenderableType:
    """The table, each fix below what it mends, and the sum of it."""
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column(style="bold", no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for one in found.checks:
        table.add_row(one.name, _MARKS[one.level], _in_words(one))
    return Group(table, Text(), _sum(found))


def _in_words(one: Check) -> Text:
    text = Text(clean(one.found))
    if one.fix:
        text.append("\n-> ", "bold cyan").append(clean(one.fix), "cyan")
    return text


def _sum(found: Diagnosis) -> Text:
    levels = Counter(one.level for one in found.checks)
    problems, warnings = levels[Level.PROBLEM], levels[Level.WARNING]
    if problems:
        return Text(f"{count(problems, 'problem')} to mend, {count(warnings, 'warning')}.", "bold red")
    if warnings:
        return Text(f"This peer can work; {count(warnings, 'warning')}.", "yellow")
    return Text("This peer can work.", "green")
