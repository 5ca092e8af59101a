"""V5 and V7: how long a record outlives the churn of its holders, without anybody storing it again.

Sessions are Weibull with the published parameters; a peer met at a random moment has the residual life of
renewal theory. Records lie at the peers that the shipped lookup finds closest; later the shipped lookup looks for
them with tables that nobody has repaired, which is the worst case.
"""

import math
from random import Random

from dht.lookup import Lookup
from dht.patience import STALL_S
from protocol.ids import NODE_ID_BYTES, PeerId
from protocol.limits import BUCKET_SIZE, RECORD_LIFETIME_S, REQUEST_TIMEOUT_S
from protocol.messages.dht import Contact
from simulations.experiments.outcome import Line, Outcome
from simulations.experiments.static_network import StaticNetwork, walk
from simulations.formulas import record_survival, weibull_mean, weibull_residual_survival
from simulations.models.churn import PRESETS

MINUTE_S = 60.0
CHURN_MIN = {name: (shape, scale_s / MINUTE_S) for name, (shape, scale_s) in PRESETS.items()}
"""V5: shape, and scale in minutes (Stutzbach and Rejaie 2006)."""
TIMES_MIN = (10, 60, 720, 2880)
HOLDERS = (1, 8, BUCKET_SIZE)
PEERS_QUICK, PEERS_FULL = 300, 1_000
RECORDS_QUICK, RECORDS_FULL = 20, 400
DRAWS_QUICK, DRAWS_FULL = 4_000, 100_000
ANSWER_S = 0.1
SIGMAS = 4.0
FEW_LEFT = 0.5
_UNREPAIRED = "almost all contacts in the unrepaired tables are dead too, so some ways to the last holder are cut"


def residual_life_min(random: Random, shape: float, scale_min: float) -> float:
    """How long a peer that is met at a random moment stays, in minutes.

    A session that covers a random moment is drawn in proportion to its length (for Weibull: a power of a gamma
    variate), and the moment lies anywhere in it.
    """
    session = scale_min * math.pow(random.gammavariate(1 + 1 / shape, 1.0), 1 / shape)
    return session * random.random()


def run(quick: bool) -> Outcome:
    """Residual lives against their formula, then records against V7, then records looked for."""
    random = Random(7)
    peers = PEERS_QUICK if quick else PEERS_FULL
    network = StaticNetwork(peers, BUCKET_SIZE, random)
    lines: list[Line] = []
    for name, (shape, scale) in CHURN_MIN.items():
        lines += _survivals(name, shape, scale, DRAWS_QUICK if quick else DRAWS_FULL, random)
        lines += _looked_for(network, name, RECORDS_QUICK if quick else RECORDS_FULL)
    means = ", ".join(f"{name} {weibull_mean(*parameters):.0f} min" for name, parameters in CHURN_MIN.items())
    notes = (
        f"Mean sessions: {means}. A peer met at random stays longer: long sessions are met more often.",
        f"The owner stores its record again at half of {RECORD_LIFETIME_S:.0f} s: 10 min is the longest that it has to "
        "outlive. The later times say what would happen without that.",
        f"Looked for: {peers:,} peers, full tables from the beginning that nobody repairs, nobody new; a request to "
        f"a dead peer fails after {REQUEST_TIMEOUT_S:.0f} s.",
    )
    return Outcome("v7", "survival of a record under churn", tuple(lines), notes)


def _survivals(name: str, shape: float, scale_min: float, draws: int, random: Random) -> list[Line]:
    lines = []
    for time_min in TIMES_MIN:
        alive = weibull_residual_survival(time_min, shape, scale_min)
        for holders in HOLDERS:
            survived = sum(
                any(residual_life_min(random, shape, scale_min) > time_min for _ in range(holders))
                for _ in range(draws // holders)
            )
            expected = record_survival(alive, holders)
            trials = draws // holders
            within = SIGMAS * (expected * (1 - expected) / trials) ** 0.5 + 1 / trials
            label = f"{name}, {time_min} min, k={holders}"
            lines.append(Line(label, survived / trials, expected, within))
    return lines


def _looked_for(network: StaticNetwork, name: str, records: int) -> list[Line]:
    lines = []
    shape, scale = CHURN_MIN[name]
    for time_min in TIMES_MIN[:3]:
        alive, found = look_for(network, records, time_min, shape, scale)
        expected = record_survival(weibull_residual_survival(time_min, shape, scale), BUCKET_SIZE)
        within = SIGMAS * (expected * (1 - expected) / records) ** 0.5 + 1 / records
        lines.append(Line(f"{name}, {time_min} min, a holder of the shipped lookup lives", alive, expected, within))
        why = _UNREPAIRED if expected < FEW_LEFT else ""
        lines.append(Line(f"{name}, {time_min} min, and the shipped lookup finds it", found, alive, 0.0, why))
    return lines


def look_for(
    network: StaticNetwork, records: int, time_min: float, shape: float, scale_min: float, seed: int = 3
) -> tuple[float, float]:
    """Shares of records that a holder still has after `time_min`, and that a living peer then finds."""
    random = Random(seed)
    kept = found = 0
    for _ in range(records):
        dead = {one.peer for one in network.contacts if residual_life_min(random, shape, scale_min) <= time_min}
        living = [one for one in network.contacts if one.peer not in dead]
        key = random.randbytes(NODE_ID_BYTES)
        holders = {one.peer for one in _closest(network, key, random.choice(network.contacts), set())[0]}
        kept += not holders <= dead
        asked = _closest(network, key, random.choice(living), dead)[1] if living else set()
        found += bool(holders & asked)
    return kept / records, found / records


def _closest(
    network: StaticNetwork, key: bytes, asker: Contact, dead: set[PeerId]
) -> tuple[tuple[Contact, ...], set[PeerId]]:
    """The closest that answered, and all that answered."""
    answered: set[PeerId] = set()

    def answer(contact: Contact) -> list[Contact] | None:
        if contact.peer in dead:
            return None
        answered.add(contact.peer)
        return network.known_to(contact, key, BUCKET_SIZE)

    seeds = network.known_to(asker, key, 4 * BUCKET_SIZE)
    lookup = Lookup(key, seeds, own=asker.peer, stall_s=STALL_S)
    done = walk(lookup, seeds, answer, lambda one: REQUEST_TIMEOUT_S if one.peer in dead else ANSWER_S)
    return done.closest, answered
