"""V2's shape: how long a walk to the closest peers takes where 45.5 % of the contacts cannot be reached.

In IPFS (Trautwein et al., SIGCOMM 2022: k = 20, alpha = 3) publishing takes half a minute although one walk takes
well under a second: the tail is dial time-outs. A textbook lookup with a fixed window shows it; the shipped lookup
does not wait for who is silent.
"""

import heapq
from collections.abc import Callable
from math import exp, log
from random import Random
from statistics import quantiles

from dht.keys import distance
from dht.lookup import Lookup
from protocol.ids import PeerId, node_id_of
from protocol.limits import BUCKET_SIZE, DIAL_TIMEOUT_S
from protocol.messages.dht import Contact
from simulations.experiments.outcome import Line, Outcome
from simulations.experiments.static_network import Answer, StaticNetwork, walk

UNREACHABLE = 0.455
ALPHA_IPFS = 3
WALK_P50_S = 0.622
PUBLISH_S = (33.8, 112.3, 138.1)
PERCENTILES = (50, 90, 95)
ROUND_TRIP_MEDIAN_S, ROUND_TRIP_SIGMA = 0.1, 0.6
PEERS_QUICK, PEERS_FULL = 1_000, 5_000
WALKS_QUICK, WALKS_FULL = 50, 200
_WEBSOCKETS = "IPFS also dials websockets, which time out after 45 s; here each dial ends after 5 s"
_NO_DIALS = (
    "our round trips are an assumption; the published walk ends at the first record, this one goes to the k closest"
)


def run(quick: bool) -> Outcome:
    """Walks of both lookups with everybody reachable and with the published share of unreachable peers."""
    peers, walks = (PEERS_QUICK, WALKS_QUICK) if quick else (PEERS_FULL, WALKS_FULL)
    lines: list[Line] = []
    for shipped in (False, True):
        network = StaticNetwork(peers, BUCKET_SIZE, Random(2))
        for unreachable in (0.0, UNREACHABLE):
            times = measure(network, unreachable, walks, shipped=shipped)
            lines += _lines(times, unreachable, shipped=shipped)
    notes = (
        f"{peers:,} peers; round trips log-normal, median {ROUND_TRIP_MEDIAN_S:g} s; a dial that fails takes "
        f"{DIAL_TIMEOUT_S:g} s; publishing stores at peers that have just answered, one round trip more.",
        "The worst case for ours: the shipped table keeps only peers that answered and drops who fails, and peers that "
        "cannot be dialled never enter it.",
    )
    return Outcome("v2", "walks where 45 % cannot be reached", tuple(lines), notes)


def measure(network: StaticNetwork, unreachable: float, walks: int, *, shipped: bool, seed: int = 5) -> list[float]:
    """Seconds of walks for random ids; the peers that cannot be reached are drawn once."""
    random = Random(seed)
    gone = {one.peer for one in network.contacts if random.random() < unreachable}
    return [_walk(network, gone, random, shipped=shipped) for _ in range(walks)]


def _walk(network: StaticNetwork, gone: set[PeerId], random: Random, *, shipped: bool) -> float:
    target = network.random_target()
    asker = random.choice(network.contacts)
    seeds = network.known_to(asker, target, BUCKET_SIZE)

    def answer(contact: Contact) -> list[Contact] | None:
        return None if contact.peer in gone else network.known_to(contact, target, BUCKET_SIZE)

    def delay(contact: Contact) -> float:
        round_trip_s = exp(random.gauss(log(ROUND_TRIP_MEDIAN_S), ROUND_TRIP_SIGMA))
        return DIAL_TIMEOUT_S if contact.peer in gone else round_trip_s

    if shipped:
        return walk(Lookup(target, seeds, own=asker.peer), seeds, answer, delay).elapsed_s
    return textbook_walk_s(target, seeds, answer, delay, BUCKET_SIZE, ALPHA_IPFS)


def textbook_walk_s(
    target: bytes, seeds: list[Contact], answer: Answer, delay: Callable[[Contact], float], k: int, alpha: int
) -> float:
    """Seconds that a lookup takes which has at most `alpha` requests out and waits for each to end.

    It ends when the k closest that have not failed have all answered (Maymounkov and Mazieres 2002).
    """
    known = {contact.peer: contact for contact in seeds}
    asked: set[PeerId] = set()
    waiting: list[tuple[float, PeerId]] = []
    now = 0.0
    while True:
        nearest = heapq.nsmallest(k, known.values(), key=lambda one: distance(target, node_id_of(one.peer)))
        for contact in [one for one in nearest if one.peer not in asked][: alpha - len(waiting)]:
            asked.add(contact.peer)
            heapq.heappush(waiting, (now + delay(contact), contact.peer))
        if not waiting:
            return now
        now, peer = heapq.heappop(waiting)
        contacts = answer(known[peer])
        if contacts is None:
            del known[peer]
        known |= {one.peer: one for one in contacts or () if one.peer not in asked}


def _lines(times: list[float], unreachable: float, *, shipped: bool) -> list[Line]:
    cuts = quantiles(times, n=100, method="inclusive")
    who = "shipped lookup" if shipped else "textbook, alpha 3"
    label = f"{who}, {unreachable:.1%} unreachable"
    lines = []
    for percentile, published in zip(PERCENTILES, PUBLISH_S, strict=True):
        measured, name = cuts[percentile - 1], f"{label}, p{percentile} s"
        if shipped:
            lines.append(Line(name, measured))
        elif unreachable:
            lines.append(Line(name, measured, published, 0.3 * published, _WEBSOCKETS))
        elif percentile == PERCENTILES[0]:
            lines.append(Line(name, measured, WALK_P50_S, 0.3 * WALK_P50_S, _NO_DIALS))
    return lines
