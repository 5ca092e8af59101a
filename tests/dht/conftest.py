"""A network of DHT services for a test."""

from collections.abc import AsyncIterator

import pytest
import trio
from dht_network import LATENCY_S, DhtNetwork

from simulations.memory_host import open_memory_network


@pytest.fixture
async def network(nursery: trio.Nursery, autojump_clock: trio.testing.MockClock) -> AsyncIterator[DhtNetwork]:
    async with open_memory_network(latency_s=LATENCY_S) as memory:
        made = DhtNetwork(memory, nursery)
        yield made
        for peer in made.peers:
            peer.dht.check_invariants()
            peer.scope.cancel()
