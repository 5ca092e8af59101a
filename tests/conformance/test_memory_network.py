"""What the network in memory can do beyond the common suite, in virtual time."""

import itertools

import pytest
import trio

from protocol.errors import LocalError, Unavailable
from protocol.limits import DIAL_TIMEOUT_S
from protocol.network import Stream
from protocol.signing import Identity
from simulations.memory_host import MemoryHost, MemoryNetwork, open_memory_network

ECHO = "/parallel-peer/echo/1"


async def echo(stream: Stream) -> None:
    while data := await stream.receive():
        await stream.send(data)
    await stream.close()


def host_of(network: MemoryNetwork, number: int, *, reachable: bool = True) -> MemoryHost:
    host = network.host(Identity(number.to_bytes(32, "big")), reachable=reachable)
    host.serve(ECHO, echo)
    return host


def pair_of(network: MemoryNetwork) -> tuple[MemoryHost, MemoryHost]:
    alice, bob = host_of(network, 1), host_of(network, 2)
    alice.add_addresses(bob.peer_id, bob.addresses())
    bob.add_addresses(alice.peer_id, alice.addresses())
    return alice, bob


async def test_latency_is_counted_each_way(autojump_clock) -> None:
    async with open_memory_network(latency_s=0.05) as network:
        alice, bob = pair_of(network)
        stream = await alice.open_stream(bob.peer_id, ECHO)
        assert trio.current_time() == pytest.approx(0.2)
        await stream.send(b"x")
        assert await stream.receive() == b"x"
        assert trio.current_time() == pytest.approx(0.3)
        await alice.open_stream(bob.peer_id, ECHO)
        assert trio.current_time() == pytest.approx(0.4)


async def test_messages_in_flight_overlap(autojump_clock) -> None:
    async with open_memory_network(latency_s=1) as network:
        alice, bob = pair_of(network)
        stream = await alice.open_stream(bob.peer_id, ECHO)
        started_at = trio.current_time()
        for number in range(10):
            await stream.send(bytes([number]))
        await stream.close()
        received = b""
        while part := await stream.receive():
            received += part
        assert received == bytes(range(10))
        assert trio.current_time() - started_at == pytest.approx(2)


async def test_a_cut_link_breaks_streams_and_dials_until_it_heals(autojump_clock) -> None:
    async with open_memory_network() as network:
        alice, bob = pair_of(network)
        stream = await alice.open_stream(bob.peer_id, ECHO)
        network.cut(alice, bob)
        with pytest.raises(Unavailable, match="cut"):
            await stream.receive()
        assert alice.connected_peers() == bob.connected_peers() == []
        started_at = trio.current_time()
        with pytest.raises(Unavailable, match="no answer"):
            await bob.open_stream(alice.peer_id, ECHO)
        assert trio.current_time() - started_at == pytest.approx(DIAL_TIMEOUT_S)
        network.heal(alice, bob)
        assert await bob.open_stream(alice.peer_id, ECHO)


async def test_a_killed_host_takes_its_handlers_with_it(autojump_clock) -> None:
    async with open_memory_network() as network:
        alice, bob = pair_of(network)
        cancelled = trio.Event()

        async def work(stream: Stream) -> None:
            try:
                await trio.sleep_forever()
            finally:
                cancelled.set()

        bob.serve(ECHO, work)
        stream = await alice.open_stream(bob.peer_id, ECHO)
        network.kill(bob)
        await cancelled.wait()
        with pytest.raises(Unavailable, match="killed"):
            await stream.receive()
        with pytest.raises(Unavailable, match="refused"):
            await alice.open_stream(bob.peer_id, ECHO)
        assert bob.addresses() == []


async def test_a_host_behind_a_router_dials_but_is_not_dialled(autojump_clock) -> None:
    async with open_memory_network() as network:
        alice, hidden = host_of(network, 1), host_of(network, 2, reachable=False)
        assert hidden.addresses() == []
        alice.add_addresses(hidden.peer_id, [hidden.own_address])
        with pytest.raises(Unavailable, match="no answer"):
            await alice.open_stream(hidden.peer_id, ECHO)
        hidden.add_addresses(alice.peer_id, alice.addresses())
        await hidden.open_stream(alice.peer_id, ECHO)
        assert await alice.open_stream(hidden.peer_id, ECHO)


async def test_a_host_that_closed_has_its_address_free(autojump_clock) -> None:
    async with open_memory_network() as network:
        async with host_of(network, 1) as host:
            assert network.answering(host.own_address) is host
        assert network.answering(host.own_address) is None


async def test_hosts_are_cheap(autojump_clock) -> None:
    """Two thousand hosts, each with one stream to the next, and no task but the handlers'."""
    async with open_memory_network(latency_s=0.02) as network:
        hosts = [host_of(network, number) for number in range(1, 2001)]
        tasks_before = trio.lowlevel.current_statistics().tasks_living
        for one, other in itertools.pairwise(hosts):
            one.add_addresses(other.peer_id, other.addresses())
        assert trio.lowlevel.current_statistics().tasks_living == tasks_before

        async def talk(one: MemoryHost, other: MemoryHost) -> None:
            stream = await one.open_stream(other.peer_id, ECHO)
            await stream.send(b"x")
            assert await stream.receive() == b"x"
            await stream.close()

        async with trio.open_nursery() as nursery:
            for one, other in itertools.pairwise(hosts):
                nursery.start_soon(talk, one, other)
        assert trio.current_time() == pytest.approx(0.12)


async def test_an_error_in_the_context_comes_out_as_it_is(autojump_clock) -> None:
    with pytest.raises(LocalError, match=r"^mine$"):
        async with open_memory_network():
            raise LocalError("mine")
