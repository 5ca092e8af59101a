"""The DHT alone, without workers, directory or jobs: how large a network one process can hold.

Peers join one after another through some that are there, as in a scenario; then lookups of random ids by random
peers are held against the truth.
"""

import heapq
from collections.abc import Callable
from dataclasses import dataclass

import trio

from dht.service import DhtService
from protocol.ids import NODE_ID_BYTES, PeerId, node_number_of
from protocol.limits import BUCKET_SIZE
from protocol.messages.dht import Contact
from simulations.footprint import memory_kib
from simulations.models.latency import make_latency
from simulations.network import LinkRules, SimulatedNetwork
from simulations.scenario import Latency
from simulations.scheduler import run_seeded
from simulations.trace import Trace
from simulations.world import BOOTSTRAP_PEERS_MAX, child, make_identity, wall_clock

LOOKUPS = 200
REST_S = 20.0
"""After the last has joined: their second look around is over."""


@dataclass(frozen=True, slots=True)
class Grown:
    """What came of it. `found_share` is the share of the truly closest peers that lookups found."""

    peers: int
    trace_hash: str
    messages: int
    bytes_sent: int
    kib_per_peer: float
    lookup_s: float
    """Virtual time of a lookup, on average."""
    found_share: float
    exact_share: float
    """Lookups that found all of them."""


class Growth:
    """One network, made for one run. `progress(joined)` is called about every virtual second."""

    def __init__(self, peers: int, seed: int, join_s: float, progress: Callable[[int], None] | None = None) -> None:
        self._peers = peers
        self._seed = seed
        self._join_s = join_s
        self._progress = progress or (lambda joined: None)
        self._trace = Trace(trio.current_time)
        self._numbers: dict[PeerId, int] = {}
        self._services: list[DhtService] = []
        self._contacts: list[Contact] = []
        self._bytes_sent = 0
        self._lookup_s: list[float] = []
        self._found: list[int] = []

    def run(self) -> Grown:
        """Join, rest, look up. Raises `LocalError` when another simulation is going on in this process."""
        before_kib = memory_kib()
        run_seeded(self._main, f"{self._seed}/scheduler")
        return Grown(
            peers=self._peers,
            trace_hash=self._trace.hexdigest(),
            messages=self._trace.events,
            bytes_sent=self._bytes_sent,
            kib_per_peer=(memory_kib() - before_kib) / self._peers,
            lookup_s=sum(self._lookup_s) / len(self._lookup_s),
            found_share=sum(self._found) / (len(self._found) * min(BUCKET_SIZE, self._peers - 1)),
            exact_share=sum(one == min(BUCKET_SIZE, self._peers - 1) for one in self._found) / len(self._found),
        )

    async def _main(self) -> None:
        latency = make_latency(Latency(kind="lognormal"), child(self._seed, "latency"))
        async with trio.open_nursery() as nursery:
            network = SimulatedNetwork(nursery, latency, LinkRules(), child(self._seed, "network"), self._tap)
            joins = child(self._seed, "joins")
            for number, at_s in enumerate(sorted(joins.uniform(0, self._join_s) for _ in range(self._peers))):
                if int(at_s) > int(trio.current_time()):
                    self._progress(number)
                await trio.sleep_until(at_s)
                entries = joins.sample(self._contacts, min(BOOTSTRAP_PEERS_MAX, len(self._contacts)))
                nursery.start_soon(self._join, network, nursery, number, entries)
            await trio.sleep(REST_S)
            await self._look_up_some()
            nursery.cancel_scope.cancel()

    async def _join(
        self, network: SimulatedNetwork, nursery: trio.Nursery, number: int, entries: list[Contact]
    ) -> None:
        identity = make_identity(self._seed, number)
        self._numbers[identity.peer_id] = number
        network.enroll(identity.peer_id, number)
        host = network.host(identity)
        random = child(self._seed, f"peer/{number}")
        dht = DhtService(host, identity=identity, random=random, wall_clock=wall_clock)
        await nursery.start(dht.run)
        self._services.append(dht)
        self._contacts.append(Contact(peer=identity.peer_id, addresses=(host.own_address,)))
        await dht.bootstrap(entries)

    async def _look_up_some(self) -> None:
        random = child(self._seed, "lookups")
        for _ in range(LOOKUPS):
            asker, target = random.choice(self._services), random.randbytes(NODE_ID_BYTES)
            started_at = trio.current_time()
            found = {contact.peer for contact in await asker.find_closest(target)}
            self._lookup_s.append(trio.current_time() - started_at)
            self._found.append(len(found & self._truth(asker.peer_id, int.from_bytes(target))))

    def _truth(self, asker: PeerId, target: int) -> set[PeerId]:
        others = (peer for peer in self._numbers if peer != asker)
        return set(heapq.nsmallest(BUCKET_SIZE, others, key=lambda peer: node_number_of(peer) ^ target))

    def _tap(self, sender: PeerId, receiver: PeerId, protocol: str, data: bytes) -> None:
        self._trace.note("send", self._numbers[sender], self._numbers[receiver], data=data)
        self._bytes_sent += len(data)
