"""What an experiment gives: each value that was measured beside the one that was published, and a verdict."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum

from simulations.charts import Chart
from simulations.result import Row


class Verdict(StrEnum):
    """How a measured value stands to the published one."""

    AGREES = "agrees"
    DIFFERS = "differs"
    OURS = "ours"
    """There is no published value: what the shipped rule does, for comparison."""


@dataclass(frozen=True, slots=True)
class Line:
    """One value. `within` is the accepted distance: sampling error and what the source was rounded to."""

    label: str
    measured: float
    expected: float | None = None
    within: float = 0.0
    why: str = ""
    """Where the value differs, or comes from another set-up: why."""
    ceiling: bool = False
    """`expected` is the most that there may be: less agrees as well."""

    @property
    def verdict(self) -> Verdict:
        """Whether the published value was reproduced."""
        if self.expected is None:
            return Verdict.OURS
        off = self.measured - self.expected
        return Verdict.AGREES if (off if self.ceiling else abs(off)) <= self.within else Verdict.DIFFERS


@dataclass(frozen=True, slots=True)
class Outcome:
    """One experiment: its lines, and what should be known before anyone relies on them."""

    name: str
    title: str
    lines: tuple[Line, ...]
    notes: tuple[str, ...] = ()
    charts: tuple[Chart, ...] = ()
    """What is drawn where the command is given a folder."""
    tables: Mapping[str, list[Row]] = field(default_factory=dict)
    """What is written there besides, by name."""

    @property
    def unexplained(self) -> tuple[Line, ...]:
        """Lines that differ from what was published and do not say why."""
        return tuple(line for line in self.lines if line.verdict is Verdict.DIFFERS and not line.why)

    def as_dict(self) -> dict[str, object]:
        """Plain data for JSON."""
        lines = [asdict(line) | {"verdict": str(line.verdict)} for line in self.lines]
        return {"name": self.name, "title": self.title, "lines": lines, "notes": list(self.notes)}


def render(outcome: Outcome) -> str:
    """The outcome as a table of plain text."""
    width = max((len(line.label) for line in outcome.lines), default=0)
    head = f"{outcome.name}: {outcome.title}\n\n{'':{width}}  {'measured':>10}  {'expected':>10}\n"
    body = "".join(_row(line, width) for line in outcome.lines)
    notes = "".join(f"\n- {note}" for note in outcome.notes)
    return head + body + (notes + "\n" if notes else "")


def _row(line: Line, width: int) -> str:
    expected = "" if line.expected is None else "<= " * line.ceiling + _number(line.expected)
    verdict = f"{line.verdict}: {line.why}" if line.why and line.verdict is not Verdict.AGREES else str(line.verdict)
    return f"{line.label:{width}}  {_number(line.measured):>10}  {expected:>10}  {verdict}\n"


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
