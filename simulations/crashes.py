"""When peers are killed and start again, and what it is to be killed in the middle of something."""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum, auto
from random import Random

from simulations.models.churn import SESSION_S_MIN, Session
from simulations.scenario import Crashes

AT_WRITE_WITHIN_S = 10.0
"""A coordinator that was to die at its next write, and does not write, dies so much later."""


class Killed(BaseException):
    """Nothing happens after it, like SIGKILL: no error that anybody may handle."""


class Moment(Enum):
    """Where in its work a coordinator dies."""

    BETWEEN = auto()
    """While it waits for what comes next."""
    BEFORE_WRITE = auto()
    """In the middle of what follows from an event: before the next transaction of its journal."""
    AFTER_WRITE = auto()
    """There, but just after it."""


@dataclass(frozen=True, slots=True)
class Crash:
    """It dies at `at_s` or, at a write, soon after; `down_s` later it starts again."""

    at_s: float
    moment: Moment
    down_s: float


def coordinator_crashes(crashes: Crashes, random: Random, first_from_s: float, until_s: float) -> Iterator[Crash]:
    """The crashes of one coordinator, from `first_from_s` on and before `until_s`."""
    at_s = first_from_s
    while crashes.coordinator_mean_s:
        at_s += max(SESSION_S_MIN, random.expovariate(1 / crashes.coordinator_mean_s))
        if at_s >= until_s:
            return
        crash = Crash(at_s, _moment(crashes.at_write, random), random.expovariate(1 / crashes.coordinator_down_s))
        yield crash
        at_s += AT_WRITE_WITHIN_S + crash.down_s


def _moment(at_write: float, random: Random) -> Moment:
    if random.random() >= at_write:
        return Moment.BETWEEN
    return random.choice((Moment.BEFORE_WRITE, Moment.AFTER_WRITE))


def with_worker_crashes(sessions: Iterator[Session], crashes: Crashes, random: Random) -> Iterator[Session]:
    """The same stays of a worker, cut by crashes from which it comes back before the stay would have ended."""
    if not crashes.worker_mean_s:
        yield from sessions
        return
    for stay in sessions:
        yield from _cut(stay, crashes, random)


def _cut(stay: Session, crashes: Crashes, random: Random) -> Iterator[Session]:
    start_s = stay.start_s
    while start_s < stay.end_s:
        crash_s = start_s + max(SESSION_S_MIN, random.expovariate(1 / crashes.worker_mean_s))
        if crash_s >= stay.end_s:
            yield Session(start_s, stay.end_s, stay.crashes)
            return
        yield Session(start_s, crash_s, crashes=True)
        start_s = crash_s + max(SESSION_S_MIN, random.expovariate(1 / crashes.worker_down_s))
