"""Progress of simulations on standard error: virtual and real time, live on a terminal, plain lines elsewhere."""

import time
from types import TracebackType
from typing import TYPE_CHECKING, Self

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from cli.console import clean, err, say
from cli.text import seconds

if TYPE_CHECKING:
    from simulations.result import Row

PLAIN_INTERVAL_S = 10.0
"""How often a log or a pipe hears that a run goes on."""
PLAIN_STEPS = 10


class _Bar:
    """A line that ends with its context."""

    def __init__(self, title: str, *columns: ProgressColumn, total: float | None) -> None:
        self._title = clean(title)
        self._bar = Progress(SpinnerColumn(), TextColumn("{task.description}"), *columns, console=err(), transient=True)
        self._task = self._bar.add_task(self._title, total=total, detail="")
        self._is_live = self._bar.console.is_terminal

    def __enter__(self) -> Self:
        if self._is_live:
            self._bar.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        if self._is_live:
            self._bar.stop()


class RunProgress(_Bar):
    """One run. Nobody knows before how long it takes: it ends with its last job."""

    def __init__(self, title: str) -> None:
        super().__init__(title, TextColumn("{task.fields[detail]}"), total=None)
        self._next_line_s = PLAIN_INTERVAL_S

    def update(self, virtual_s: float, wall_s: float) -> None:
        """So much virtual time has gone by in so much real time."""
        detail = f"{seconds(virtual_s)} of virtual time in {seconds(wall_s)}"
        if wall_s > 0:
            speed = virtual_s / wall_s
            detail += f", {speed:,.0f} times as fast" if speed >= 10 else f", {speed:.2g} times as fast"
        if self._is_live:
            self._bar.update(self._task, detail=detail)
        elif wall_s >= self._next_line_s:
            self._next_line_s = wall_s + PLAIN_INTERVAL_S
            say(f"{self._title}: {detail}")


class CaseProgress(_Bar):
    """The runs of a sweep."""

    def __init__(self, title: str, total: int) -> None:
        detail = TextColumn("{task.fields[detail]}")
        super().__init__(
            title, BarColumn(), MofNCompleteColumn(), detail, TimeElapsedColumn(), TimeRemainingColumn(), total=total
        )
        self._total = total
        self._done = 0
        self._bad = 0
        self._steps_told = 0
        self._started_s = time.monotonic()

    def ended(self, row: "Row") -> None:
        """One more run has ended."""
        self._done += 1
        if row["violations"] or row["error"]:
            self._bad += 1
            where = " ".join(filter(None, [str(row["settings"]), f"seed {row['seed']}"]))
            what = clean(f"{self._title}, {where}: {row['error'] or row['first_violation']}").replace("\n", " ")
            self._tell(what)
        bad = f", {self._bad} to look at" if self._bad else ""
        if self._is_live:
            self._bar.update(self._task, completed=self._done, detail=bad.removeprefix(", "))
            return
        steps = PLAIN_STEPS * self._done // self._total
        if steps > self._steps_told:
            self._steps_told = steps
            real_s = time.monotonic() - self._started_s
            say(f"{self._title}: {self._done} of {self._total} runs in {seconds(real_s)}{bad}")

    def _tell(self, what: str) -> None:
        if self._is_live:
            self._bar.console.print(what)
        else:
            say(what)
