"""What a run gives: figures, tables, a trace hash, and what was violated. Plain data."""

from dataclasses import dataclass, field

from simulations.scenario import Scenario

Value = str | int | float | bool | None
Row = dict[str, Value]

TABLES = ("chunks", "peers", "messages", "lookups", "jobs")
"""Per settled chunk, per peer, per message type, per directory or DHT lookup, per job."""

MACHINE_FIGURES = ("events_per_wall_s", "kib_per_peer")
"""Figures that say how fast and large the simulator was on this machine: they differ from run to run."""


@dataclass(frozen=True, slots=True)
class Violation:
    """Something that must hold and did not: which checker, at what virtual time, in words."""

    checker: str
    at_s: float
    detail: str


@dataclass(frozen=True, slots=True)
class Result:
    """One run of one scenario with one seed."""

    scenario: Scenario
    seed: int
    trace_hash: str
    """SHA-256 over every message and every decision, in order; equal for equal seeds on any machine."""
    events: int
    virtual_s: float
    wall_s: float
    figures: dict[str, float]
    """Named sums and means: items, wrong_accepted, overhead, makespan_s, liars_caught, lookup_p50_s ..."""
    tables: dict[str, list[Row]] = field(default_factory=dict)
    violations: tuple[Violation, ...] = ()
    trace: tuple[str, ...] = ()
    versions: dict[str, str] = field(default_factory=dict)
