"""Whole networks of DHT services in one process, in virtual time."""

from random import Random

import trio
from dht_records import NOW_UNIX_S, capability, identity

from dht.directory import Directory
from dht.service import DhtService
from protocol.errors import RemoteError
from protocol.ids import PeerId
from protocol.messages.dht import Contact
from simulations.memory_host import MemoryHost, MemoryNetwork

LATENCY_S = 0.02


def wall_clock() -> float:
    return NOW_UNIX_S + trio.current_time()


class Peer:
    """A host with its DHT service and directory, and what it complained about."""

    def __init__(self, network: MemoryNetwork, number: int, *, serving: bool) -> None:
        self.number = number
        self.identity = identity(number)
        self.host: MemoryHost = network.host(self.identity)
        self.complaints: list[tuple[PeerId, RemoteError]] = []
        self.clock_ahead_s = 0.0
        random = Random(number)
        self.dht = DhtService(
            self.host,
            identity=self.identity,
            random=random,
            wall_clock=self.wall_clock,
            serving=serving,
            on_remote_error=lambda peer, error: self.complaints.append((peer, error)),
        )
        self.directory = Directory(self.dht, self.identity, random=random, wall_clock=self.wall_clock)
        self.scope = trio.CancelScope()

    def wall_clock(self) -> float:
        return wall_clock() + self.clock_ahead_s

    @property
    def contact(self) -> Contact:
        return Contact(peer=self.host.peer_id, addresses=(self.host.own_address,))

    async def publish(self) -> None:
        """Offer Python for as long as the network runs, as a peer does that has joined."""
        await self.directory.run(lambda sequence: capability(self.number, sequence=sequence, now_unix_s=wall_clock()))

    async def run(self, *, task_status: object) -> None:
        with self.scope:
            await self.dht.run(task_status=task_status)  # type: ignore[arg-type]


class DhtNetwork:
    """Makes peers; the first is the one through which the others join."""

    def __init__(self, memory: MemoryNetwork, nursery: trio.Nursery) -> None:
        self.memory = memory
        self.nursery = nursery
        self.peers: list[Peer] = []

    async def add(self, count: int, *, serving: bool = True) -> list[Peer]:
        new = [Peer(self.memory, len(self.peers) + number, serving=serving) for number in range(count)]
        for peer in new:
            await self.nursery.start(peer.run)
        self.peers += new
        for peer in new:
            await peer.dht.bootstrap([self.peers[0].contact])
        await trio.sleep(1)
        return new

    async def add_at_once(self, count: int) -> None:
        """As after a power cut: everybody joins at the same moment through one peer that knows nobody."""
        self.peers += [Peer(self.memory, number, serving=True) for number in range(count)]
        for peer in self.peers:
            await self.nursery.start(peer.run)
        async with trio.open_nursery() as nursery:
            for peer in self.peers[1:]:
                nursery.start_soon(peer.dht.bootstrap, [self.peers[0].contact])

    async def join_and_publish_at_once(self, count: int) -> None:
        """Everybody starts at the same moment and offers what it has as soon as it has joined."""
        self.peers += [Peer(self.memory, number, serving=True) for number in range(count)]
        for peer in self.peers:
            await self.nursery.start(peer.run)
            self.nursery.start_soon(self._join_and_publish, peer)

    async def _join_and_publish(self, peer: Peer) -> None:
        await peer.dht.bootstrap([self.peers[0].contact])
        await peer.publish()

    def kill(self, peer: Peer) -> None:
        """Its process dies; nothing answers at its address."""
        peer.scope.cancel()
        self.memory.kill(peer.host)

    def silence(self, peer: Peer) -> None:
        """Packets from and to it vanish: to all others it is silently dead."""
        for other in self.peers:
            if other is not peer:
                self.memory.cut(peer.host, other.host)
