"""A network of hosts for a test, once over each kind of host."""

from collections.abc import AsyncIterator
from contextlib import ExitStack

import pytest
import trio
from conformance_hosts import DIAL_TIMEOUT_S, Libp2pHosts, MemoryHosts, Network, PostingHosts


@pytest.fixture(params=[MemoryHosts, PostingHosts, Libp2pHosts], ids=["memory", "posting", "libp2p"])
async def network(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Network]:
    for module in ("peer.libp2p_host", "peer.libp2p_fixes_dial", "simulations.memory_host", "simulations.posting_host"):
        monkeypatch.setattr(f"{module}.DIAL_TIMEOUT_S", DIAL_TIMEOUT_S)
    with ExitStack() as stack:
        async with trio.open_nursery() as nursery:
            yield request.param(nursery, stack)
            nursery.cancel_scope.cancel()
