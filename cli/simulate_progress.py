"""Progress of simulations on standard error: virtual and real time, a bar on a terminal, plain lines elsewhere."""

import time
from types import TracebackType
from typing import TYPE_CHECKING, Self

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from cli.console import clean, err, say
from cli.text import seconds

if TYPE_CHECKING:
    from simulations.result import Row

PLAIN_STEPS = 10


class _Bar:
    """A bar that ends with its context; a pipe or a log gets lines instead."""

    def __init__(self, title: str, columns: Progress) -> None:
        self._title = clean(title)
        self._bar = columns
        self._task = columns.add_task(self._title, total=None, detail="")
        self._step = 0
        self._started_s = time.monotonic()

    def __enter__(self) -> Self:
        if self._bar.console.is_terminal:
            self._bar.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._bar.stop()

    def _show(self, done: float, total: float, detail: str) -> None:
        if self._bar.console.is_terminal:
            self._bar.update(self._task, completed=done, total=total, detail=detail)
            return
        step = int(PLAIN_STEPS * done / total) if total > 0 else 0
        if step > self._step:
            self._step = step
            say(f"{self._title}: {detail}")


class RunProgress(_Bar):
    """One run."""

    def __init__(self, title: str) -> None:
        super().__init__(
            title,
            Progress(
                SpinnerColumn(),
                TextColumn("{task.description}"),
                BarColumn(),
                TextColumn("{task.fields[detail]}"),
                console=err(),
                transient=True,
            ),
        )

    def update(self, now_s: float, end_s: float) -> None:
        """The virtual time that it is, and that at which the run ends at the latest."""
        real_s = time.monotonic() - self._started_s
        speed = f", {now_s / real_s:,.0f} times as fast" if real_s > 0 else ""
        self._show(now_s, end_s, f"{seconds(now_s)} of {seconds(end_s)} virtual in {seconds(real_s)}{speed}")


class CaseProgress(_Bar):
    """The runs of a sweep."""

    def __init__(self, title: str, total: int) -> None:
        super().__init__(
            title,
            Progress(
                SpinnerColumn(),
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("{task.fields[detail]}"),
                TimeElapsedColumn(),
                TimeRemainingColumn(),
                console=err(),
                transient=True,
            ),
        )
        self._total = total
        self._done = 0
        self._bad = 0

    def ended(self, row: "Row") -> None:
        """One more run has ended."""
        self._done += 1
        if row["violations"] or row["error"]:
            self._bad += 1
            where = " ".join(filter(None, [str(row["settings"]), f"seed {row['seed']}"]))
            what = clean(f"{self._title}, {where}: {row['error'] or row['first_violation']}").replace("\n", " ")
            if self._bar.console.is_terminal:
                self._bar.console.print(what)
            else:
                say(what)
        bad = f", {self._bad} to look at" if self._bad else ""
        real_s = time.monotonic() - self._started_s
        self._show(self._done, self._total, f"{self._done} of {self._total} runs in {seconds(real_s)}{bad}")
