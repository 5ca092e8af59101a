"""Requests that are posted instead of sent on streams: what they cost in virtual time, and how they fail."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest
import trio
from trio.testing import MockClock

from protocol.errors import RemoteError, Unavailable
from protocol.ids import PeerId
from protocol.limits import DIAL_TIMEOUT_S, REQUEST_TIMEOUT_S
from protocol.network import Caller
from protocol.signing import Identity
from simulations.memory_host import MemoryHost, open_memory_network
from simulations.posting_host import CONNECTIONS_MAX, PostingHost, PostingNetwork

ASK = "/parallel-peer/ask/1"
ONE_WAY_S = 0.05


class Yes:
    def answer(self, caller: Caller, request: bytes) -> bytes:
        return b"yes"

    def on_breach(self, peer: PeerId, error: RemoteError) -> None:
        raise AssertionError(error)


class Town:
    def __init__(self, network: PostingNetwork) -> None:
        self.network = network
        self.made = 0

    def host(self, *, reachable: bool = True) -> PostingHost:
        self.made += 1
        host = self.network.host(Identity(self.made.to_bytes(32, "big")), reachable=reachable)
        assert isinstance(host, PostingHost)
        host.answer(ASK, Yes())
        return host


@asynccontextmanager
async def town() -> AsyncIterator[Town]:
    async with open_memory_network(PostingNetwork, latency_s=ONE_WAY_S) as network:
        yield Town(network)  # type: ignore[arg-type]


async def seconds(asker: MemoryHost, other: MemoryHost) -> float:
    """How long a request takes until it is answered or fails."""
    started_at = trio.current_time()
    with suppress(Unavailable):
        assert await asker.request(other.peer_id, ASK, b"?", bytes, [other.own_address]) == b"yes"
    return trio.current_time() - started_at


async def test_the_first_request_connects_and_the_next_do_not(autojump_clock: MockClock) -> None:
    async with town() as made:
        alice, bob = made.host(), made.host()
        assert await seconds(alice, bob) == pytest.approx(6 * ONE_WAY_S)
        assert await seconds(alice, bob) == pytest.approx(2 * ONE_WAY_S)


async def test_connections_are_bounded(autojump_clock: MockClock) -> None:
    async with town() as made:
        alice, bob = made.host(), made.host()
        await seconds(alice, bob)
        for _ in range(CONNECTIONS_MAX):
            await seconds(alice, made.host())
        assert await seconds(alice, bob) == pytest.approx(6 * ONE_WAY_S)


async def test_packets_that_vanish_cost_a_time_out_and_a_dead_host_none(autojump_clock: MockClock) -> None:
    async with town() as made:
        alice, bob, hidden = made.host(), made.host(), made.host(reachable=False)
        assert await seconds(alice, hidden) == pytest.approx(DIAL_TIMEOUT_S)
        await seconds(alice, bob)
        made.network.kill(bob)
        assert await seconds(alice, bob) < DIAL_TIMEOUT_S, "its address refuses"


async def test_who_dies_with_a_request_on_its_way_does_not_answer_it(autojump_clock: MockClock) -> None:
    async with town() as made, trio.open_nursery() as nursery:
        alice, bob = made.host(), made.host()
        await seconds(alice, bob)
        failed_after: list[float] = []

        async def ask() -> None:
            failed_after.append(await seconds(alice, bob))

        nursery.start_soon(ask)
        await trio.sleep(ONE_WAY_S / 2)
        made.network.kill(bob)
        await trio.sleep(REQUEST_TIMEOUT_S)
        assert failed_after == [pytest.approx(2 * ONE_WAY_S)]


async def test_whom_nobody_can_dial_is_asked_over_the_connection_that_it_made(autojump_clock: MockClock) -> None:
    async with town() as made:
        server, hidden = made.host(), made.host(reachable=False)
        await seconds(hidden, server)
        assert await seconds(server, hidden) == pytest.approx(2 * ONE_WAY_S)
        made.network.kill(hidden)
        with pytest.raises(Unavailable):
            await server.request(hidden.peer_id, ASK, b"?", bytes)


async def test_streams_use_such_a_connection_too(autojump_clock: MockClock) -> None:
    async with town() as made:
        server, hidden = made.host(), made.host(reachable=False)
        got = trio.Event()

        async def take(stream: object) -> None:
            got.set()

        hidden.serve("/x/1", take)  # type: ignore[arg-type]
        with pytest.raises(Unavailable):
            await server.open_stream(hidden.peer_id, "/x/1")
        await seconds(hidden, server)
        await server.open_stream(hidden.peer_id, "/x/1")
        await got.wait()
