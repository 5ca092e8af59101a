"""Attackers of the DHT that are peers of their own: `adversary.count` of them, beside the workers.

Each joins with the shipped code and then attacks through the wire alone, as a part of its peer.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING

import trio

from dht.keys import directory_key, distance
from peer.core import Part, PeerCore
from protocol.capability import Capability, RuntimeOffer
from protocol.errors import RemoteError
from protocol.ids import PeerId, node_id_of
from protocol.limits import CONTACTS_PER_REPLY_MAX, RECORD_LIFETIME_S
from protocol.messages.dht import (
    DHT_CODEC,
    Contact,
    DhtMessage,
    Failed,
    FindNode,
    FindRecords,
    Nodes,
    Ping,
    Pong,
    Records,
    Store,
    Stored,
)
from protocol.network import DHT_PROTOCOL, Caller
from protocol.signing import Identity
from simulations.scenario import Scenario

if TYPE_CHECKING:
    from trio_typing import TaskStatus

TARGET = "runtime:python"
"""The directory name that is attacked: without it nobody finds a worker."""
GRIND_TRIES_PER_PEER = 4
"""Keys made per peer of the network for each Sybil: it then lies nearer than all but a fraction of them."""
FORGED_PER_FLOODER = 100
FLOOD_PAUSE_S = 60.0


@dataclass(frozen=True, slots=True)
class Attacker:
    """One attacking peer: who it is, and what it does beside running a peer that offers nothing."""

    identity: Identity
    attack: Callable[[PeerCore], Awaitable[None]]

    def part(self, core: PeerCore) -> Part:
        """The attack as a part of its peer."""

        async def run(*, task_status: "TaskStatus[None]" = trio.TASK_STATUS_IGNORED) -> None:
            task_status.started()
            await self.attack(core)
            await trio.sleep_forever()

        return Part("the attack", run)


def make_attackers(scenario: Scenario, random: Random) -> list[Attacker]:
    """The attackers that a scenario asks for: none where its adversary is of another kind."""
    make = ATTACKERS.get(scenario.adversary.kind)
    return make(scenario, random) if make else []


def _sybils(scenario: Scenario, random: Random) -> list[Attacker]:
    tries = GRIND_TRIES_PER_PEER * max(1, scenario.workers.count)
    key = directory_key(TARGET)
    ring = SybilRing()
    return [Attacker(ground(key, tries, random), ring.join) for _ in range(scenario.adversary.count)]


def _flooders(scenario: Scenario, random: Random) -> list[Attacker]:
    children = [Random(random.getrandbits(64)) for _ in range(scenario.adversary.count)]
    return [Attacker(Identity(child.randbytes(32)), Flood(child).run) for child in children]


ATTACKERS: Mapping[str, Callable[[Scenario, Random], list[Attacker]]] = {
    "record_flood": _flooders,
    "sybils": _sybils,
}


def ground(key: bytes, tries: int, random: Random) -> Identity:
    """Of so many new identities the one nearest to a key: ids cannot be chosen, but many can be made."""
    seeds = (random.randbytes(32) for _ in range(tries))
    return min(map(Identity, seeds), key=lambda one: distance(key, node_id_of(one.peer_id)))


class SybilRing:
    """Peers around a key that promise to keep records, keep none, find none, and name only one another."""

    def __init__(self) -> None:
        self._members: dict[str, Contact] = {}

    async def join(self, core: PeerCore) -> None:
        """Serve the DHT in this way from now on."""
        host = core.seam.host
        self._members[host.peer_id] = Contact(peer=host.peer_id, addresses=tuple(host.addresses()))
        host.answer(DHT_PROTOCOL, self)
        await trio.lowlevel.checkpoint()

    def answer(self, caller: Caller, request: bytes) -> bytes:
        """See `protocol.network.Answerer`."""
        return DHT_CODEC.encode(self._reply(DHT_CODEC.decode(request)))

    def on_breach(self, peer: PeerId, error: RemoteError) -> None:
        """Nobody is blamed."""

    def _reply(self, request: DhtMessage) -> DhtMessage:
        number = request.request_id
        match request:
            case Ping():
                return Pong(request_id=number)
            case FindNode(target=target):
                return Nodes(request_id=number, contacts=self._nearest(target))
            case FindRecords(key=key):
                return Records(request_id=number, contacts=self._nearest(key))
            case Store():
                return Stored(request_id=number, accepted=True, total_estimate=1)
        return Failed(request_id=number, reason="not a request")

    def _nearest(self, target: bytes) -> tuple[Contact, ...]:
        by_distance = sorted(self._members.values(), key=lambda one: distance(target, node_id_of(one.peer)))
        return tuple(by_distance[:CONTACTS_PER_REPLY_MAX])


class Flood:
    """Signs capability records of peers that do not exist, and stores them under the attacked name."""

    def __init__(self, random: Random) -> None:
        self._forged = [Identity(random.randbytes(32)) for _ in range(FORGED_PER_FLOODER)]

    async def run(self, core: PeerCore) -> None:
        """Store them all again and again, until cancelled."""
        key = directory_key(TARGET)
        while True:
            for identity in self._forged:
                await core.dht.store(key, identity.sign(self._record(identity, core)))
            await trio.sleep(FLOOD_PAUSE_S)

    def _record(self, identity: Identity, core: PeerCore) -> Capability:
        now_unix_s = core.seam.wall_clock()
        return Capability(
            peer=identity.peer_id,
            sequence=int(now_unix_s * 1000),
            expires_at_unix_s=now_unix_s + RECORD_LIFETIME_S,
            addresses=tuple(core.seam.host.addresses()),
            runtimes=(RuntimeOffer(name="python", version="3.11", sandbox="bubblewrap"),),
            slots=256,
            price=0.001,
            speed=10.0,
        )
