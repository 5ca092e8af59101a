"""The population: a positive quantity drawn from a distribution, and what kind of machine each worker is."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import exp
from random import Random

from simulations.scenario import Distribution, Workers

VALUE_MIN = 1e-6
"""Below every sample: speeds and durations divide and multiply."""


@dataclass(frozen=True, slots=True)
class Machine:
    """One worker's machine and its owner's character."""

    number: int
    slots: int
    speed: float
    """Relative to the reference machine, a straggler's factor included."""
    claimed_speed: float
    """What its owner believes: without that factor."""
    price: float
    straggler: bool
    no_show: bool
    liar: bool


def sample(distribution: Distribution, random: Random) -> float:
    """One value, at least `VALUE_MIN`; see `Distribution` for what `a` and `b` mean."""
    a, b = distribution.a, distribution.b
    match distribution.kind:
        case "constant":
            value = a
        case "uniform":
            value = random.uniform(a, b)
        case "lognormal":
            value = a * exp(min(b * random.gauss(), 300.0))
        case "pareto":
            value = a * random.paretovariate(b)
    return max(VALUE_MIN, value)


def draw_machines(workers: Workers, random: Random) -> list[Machine]:
    """The whole population. Shares are kept exactly, up to rounding; no worker is both liar and no-show.

    Where both shares do not fit into the population, the liars come first.
    """
    liars = _chosen(range(workers.count), workers.liars, workers.count, random)
    honest = [number for number in range(workers.count) if number not in liars]
    no_shows = _chosen(honest, workers.no_shows, workers.count, random)
    stragglers = _chosen(range(workers.count), workers.stragglers, workers.count, random)
    machines = []
    for number in range(workers.count):
        claimed_speed = sample(workers.speed, random)
        slow = number in stragglers
        machine = Machine(
            number=number,
            slots=workers.slots,
            speed=claimed_speed / workers.straggler_factor if slow else claimed_speed,
            claimed_speed=claimed_speed,
            price=sample(workers.price, random),
            straggler=slow,
            no_show=number in no_shows,
            liar=number in liars,
        )
        machines.append(machine)
    return machines


def _chosen(among: Sequence[int], share: float, count: int, random: Random) -> frozenset[int]:
    return frozenset(random.sample(among, min(round(share * count), len(among))))
