"""The plots of a run and of a sweep, as PNG images.

Each plot names the table and the columns that it draws; where a run has none of them, there is no plot.
Figures are made without pyplot, so nothing is kept between runs and no screen is needed.
"""

import functools
import io
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from simulations.extras import require
from simulations.result import Result, Row, Value
from simulations.tables import numbers

if TYPE_CHECKING:
    from matplotlib.axes import Axes

WIDTH_INCHES, HEIGHT_INCHES, DOTS_PER_INCH = 6.4, 3.6, 110
BARS_MAX = 20
BINS_MAX = 40
LONG_NUMBER = 10_000
"""From here on the numbers of an axis are written with k, M and G."""

_VIRTUAL = "virtual seconds"
_SINCE_SUBMIT = "virtual seconds since the job was submitted"
_OF_PEERS = "share of peers"
_OF_LOOKUPS = "share of lookups"
_BY_SPEED = ("speed", "chunks run")


class Painter(Protocol):
    """Draws some columns of some rows."""

    def __call__(self, axes: "Axes", rows: Sequence[Row], columns: tuple[str, ...]) -> None:
        """Draw; there is at least one row, and each has all the columns, with finite numbers."""


@dataclass(frozen=True, slots=True)
class Plot:
    """One plot: how `draw` shows some columns of a table."""

    name: str
    title: str
    table: str
    columns: tuple[str, ...]
    labels: tuple[str, str]
    draw: "Painter"
    rows_min: int = 1


@dataclass(frozen=True, slots=True)
class Point:
    """A mean over seeds, and how far off it may be."""

    x: float
    y: float
    error: float


def draw(result: Result) -> dict[str, bytes]:
    """PNG images of a run by name, in the order of the report; raises `LocalError` when matplotlib is missing."""
    require("a plot", ("matplotlib",))
    return {plot.name: png(plot.title, plot.labels, painter) for plot, painter in _painters(result)}


def draw_sweep(name: str, x_label: str, lines: dict[str, list[Point]]) -> bytes:
    """How one figure depends on one setting: a line per combination of the others, with standard errors."""
    require("a plot", ("matplotlib",))

    def paint(axes: "Axes") -> None:
        for label, points in lines.items():
            axes.errorbar(
                [point.x for point in points],
                [point.y for point in points],
                yerr=[point.error for point in points],
                label=label,
                marker="o",
                capsize=3,
            )
        if len(lines) > 1:
            axes.legend(fontsize="small")

    return png(name, (x_label, "mean over the seeds"), paint)


def _painters(result: Result) -> "Iterator[tuple[Plot, Callable[[Axes], None]]]":
    for plot in PLOTS:
        rows = [
            row for row in result.tables.get(plot.table, []) if all(_is_drawable(row.get(one)) for one in plot.columns)
        ]
        if len(rows) >= plot.rows_min:
            yield plot, functools.partial(plot.draw, rows=rows, columns=plot.columns)


def _is_drawable(value: Value) -> bool:
    return value is not None and not (isinstance(value, float) and not math.isfinite(value))


def png(title: str, labels: tuple[str, str], paint: "Callable[[Axes], None]") -> bytes:
    """One figure as an image; `paint` draws on its axes. Needs matplotlib."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import EngFormatter

    figure = Figure(figsize=(WIDTH_INCHES, HEIGHT_INCHES), dpi=DOTS_PER_INCH, layout="constrained")
    axes = figure.add_subplot()
    axes.set(title=title, xlabel=labels[0], ylabel=labels[1])
    axes.grid(alpha=0.3)
    paint(axes)
    if axes.get_xlim()[1] >= LONG_NUMBER:
        axes.xaxis.set_major_formatter(EngFormatter(sep=" "))
    data = io.BytesIO()
    # Without the name of the program: the same run gives the same bytes.
    figure.savefig(data, format="png", metadata={"Software": None})
    return data.getvalue()


def _cumulative(axes: "Axes", rows: Sequence[Row], columns: tuple[str, ...]) -> None:
    """How many there were by each moment."""
    times = sorted(numbers(rows, columns[0]))
    axes.step([times[0], *times], range(len(times) + 1), where="post")
    axes.set_ylim(bottom=0)


def _shares(axes: "Axes", rows: Sequence[Row], columns: tuple[str, ...]) -> None:
    """The share of values up to each value."""
    values = sorted(numbers(rows, columns[0]))
    axes.step([values[0], *values], [place / len(values) for place in range(len(values) + 1)], where="post")
    axes.set_ylim(0, 1.02)


def _histogram(axes: "Axes", rows: Sequence[Row], columns: tuple[str, ...]) -> None:
    """How many values there are in each range; a bar for each whole number where these are few."""
    values = numbers(rows, columns[0])
    least, most = min(values), max(values)
    if all(value.is_integer() for value in values) and most - least < BINS_MAX:
        axes.hist(values, bins=[least - 0.5 + place for place in range(int(most - least) + 2)], rwidth=0.9)
    else:
        axes.hist(values, bins=BINS_MAX)


def _bars(axes: "Axes", rows: Sequence[Row], columns: tuple[str, ...]) -> None:
    """The largest sums of the second column per value of the first."""
    sums: dict[str, float] = {}
    for row in rows:
        for value in numbers([row], columns[1]):
            sums[str(row[columns[0]])] = sums.get(str(row[columns[0]]), 0.0) + value
    largest = sorted(sums.items(), key=lambda one: (-one[1], one[0]))[:BARS_MAX]
    axes.barh([name for name, _ in reversed(largest)], [value for _, value in reversed(largest)])


def _groups(axes: "Axes", rows: Sequence[Row], columns: tuple[str, ...]) -> None:
    """The second column against the third, one colour per value of the first."""
    for group in sorted({str(row[columns[0]]) for row in rows}):
        of_group = [row for row in rows if str(row[columns[0]]) == group]
        axes.scatter(numbers(of_group, columns[1]), numbers(of_group, columns[2]), s=12, alpha=0.6, label=group)
    axes.legend(fontsize="small")


def _counts(axes: "Axes", rows: Sequence[Row], columns: tuple[str, ...]) -> None:
    """How many rows there are of each value."""
    _bars(axes, [{"value": str(row[columns[0]]), "count": 1} for row in rows], ("value", "count"))


PLOTS = (
    Plot("chunks_over_time", "Chunks settled", "chunks", ("settled_at_s",), (_SINCE_SUBMIT, "chunks"), _cumulative),
    Plot("chunks_by_way", "How chunks were settled", "chunks", ("how",), ("chunks", ""), _counts),
    Plot("work_by_speed", "Chunks run by each peer", "peers", ("kind", "speed", "chunks_run"), _BY_SPEED, _groups),
    Plot("join_time", "Time until a peer has joined", "peers", ("joined_after_s",), (_VIRTUAL, _OF_PEERS), _shares),
    Plot("contacts", "Contacts that a peer knows", "peers", ("contacts",), ("contacts", "peers"), _histogram),
    Plot("peer_bytes", "Bytes sent by each peer", "peers", ("bytes_sent",), ("bytes", _OF_PEERS), _shares),
    Plot("message_counts", "Messages by type", "messages", ("type", "count"), ("messages", ""), _bars),
    Plot("message_bytes", "Bytes by message type", "messages", ("type", "size_bytes"), ("bytes", ""), _bars),
    Plot("lookup_time", "Time of a lookup", "lookups", ("duration_s",), (_VIRTUAL, _OF_LOOKUPS), _shares),
    Plot("lookup_asked", "Peers asked in a lookup", "lookups", ("asked",), ("peers", "lookups"), _histogram),
    Plot("makespan", "Makespan of a job", "jobs", ("makespan_s",), (_VIRTUAL, "share of jobs"), _shares, rows_min=2),
)
