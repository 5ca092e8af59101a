"""BOINC's adaptive replication (F6) as published, with liars who agree: the rival of our policies in T4.

A host with fewer than ten consecutive valid results has each result replicated; later a single result is taken
with probability 1 - 1/cv. Replicated results need two that agree; those who agree count one more valid result,
the others start again from zero. Nobody is banned. (`sched_send.cpp`, set_trust.)
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Protocol

from simulations.formulas import boinc_single_probability

QUORUM = 2


class Host(Protocol):
    """How a host behaves."""

    def lies(self, valid: int, plot: float) -> bool:
        """Whether it lies in a job, given its consecutive valid results as BOINC counts them.

        `plot` is drawn anew from [0, 1) for each job and known to all liars, who so lie in the same jobs.
        """


@dataclass(frozen=True, slots=True)
class Intermittent:
    """Lies in a share of its results; an honest host lies in none."""

    rate: float = 0.0

    def lies(self, valid: int, plot: float) -> bool:
        """Together with the other liars."""
        return plot < self.rate


@dataclass(frozen=True, slots=True)
class Sleeper:
    """Honest until its host record reaches `trusted_at`, then lies in everything until it is caught."""

    trusted_at: int = 10

    def lies(self, valid: int, plot: float) -> bool:
        """By its own record, which it can count itself."""
        return valid >= self.trusted_at


@dataclass(slots=True)
class BoincTally:
    """What a run came to: executions and wrong results among the accepted, in all and by the host that began."""

    jobs: int = 0
    executions: int = 0
    wrong: int = 0
    accepted_of: dict[int, int] = field(default_factory=dict)
    wrong_of: dict[int, int] = field(default_factory=dict)

    @property
    def overhead(self) -> float:
        """Executions per job."""
        return self.executions / self.jobs

    @property
    def error(self) -> float:
        """Share of wrong results."""
        return self.wrong / self.jobs

    def error_of(self, hosts: Sequence[int]) -> float:
        """Share of wrong results among the jobs that these hosts began."""
        return sum(self.wrong_of.get(host, 0) for host in hosts) / sum(self.accepted_of[host] for host in hosts)


def run_boinc(hosts: Sequence[Host], jobs: int, random: Random) -> BoincTally:
    """Give each job to a host drawn at random, and to more as the rule asks."""
    tally = BoincTally()
    valid = [0] * len(hosts)
    for _ in range(jobs):
        first = random.randrange(len(hosts))
        plot = random.random()
        single = random.random() < boinc_single_probability(valid[first])
        if single:
            wrong, used = hosts[first].lies(valid[first], plot), 1
        else:
            wrong, used = _replicate(first, hosts, valid, plot, random)
        tally.jobs += 1
        tally.executions += used
        tally.wrong += wrong
        tally.accepted_of[first] = tally.accepted_of.get(first, 0) + 1
        tally.wrong_of[first] = tally.wrong_of.get(first, 0) + wrong
    return tally


def _replicate(first: int, hosts: Sequence[Host], valid: list[int], plot: float, random: Random) -> tuple[bool, int]:
    """Different hosts until two agree; whether the agreed result is wrong, and the executions."""
    votes = {first: hosts[first].lies(valid[first], plot)}
    while max(sum(votes.values()), len(votes) - sum(votes.values())) < QUORUM:
        other = random.randrange(len(hosts))
        if other not in votes:
            votes[other] = hosts[other].lies(valid[other], plot)
    wrong = sum(votes.values()) >= QUORUM
    for host, lied in votes.items():
        valid[host] = valid[host] + 1 if lied == wrong else 0
    return wrong, len(votes)
