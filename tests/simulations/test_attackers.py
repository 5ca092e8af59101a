"""Attackers of the DHT: what they do to a small network of shipped peers."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from random import Random

import trio
import trio.testing

from dht.keys import directory_key, distance
from peer.core import NodeSettings, PeerCore
from peer.seam import Seam
from protocol.ids import node_id_of
from protocol.signing import Identity
from protocol.worker_policy import WorkerPolicy
from simulations.attackers import FORGED_PER_FLOODER, TARGET, Attacker, ground, make_attackers
from simulations.local_executor import LocalExecutor
from simulations.memory_host import MemoryNetwork, open_memory_network
from simulations.scenario import Adversary as Settings
from simulations.scenario import Scenario, Workers

KEY = directory_key(TARGET)
HONEST = 12


class Hamlet:
    """A few peers that join through the first of them."""

    def __init__(self, network: MemoryNetwork, nursery: trio.Nursery) -> None:
        self._network = network
        self._nursery = nursery
        self.honest: list[PeerCore] = []

    async def add(self, number: int, attacker: Attacker | None = None) -> PeerCore:
        identity = attacker.identity if attacker else Identity(number.to_bytes(32, "big"))
        host = self._network.host(identity)
        seam = Seam(identity, host, lambda: 1e9 + trio.current_time(), Random(number), LocalExecutor(), None)
        entries = [(core.seam.host.peer_id, core.seam.host.addresses()[0]) for core in self.honest[:1]]
        settings = NodeSettings(policy=WorkerPolicy(slots=0 if attacker else 1), bootstrap=entries)
        core = PeerCore(seam, settings, tell=lambda _: None)
        await self._nursery.start(core.run, *([attacker.part(core)] if attacker else []))
        if attacker is None:
            self.honest.append(core)
        return core


@asynccontextmanager
async def hamlet(kind: str, attackers: int) -> AsyncIterator[tuple[Hamlet, list[PeerCore]]]:
    """The attackers come first after the entry, as they would where it matters."""
    scenario = Scenario(name="x", workers=Workers(count=HONEST), adversary=Settings(kind=kind, count=attackers))
    async with open_memory_network(latency_s=0.01) as network, trio.open_nursery() as nursery:
        made = Hamlet(network, nursery)
        await made.add(1)
        bad = [await made.add(100 + n, one) for n, one in enumerate(make_attackers(scenario, Random(3)))]
        for number in range(2, HONEST + 1):
            await made.add(number)
        await trio.sleep(60)
        yield made, bad
        nursery.cancel_scope.cancel()


def test_a_ground_identity_lies_near_the_key() -> None:
    near = distance(KEY, node_id_of(ground(KEY, 64, Random(1)).peer_id))
    others = [distance(KEY, node_id_of(Identity(Random(n).randbytes(32)).peer_id)) for n in range(64)]
    assert sum(other < near for other in others) <= 5


def test_other_kinds_have_no_attackers() -> None:
    assert make_attackers(Scenario(name="x", adversary=Settings(kind="constant", count=9)), Random(1)) == []


async def test_sybils_promise_to_keep_records_and_keep_none(autojump_clock: trio.testing.MockClock) -> None:
    async with hamlet("sybils", 6) as (made, sybils):
        asker = made.honest[-1]
        placed = await asker.directory.publish(asker.capability(10**15))
        assert placed > 0 and all(sybil.dht.record_count <= 1 for sybil in sybils), "nothing but their own"
        nearest = await asker.dht.find_closest(KEY)
        assert {contact.peer for contact in nearest[:6]} == {sybil.seam.host.peer_id for sybil in sybils}
        # Fewer than a bucket of them: an honest holder is always among the nearest, so nobody is hidden.
        assert len(await asker.directory.find("python", 64)) == HONEST - 1


async def test_a_flood_of_forged_records_does_not_hide_the_honest(autojump_clock: trio.testing.MockClock) -> None:
    async with hamlet("record_flood", 1) as (made, [_]):
        found = {one.peer for one in await made.honest[-1].directory.find("python", 256)}
        honest = {core.seam.host.peer_id for core in made.honest[:-1]}
        assert honest <= found
        assert 0 < len(found - honest) <= FORGED_PER_FLOODER
