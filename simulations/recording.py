"""What a run writes down while it goes on: plain data for the checkers, the tables and the figures."""

from collections import Counter
from dataclasses import dataclass, field

from peer.views import JobView
from simulations.result import Row, Value, Violation

ROWS_PER_TABLE_MAX = 200_000


@dataclass(slots=True)
class JobRecord:
    """One job: whose, when, its last view, and for each item that counts who gave it and whether it is right."""

    job: str
    coordinator: int
    items: int
    submitted_at_s: float
    ended_at_s: float | None = None
    view: JobView | None = None
    right: dict[int, bool] = field(default_factory=dict)
    """By item: whether the accepted result is the true one. Items that failed are not here."""
    failed: set[int] = field(default_factory=set)
    given_by: dict[int, str] = field(default_factory=dict)
    doubtful: set[int] = field(default_factory=set)
    """Items whose result rests on a peer found lying since."""
    again: set[int] = field(default_factory=set)
    """Items that have an outcome and are run again all the same."""
    stood: set[int] = field(default_factory=set)
    """Items whose outcome stood when the run that goes on began, and nothing has happened to it since."""
    runs: int = 1
    unsaved: set[int] = field(default_factory=set)
    """Items that came to count since the coordinator last wrote down what it owes."""
    unpaid: set[int] = field(default_factory=set)
    """Items that were `unsaved` when a run was cut off: nobody knows any more whom to pay for them."""

    @property
    def wrong(self) -> int:
        """Accepted results that are not true."""
        return sum(not right for right in self.right.values())


@dataclass(frozen=True, slots=True)
class ReceiptRecord:
    """A receipt that a coordinator gave (or a worker got): for which job, to which worker, how much."""

    job: str
    worker: str
    credits: float


Replica = tuple[str, int, int]
"""A job, the number of a peer and an item of the job."""


@dataclass(frozen=True, slots=True)
class Peak:
    """The most that was seen of something bounded, anywhere in the network, and its bound."""

    name: str
    value: int
    limit: int


@dataclass(slots=True)
class Recording:
    """The facts of one run."""

    jobs: list[JobRecord] = field(default_factory=list)
    given: list[ReceiptRecord] = field(default_factory=list)
    got: list[ReceiptRecord] = field(default_factory=list)
    caught_in: set[tuple[str, str]] = field(default_factory=set)
    """Jobs, and the peers that were found there to have given a wrong result."""
    banned: set[tuple[int, str]] = field(default_factory=set)
    """Coordinators, and the peers to which they give no work any more."""
    handed_out: Counter[Replica] = field(default_factory=Counter)
    """How often a peer was given an item to execute: by a lease, or as an audit."""
    executed: Counter[Replica] = field(default_factory=Counter)
    """How often it began to."""
    peaks: dict[str, Peak] = field(default_factory=dict)
    broken: list[Violation] = field(default_factory=list)
    """Failed invariants, peers that fell over, errors that were logged: seen while the run went on."""
    healed_at_s: float | None = None
    """When the faults ended, where the run went on for so long."""
    ended_at_s: float = 0.0
    tasks_before: int = 0
    tasks_after: int = 0
    liars: frozenset[str] = frozenset()
    """Peer ids of workers that lie, by the scenario."""
    _columns: dict[str, tuple[str, ...]] = field(default_factory=dict)
    _rows: dict[str, list[tuple[Value, ...]]] = field(default_factory=dict)
    """Rows that are written as things happen, at most `ROWS_PER_TABLE_MAX` each; column names once."""
    rows_left_out: int = 0

    def add_row(self, table: str, row: Row) -> None:
        """One more row, while there is room; all rows of a table have the same columns."""
        self._columns.setdefault(table, tuple(row))
        rows = self._rows.setdefault(table, [])
        if len(rows) < ROWS_PER_TABLE_MAX:
            rows.append(tuple(row.values()))
        else:
            self.rows_left_out += 1

    def rows(self, table: str) -> list[Row]:
        """What was added to a table."""
        columns = self._columns.get(table, ())
        return [dict(zip(columns, cells, strict=True)) for cells in self._rows.get(table, ())]

    def see(self, name: str, value: int, limit: int) -> None:
        """How much there is of something bounded."""
        known = self.peaks.get(name)
        if known is None or value > known.value:
            self.peaks[name] = Peak(name, value, limit)
