"""BOINC's adaptive replication (F6) as published, with liars who agree: the rival of our policies in T4.

A host with fewer than ten consecutive valid results has each result replicated; later a single result is taken
with probability 1 - 1/cv. Replicated results need two that agree; those who agree count one more valid result,
the others start again from zero. Nobody is banned. (`sched_send.cpp`, set_trust.)
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Protocol

from simulations.formulas import boinc_single_probability

QUORUM = 2
RIGHT, AGREED_LIE = 0, -1


class Host(Protocol):
    """How a host behaves."""

    @property
    def in_ring(self) -> bool:
        """Whether it tells the others like it which jobs it was given."""

    @property
    def own_word(self) -> bool:
        """Whether its lies are its own, so that no other liar says the same."""

    def lies(self, valid: int, plot: float, company: bool) -> bool:
        """Whether it lies in a job, given its consecutive valid results as BOINC counts them.

        `plot` is drawn anew from [0, 1) for each job and known to all liars, who so lie in the same jobs. `company`:
        all the results that the job began with are asked of its ring.
        """


@dataclass(frozen=True, slots=True)
class Intermittent:
    """Lies in a share of its results; an honest host lies in none."""

    rate: float = 0.0
    own_word: bool = False
    in_ring: bool = False

    def lies(self, valid: int, plot: float, company: bool) -> bool:
        """Together with the other liars."""
        return plot < self.rate


@dataclass(frozen=True, slots=True)
class Sleeper:
    """Honest until its host record reaches `trusted_at`, then lies in everything until it is caught."""

    trusted_at: int = 10
    own_word: bool = False
    in_ring: bool = False

    def lies(self, valid: int, plot: float, company: bool) -> bool:
        """By its own record, which it can count itself."""
        return valid >= self.trusted_at


@dataclass(frozen=True, slots=True)
class Ringed:
    """Lies where it is compared with its own ring alone; a single result may be compared later, so not there."""

    own_word: bool = False
    in_ring: bool = True

    def lies(self, valid: int, plot: float, company: bool) -> bool:
        """With the others."""
        return company


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


def run_boinc(hosts: Sequence[Host], jobs: int, random: Random, valid: list[int] | None = None) -> BoincTally:
    """Give each job to a host drawn at random, and to more as the rule asks.

    `valid`: the consecutive valid results that the hosts begin with, none where it is not given; brought up to date.
    """
    tally = BoincTally()
    valid = [0] * len(hosts) if valid is None else valid
    for _ in range(jobs):
        first = random.randrange(len(hosts))
        plot = random.random()
        single = random.random() < boinc_single_probability(valid[first])
        if single:
            wrong, used = hosts[first].lies(valid[first], plot, False), 1
        else:
            wrong, used = _replicate(first, hosts, valid, plot, random)
        tally.jobs += 1
        tally.executions += used
        tally.wrong += wrong
        tally.accepted_of[first] = tally.accepted_of.get(first, 0) + 1
        tally.wrong_of[first] = tally.wrong_of.get(first, 0) + wrong
    return tally


def _replicate(first: int, hosts: Sequence[Host], valid: list[int], plot: float, random: Random) -> tuple[bool, int]:
    """Different hosts until two agree; whether the agreed result is wrong, and the executions.

    Each result is known by its key: 0 if right, -1 for the lie that all agree on, else the liar's own.
    """
    asked = [first]
    while len(asked) < QUORUM:
        _ask_another(asked, hosts, random)
    company = all(hosts[host].in_ring for host in asked)
    keys = {host: _key(host, hosts, valid, plot, company) for host in asked}
    while (most := Counter(keys.values()).most_common(1)[0])[1] < QUORUM:
        other = _ask_another(asked, hosts, random)
        keys[other] = _key(other, hosts, valid, plot, company)
    for host, key in keys.items():
        valid[host] = valid[host] + 1 if key == most[0] else 0
    return most[0] != RIGHT, len(keys)


def _ask_another(asked: list[int], hosts: Sequence[Host], random: Random) -> int:
    while (other := random.randrange(len(hosts))) in asked:
        pass
    asked.append(other)
    return other


def _key(host: int, hosts: Sequence[Host], valid: list[int], plot: float, company: bool) -> int:
    if not hosts[host].lies(valid[host], plot, company):
        return RIGHT
    return host + 1 if hosts[host].own_word else AGREED_LIE
