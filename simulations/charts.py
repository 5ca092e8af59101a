"""What an experiment draws, as plain data: curves of points, and how to read them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from simulations.extras import require
from simulations.plots import Point, png

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@dataclass(frozen=True, slots=True)
class Chart:
    """One plot. A curve whose name is in `marks` is drawn as points alone, the others as lines."""

    name: str
    title: str
    labels: tuple[str, str]
    curves: Mapping[str, tuple[Point, ...]]
    marks: frozenset[str] = field(default_factory=frozenset)
    log: tuple[bool, bool] = (False, False)
    """Whether each axis is logarithmic; what is not above zero is not drawn there."""
    level: float | None = None
    """A value of the second axis that is marked across, such as a target."""

    def rows(self) -> list[dict[str, str | float]]:
        """One row for each point."""
        return [
            {"curve": curve, "x": one.x, "y": one.y, "error": one.error}
            for curve, points in self.curves.items()
            for one in points
        ]


def draw_chart(chart: Chart) -> bytes:
    """The chart as a PNG image; raises `LocalError` when matplotlib is missing."""
    require("a plot", ("matplotlib",))

    def paint(axes: "Axes") -> None:
        for curve, points in chart.curves.items():
            axes.errorbar(
                [point.x for point in points],
                [point.y for point in points],
                yerr=[point.error for point in points] if any(point.error for point in points) else None,
                label=curve,
                marker="o" if curve in chart.marks else ".",
                markersize=7 if curve in chart.marks else 4,
                # Hollow and on top, so that neither a point nor a line through it is hidden.
                fillstyle="none",
                zorder=3 if curve in chart.marks else 2,
                linestyle="none" if curve in chart.marks else "-",
                capsize=2,
            )
        axes.set_xscale("log" if chart.log[0] else "linear")
        axes.set_yscale("log" if chart.log[1] else "linear")
        if chart.level is not None:
            axes.axhline(chart.level, color="black", linewidth=0.8, linestyle=":")
        axes.legend(fontsize="x-small")

    return png(chart.title, chart.labels, paint)
