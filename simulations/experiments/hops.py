"""V1: hops until the closest peer is known, and requests, in static networks with full buckets.

The published values were computed for tables with one bucket per bit of the own id, and one path. The shipped table
is of that kind, so both are measured with it; the shipped lookup has two disjoint paths.
"""

import math
from dataclasses import dataclass
from random import Random
from statistics import fmean, quantiles, stdev

from dht.lookup import Lookup
from protocol.limits import BUCKET_SIZE, LOOKUP_CONCURRENCY, LOOKUP_PATHS
from simulations.experiments.outcome import Line, Outcome
from simulations.experiments.static_network import StaticNetwork, walk

HOP_S = 1.0
UNBOUNDED_S = 1e9
"""No stall: each answer takes exactly one hop."""
UNFOUND = 99


@dataclass(frozen=True, slots=True)
class Published:
    """One cell of the table: hops (mean, 95th percentile) and requests."""

    size: int
    k: int
    alpha: int
    hops: float
    hops_p95: int
    requests: float


EXPECTED = (
    Published(1_000, 8, 3, 2.23, 3, 10.9),
    Published(1_000, 20, 3, 1.88, 2, 21.5),
    Published(1_000, 20, 10, 1.89, 2, 27.7),
    Published(10_000, 8, 3, 2.90, 4, 12.8),
    Published(10_000, 20, 3, 2.36, 3, 22.9),
    Published(10_000, 20, 10, 2.33, 3, 31.2),
    Published(100_000, 8, 3, 3.52, 5, 14.7),
    Published(100_000, 20, 3, 2.91, 4, 24.6),
    Published(100_000, 20, 10, 2.77, 3, 36.9),
)
SIZES_QUICK = (1_000, 10_000)
LOOKUPS_QUICK = 25
LOOKUPS_FULL = 250
SIGMAS = 4.0
"""How many standard errors of our own mean, on top of the second digit of the published one, are accepted."""
REQUESTS_WITHIN = 0.05
FIELD_SIZE, FIELD_K, FIELD_HOPS, FIELD_SHARE = 7_000, 20, 3, 0.98
"""Field check: over 98 % of the holders of a record are found in at most three hops."""


def run(quick: bool) -> Outcome:
    """Measure the table; the quick form leaves out the largest network and does fewer lookups."""
    cells = [cell for cell in EXPECTED if not quick or cell.size in SIZES_QUICK]
    lookups = LOOKUPS_QUICK if quick else LOOKUPS_FULL
    lines = [line for cell in cells for line in _cell(cell, lookups)]
    lines.append(_field(lookups))
    for size in sorted({cell.size for cell in cells}):
        lines += _shipped(size, lookups)
    notes = (
        "Hops are requests in a row until the closest peer has answered. Lookup and tables are the shipped ones.",
        "The published values are for one path. As shipped, two disjoint paths share the concurrency of ten: about as "
        "many requests, and no hostile contact can spoil the whole lookup. Full tables are what long-lived peers "
        "have; one that has just joined knows fewer.",
    )
    return Outcome("v1", "Kademlia hops against N and k", tuple(lines), notes)


def measure(size: int, k: int, alpha: int, paths: int, lookups: int) -> list["Measured"]:
    """Lookups of random ids from random peers, each answer one hop long."""
    network = StaticNetwork(size, k, Random(size + k))
    return [_look_up(network, alpha, paths) for _ in range(lookups)]


@dataclass(frozen=True, slots=True)
class Measured:
    """One lookup: hops to the closest peer, requests in all, and hops to each of the k closest."""

    hops: int
    requests: int
    holders: tuple[int, ...]


def _look_up(network: StaticNetwork, alpha: int, paths: int) -> Measured:
    target, asker, k = network.random_target(), network.random_peer(), network.bucket_size
    seeds = network.known_to(asker, target, k)
    lookup = Lookup(target, seeds, own=asker.peer, count=k, concurrency=alpha, paths=paths, stall_s=UNBOUNDED_S)
    done = walk(lookup, seeds, lambda one: network.known_to(one, target, k), lambda _: HOP_S)
    truth = [contact.peer for contact in network.true_closest(target, k + 1) if contact.peer != asker.peer][:k]
    holders = tuple(done.hops.get(peer, UNFOUND) for peer in truth)
    return Measured(holders[0], done.requests, holders)


def _cell(cell: Published, lookups: int) -> list[Line]:
    walks = measure(cell.size, cell.k, cell.alpha, 1, lookups)
    hops = [one.hops for one in walks]
    requests = [one.requests for one in walks]
    label = f"N={cell.size:,} k={cell.k} alpha={cell.alpha}"
    return [
        Line(f"{label}, hops", fmean(hops), cell.hops, _error(hops) + 0.05),
        Line(f"{label}, hops p95", _p95(hops), cell.hops_p95, 1.0),
        Line(f"{label}, requests", fmean(requests), cell.requests, _error(requests) + REQUESTS_WITHIN * cell.requests),
    ]


def _field(lookups: int) -> Line:
    walks = measure(FIELD_SIZE, FIELD_K, 3, 1, lookups)
    found = [hops <= FIELD_HOPS for one in walks for hops in one.holders]
    label = f"N={FIELD_SIZE:,} k={FIELD_K}, holders within {FIELD_HOPS} hops"
    return Line(label, fmean(found), FIELD_SHARE, 1 - FIELD_SHARE)


def _shipped(size: int, lookups: int) -> list[Line]:
    walks = measure(size, BUCKET_SIZE, LOOKUP_CONCURRENCY, LOOKUP_PATHS, lookups)
    label = f"N={size:,} as shipped"
    return [
        Line(f"{label}, hops", fmean(one.hops for one in walks)),
        Line(f"{label}, requests", fmean(one.requests for one in walks)),
    ]


def _p95(values: list[int]) -> float:
    return quantiles(values, n=20, method="inclusive")[-1]


def _error(values: list[int]) -> float:
    return SIGMAS * stdev(values) / math.sqrt(len(values))
