"""The simulated network: delays per pair, uplinks with queues, loss, partitions, and a tap on every message.

It decides when what is sent arrives; hosts, streams and dial time-outs are those of `memory_host.py`.
A lost message comes one retransmission later, since streams are reliable. A partition is silent, as packets
that vanish are: what is sent over it comes after the healing, and streams over it break when the keep-alive of
the connection would have noticed.
"""

import math
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from functools import lru_cache
from random import Random

import trio

from protocol.ids import PeerId
from simulations.memory_host import MemoryHost
from simulations.models.latency import LatencyModel
from simulations.posting_host import PostingNetwork

TICK_S = 0.001
"""What arrives within a millisecond arrives together: a resolution that no result of a run depends on."""
RETRANSMISSION_S_MIN = 0.2
"""The least time until TCP sends a lost segment again (Linux)."""
SILENCE_S_MAX = 10.0
"""How long a connection over a cut lives: interval and time-out of the keep-alive in `peer/libp2p_host.py`."""
DELAYS_CACHED_MAX = 1 << 13
HEADER_BYTES = 60
"""What TCP, IP and Noise add to a message, for bandwidth."""

Tap = Callable[[PeerId, PeerId, str, bytes], None]
"""Sender, receiver, protocol and bytes of everything that is sent."""


@dataclass(frozen=True, slots=True)
class LinkRules:
    """What holds for all links. No bandwidth means no limit."""

    bandwidth_bytes_per_s: float = 0.0
    loss: float = 0.0


class SimulatedNetwork(PostingNetwork):
    """Peers take part by `number_of`, which is what the latency model knows them by."""

    def __init__(
        self, nursery: trio.Nursery, latency: LatencyModel, rules: LinkRules, random: Random, tap: Tap
    ) -> None:
        super().__init__(nursery, tick_s=TICK_S)
        self._one_way_s = lru_cache(maxsize=DELAYS_CACHED_MAX)(latency.one_way_s)
        self._rules = rules
        self._random = random
        self._tap = tap
        self._numbers: dict[PeerId, int] = {}
        self._uplink_free_at: dict[PeerId, float] = {}
        self._island: frozenset[PeerId] = frozenset()
        self._heals_at = -math.inf
        self.bytes_sent = 0

    def enroll(self, peer: PeerId, number: int) -> None:
        """From now on the latency model knows this peer by its number."""
        self._numbers[peer] = number

    def delay_s(self, one: PeerId, other: PeerId) -> float:
        """See `MemoryNetwork`."""
        first, second = self._numbers.get(one), self._numbers.get(other)
        # Whoever dials an address at which nobody was ever known waits as long as for itself: not at all.
        if first is None or second is None or first == second:
            return 0.0
        return self._one_way_s(min(first, second), max(first, second))

    def carry(self, sender: PeerId, receiver: PeerId, protocol: str, data: bytes) -> float:
        """See `MemoryNetwork`."""
        if data:
            self._tap(sender, receiver, protocol, data)
            self.bytes_sent += len(data)
        leaves_at = self._leaves_at(sender, len(data) + HEADER_BYTES)
        if self.is_cut(sender, receiver):
            leaves_at = max(leaves_at, self._heals_at)
        delay_s = self.delay_s(sender, receiver)
        if self._rules.loss and self._random.random() < self._rules.loss:
            delay_s += max(RETRANSMISSION_S_MIN, 3 * delay_s)
        return leaves_at + delay_s

    def is_cut(self, one: PeerId, other: PeerId) -> bool:
        """See `MemoryNetwork`."""
        if self._island and (one in self._island) != (other in self._island):
            return True
        return super().is_cut(one, other)

    async def part(self, island: Collection[PeerId], until: float) -> None:
        """Cut some peers off from all others until a virtual time; returns when it is healed."""
        self._island = frozenset(island)
        self._heals_at = until
        noticed_at = trio.current_time() + SILENCE_S_MAX
        if noticed_at < until:
            await trio.sleep_until(noticed_at)
            for host in self.hosts():
                if host.peer_id in self._island:
                    self._break_links_over_the_cut(host)
        await trio.sleep_until(until)
        self._island = frozenset()

    def heal_all(self) -> None:
        """No more loss; partitions have ended by then, as their times say."""
        self._rules = replace(self._rules, loss=0.0)

    def _break_links_over_the_cut(self, host: MemoryHost) -> None:
        for other in host.linked_hosts():
            if other.peer_id not in self._island:
                host.unlink(other, "the other side fell silent", lose=True)

    def _leaves_at(self, sender: PeerId, size_bytes: int) -> float:
        """When the last byte is on its way: messages of one peer queue for its uplink."""
        now = trio.current_time()
        if not self._rules.bandwidth_bytes_per_s:
            return now
        begins_at = max(now, self._uplink_free_at.get(sender, now))
        self._uplink_free_at[sender] = begins_at + size_bytes / self._rules.bandwidth_bytes_per_s
        return self._uplink_free_at[sender]
