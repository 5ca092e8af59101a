"""V6: how often Sybils near a key hide its records, against their number, by the shipped lookup.

The attacker makes keys until enough of their ids lie nearest to the directory key. Its peers accept records and give
none, and answer every lookup with one another. Published: provider records of IPFS, in the live network (about 250
trials each). Here the network is static and everybody is reachable.
"""

import math
from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from heapq import nsmallest
from random import Random

from dht.keys import directory_key, distance
from dht.lookup import Lookup
from protocol.ids import PeerId, node_id_of
from protocol.limits import BUCKET_SIZE, LOOKUP_PATHS
from protocol.messages.dht import Contact
from simulations.experiments.outcome import Line, Outcome
from simulations.experiments.static_network import StaticNetwork, contact_named, walk
from simulations.run import run as simulate
from simulations.scenario import with_value
from simulations.scenarios import shipped

EXPECTED = {15: 0.184, 20: 0.687, 25: 0.776, 30: 0.844, 35: 0.939, 40: 0.972, 45: 0.992}
"""Sybils: the share of lookups that were eclipsed in IPFS without a defence."""
COUNTS_QUICK = (15, 20, 45)
HONEST_QUICK, HONEST_FULL = 300, 1_000
TRIALS_QUICK, TRIALS_FULL = 6, 12
KEYS_MADE_PER_PEER = 150
"""Keys that the attacker makes for each honest peer, so that the nearest of them lie nearer than the honest."""
ALARM_KL = 0.94
ALARM_FOUND, ALARM_FALSE = 0.936, 0.044
WITHIN = 0.1
WIDE = 4 * BUCKET_SIZE
"""Peers that a lookup looks for, and stores at, when it is widened against a crowd of Sybils."""
WIDE_COUNTS = (20, 45)
WHOLE_COUNTS = (0, 20, 30)
WHOLE_SEED = 1
ANSWER_S = 0.1
_STEP = (
    "a static network finds exactly the 20 closest: fewer than 20 Sybils leave an honest holder that is always "
    "found, 20 leave none; in the live network both sides find only most of them"
)


@dataclass(frozen=True, slots=True)
class Attack:
    """Shares of trials in which nothing was found, and in which the publisher could tell by the density."""

    eclipsed: float
    alarms: float


def run(quick: bool) -> Outcome:
    """Eclipse with one path and with the shipped disjoint paths, and the density alarm."""
    honest = HONEST_QUICK if quick else HONEST_FULL
    trials = TRIALS_QUICK if quick else TRIALS_FULL
    made = _Made(KEYS_MADE_PER_PEER * honest)
    lines: list[Line] = []
    for count in COUNTS_QUICK if quick else EXPECTED:
        for paths in sorted({1, LOOKUP_PATHS}):
            attack = measure(made, honest, count, paths, trials)
            label = f"{count} Sybils, {paths} path{'s'[: paths - 1]}"
            lines.append(Line(f"{label}: eclipsed", attack.eclipsed, EXPECTED[count], WITHIN, _STEP))
        if count in WIDE_COUNTS:
            wide = measure(made, honest, count, LOOKUP_PATHS, trials, width=WIDE)
            lines.append(Line(f"{count} Sybils, lookups for {WIDE} peers: eclipsed", wide.eclipsed))
            within = 1 - ALARM_FOUND
            lines.append(Line(f"{count} Sybils: seen by the density alarm", attack.alarms, ALARM_FOUND, within, _SMALL))
    calm = measure(made, honest, 0, LOOKUP_PATHS, 4 * trials)
    lines.append(Line("no Sybils: eclipsed", calm.eclipsed, 0.0))
    lines.append(Line("no Sybils: false alarms", calm.alarms, ALARM_FALSE, WITHIN))
    if not quick:
        lines += [line for count in WHOLE_COUNTS for line in _whole(count)]
    notes = (
        f"{honest:,} honest peers; the attacker made {KEYS_MADE_PER_PEER * honest:,} keys for each directory key.",
        f"Disjoint paths ({LOOKUP_PATHS} in the shipped lookup) keep a hostile peer from steering a lookup, but all "
        "end in the same place: they do not help against who owns that place. Nor does the split of a key into "
        "shards, which a search follows only when the holders of the key itself say that it is split.",
        "Whole peers (full form only): the shipped peers in the scenario `eclipse`, with 40 workers; from 20 "
        "Sybils on a submitter finds few of them, and much is left to its own machine.",
        f"Lookups for {WIDE} peers, and the density alarm that could call for them, are measured here and not "
        "shipped. They raise the number of Sybils needed, and cost up to 200 requests. The alarm is the divergence "
        "(Kullback-Leibler) of the common prefix lengths of the closest peers found from those expected in a network "
        "of this size.",
    )
    return Outcome("v6", "eclipse of a key by Sybils", tuple(lines), notes)


def _whole(sybils: int) -> list[Line]:
    """The same attack on whole peers in a simulated network: what it costs who submits a job."""
    scenario = with_value(shipped("eclipse"), "adversary.count", str(sybils))
    result = simulate(scenario, WHOLE_SEED)
    label = f"whole peers, {sybils} Sybils"
    found = max(float(str(row["workers_found"])) for row in result.tables["jobs"])
    return [Line(f"{label}: job s", result.figures["makespan_s"]), Line(f"{label}: workers found in all", found)]


_SMALL = "few trials: the published range is 93.6 to 99.6 %"


class _Made:
    """The keys that the attacker has made, by id."""

    def __init__(self, count: int) -> None:
        contacts = (contact_named(f"sybil-{number}") for number in range(count))
        found = sorted((int.from_bytes(node_id_of(one.peer)), one) for one in contacts)
        self._ids = [one for one, _ in found]
        self._contacts = [contact for _, contact in found]

    def nearest(self, key: bytes, count: int) -> list[Contact]:
        """The closest to a key; looked for among its neighbours by value, which hold them but for rare keys."""
        around = bisect_left(self._ids, int.from_bytes(key))
        near = self._contacts[max(0, around - 8 * count) : around + 8 * count]
        return nsmallest(count, near, key=lambda one: distance(key, node_id_of(one.peer)))


def measure(
    made: _Made, honest: int, sybils: int, paths: int, trials: int, *, width: int = BUCKET_SIZE, seed: int = 11
) -> Attack:
    """Publish under a directory key and look for the record, once per trial, each with a key of its own."""
    random = Random(seed)
    eclipsed = alarms = 0
    for trial in range(trials):
        key = directory_key(f"runtime:{trial}")
        hostile = made.nearest(key, sybils)
        network = StaticNetwork(honest, BUCKET_SIZE, random, extra=hostile)
        names = {one.peer for one in hostile}
        publisher, searcher = random.sample([one for one in network.contacts if one.peer not in names], 2)
        closest, _ = _look_up(network, key, publisher, hostile, paths, width)
        holders = {one.peer for one in closest} - names
        _, answered = _look_up(network, key, searcher, hostile, paths, width)
        eclipsed += not holders & answered
        alarms += density_divergence(key, closest[:BUCKET_SIZE], honest) > ALARM_KL
    return Attack(eclipsed / trials, alarms / trials)


def _look_up(
    network: StaticNetwork, key: bytes, asker: Contact, hostile: Sequence[Contact], paths: int, width: int
) -> tuple[tuple[Contact, ...], set[PeerId]]:
    """The closest that answered, and all that answered."""
    names = {one.peer for one in hostile}
    answered: set[PeerId] = set()

    def answer(contact: Contact) -> Sequence[Contact]:
        answered.add(contact.peer)
        return hostile[:BUCKET_SIZE] if contact.peer in names else network.known_to(contact, key, BUCKET_SIZE)

    seeds = network.known_to(asker, key, 4 * width)
    done = walk(Lookup(key, seeds, own=asker.peer, paths=paths, count=width), seeds, answer, lambda _: ANSWER_S)
    return done.closest, answered


def density_divergence(key: bytes, closest: Sequence[Contact], peers: int) -> float:
    """Divergence, in nats, of the common prefix lengths of the closest peers from those of `peers` random ids.

    (Sridhar et al., NDSS 2024.) Of N random ids N / 2**(d+1) share exactly d bits with a key; the closest ones are
    those that share most.
    """
    seen = Counter(160 - distance(key, node_id_of(one.peer)).bit_length() for one in closest)
    expected = _expected_prefixes(len(closest), peers)
    total = sum(seen.values())
    return sum(n / total * math.log(n / total / expected.get(bits, _RARE)) for bits, n in seen.items())


_RARE = 1e-6


def _expected_prefixes(count: int, peers: int) -> dict[int, float]:
    """The share of the `count` closest of `peers` random ids that have each common prefix length, on average."""
    expected: dict[int, float] = {}
    deeper = float(count)
    edge = math.log2(peers / count)
    for bits in range(int(edge), 160):
        inside = min(float(count), peers / 2.0**bits)
        below = min(float(count), peers / 2.0 ** (bits + 1))
        expected[bits] = (inside - below) / deeper
    return expected
