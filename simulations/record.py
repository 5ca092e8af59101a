"""What a run has recorded by its end, as far as the checkers judge it. Plain data, filled in by the run."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf

from peer.views import JobState
from simulations.scenario import Scenario


@dataclass(frozen=True, slots=True, kw_only=True)
class ChunkEnd:
    """A chunk whose results count when its job ends: settled and not revoked, or given up."""

    job: str
    chunk: int
    start: int
    stop: int
    at_s: float
    source: str | None
    """The worker whose result was taken; None for the coordinator itself and for what was given up."""
    wrong: int = 0
    """Items that are not what an honest execution gives."""
    given_up: bool = False
    paid: frozenset[str] = frozenset()
    """The workers that got a receipt over this chunk."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JobEnd:
    """A submitted job and how it stands when the run is over."""

    job: str
    state: JobState
    items: int
    ended_at_s: float = inf
    message: str = ""
    finals: bool = True
    """Whether every chunk is in a final state."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gauge:
    """The most that was seen of something bounded, and its bound."""

    name: str
    peer: str
    value: float
    limit: float
    at_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Something that should never be logged was: an exception at a supervised boundary, a broken invariant."""

    at_s: float
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One run, for the checkers. Times are virtual seconds since its start."""

    scenario: Scenario
    healed_at_s: float
    over_at_s: float
    jobs: Sequence[JobEnd] = ()
    chunks: Sequence[ChunkEnd] = ()
    gauges: Sequence[Gauge] = ()
    tasks_left: Sequence[str] = ()
    """Names of tasks that are alive after every peer was stopped."""
    failures: Sequence[Failure] = ()
