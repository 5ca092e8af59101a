"""Adversaries against our policies and BOINC's adaptive replication: error and overhead of each cell."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from statistics import fmean, stdev

from protocol.adaptive import Adaptive
from protocol.verification import VerificationPolicy
from simulations.experiments.behaviours import HONEST, Behaviour, Canary, Known, Rate, Sleeps
from simulations.experiments.boinc import Host, Intermittent, Ringed, Sleeper, run_boinc
from simulations.experiments.one_job import JobTally
from simulations.experiments.series import Series

SLEEP_CHUNKS = 50
"""Honest work of a sleeper under each name, after its turn where it has a history."""
ZERO_SEEN = 3.0
"""Nothing seen in n results: with 95 % confidence at most 3 / n."""
STANDARD_ERRORS = 2.0


@dataclass(frozen=True, slots=True)
class Adversary:
    """What a liar does under our policies and under BOINC's; `returns`: at once, under a new name, when caught."""

    name: str
    ours: Behaviour
    boinc: Host
    returns: bool = False

    def behaviour(self, one: Known) -> Behaviour:
        """Of this peer from now on."""
        return Sleeps(one.done + SLEEP_CHUNKS) if isinstance(self.ours, Sleeps) else self.ours


ADVERSARIES = (
    Adversary("constant", Rate(1.0, own_word=True), Intermittent(1.0, own_word=True)),
    Adversary("intermittent 0.01", Rate(0.01), Intermittent(0.01)),
    Adversary("intermittent 0.1", Rate(0.1), Intermittent(0.1)),
    Adversary("sleeper", Sleeps(SLEEP_CHUNKS), Sleeper()),
    Adversary("colluders", Rate(1.0), Intermittent(1.0)),
    Adversary("whitewasher", Rate(0.1), Intermittent(0.1), returns=True),
    Adversary("canary", Canary(), Ringed()),
    Adversary("self-dealing", Rate(1.0), Intermittent(1.0), returns=True),
)


@dataclass(frozen=True, slots=True)
class Sizes:
    """Chunks are per worker."""

    workers: int
    seeds: int
    fresh: int
    """The one job of new peers."""
    history: int
    """Honest work of everybody before the liars turn."""
    jobs: tuple[int, ...]
    """The jobs after that."""
    plain: int
    """Each job of a policy for which history makes no difference."""


@dataclass(frozen=True, slots=True)
class Cell:
    """One policy against one adversary: each seed counts as one sample, since lies come in runs."""

    chunks: int
    error: float
    standard_error: float
    overhead: float
    promised: bool
    """Whether the plan promised the target in each of the jobs."""
    bound: float = 0.0
    """The most that the report of one of the jobs allows for."""

    @property
    def upper(self) -> float:
        """The error is at most this, with about 95 % confidence."""
        return max(self.error + STANDARD_ERRORS * self.standard_error, ZERO_SEEN / self.chunks)


def cell(samples: Sequence[Sequence[JobTally]]) -> Cell:
    """From the jobs of each seed."""
    errors = [sum(one.wrong for one in jobs) / sum(one.items for one in jobs) for jobs in samples]
    flat = [one for jobs in samples for one in jobs]
    chunks = sum(one.items for one in flat)
    overhead = sum(one.executions for one in flat) / chunks
    promised, bound = all(one.promised for one in flat), max(one.bound for one in flat)
    return Cell(chunks, fmean(errors), _standard_error(errors), overhead, promised, bound)


def _standard_error(values: Sequence[float]) -> float:
    return stdev(values) / math.sqrt(len(values)) if len(values) > 1 else 0.0


class Network:
    """Peers of one policy and one share of liars, new or with a history that is the same for all adversaries."""

    def __init__(self, policy: VerificationPolicy, liars: float, sizes: Sizes) -> None:
        self._policy = policy
        self._sizes = sizes
        self._liars = round(liars * sizes.workers)
        self._old: list[Series] = []

    def fresh(self, adversary: Adversary) -> Cell:
        """One job of peers that nobody knows."""
        return cell([self._job(adversary, seed) for seed in range(self._sizes.seeds)])

    def lived(self, adversary: Adversary) -> Cell:
        """Jobs of peers that were all honest for long, until the liars turn."""
        if not self._old:
            self._old = [self._history(seed) for seed in range(self._sizes.seeds)]
        return cell([self._turned(adversary, old, 100 + seed) for seed, old in enumerate(self._old)])

    def _job(self, adversary: Adversary, seed: int) -> list[JobTally]:
        honest = self._sizes.workers - self._liars
        behaviours: list[Behaviour] = [adversary.ours] * self._liars + [HONEST] * honest
        series = Series(self._policy, behaviours, Random(seed), whitewash=adversary.returns)
        each = self._sizes.fresh if isinstance(self._policy, Adaptive) else self._sizes.plain
        return [series.run(each * self._sizes.workers)]

    def _history(self, seed: int) -> Series:
        series = Series(self._policy, [HONEST] * self._sizes.workers, Random(seed))
        series.run(self._sizes.history * self._sizes.workers)
        return series

    def _turned(self, adversary: Adversary, old: Series, seed: int) -> list[JobTally]:
        behaviours = [
            adversary.behaviour(one) if place < self._liars else HONEST for place, one in enumerate(old.peers)
        ]
        series = old.turned(behaviours, Random(seed), whitewash=adversary.returns)
        return [series.run(each * self._sizes.workers) for each in self._sizes.jobs]


def boinc_cell(adversary: Adversary, liars: float, sizes: Sizes, *, lived: bool) -> Cell:
    """BOINC's rule over as many jobs for each host, new or after as long an honest history."""
    each = sum(sizes.jobs) if lived else sizes.fresh
    return cell([[_boinc_run(adversary, liars, sizes, each, seed, lived=lived)] for seed in range(4 * sizes.seeds)])


def _boinc_run(adversary: Adversary, liars: float, sizes: Sizes, each: int, seed: int, *, lived: bool) -> JobTally:
    random, hosts = Random(seed), sizes.workers
    valid = [0] * hosts
    if lived:
        run_boinc([Intermittent()] * hosts, sizes.history * hosts, random, valid)
    count = round(liars * hosts)
    mixed: list[Host] = [adversary.boinc] * count + [Intermittent()] * (hosts - count)
    tally = run_boinc(mixed, each * hosts, random, valid)
    return JobTally(tally.jobs, tally.executions, 0, tally.wrong, 0, 0)
