"""The simulated network: what is sent arrives when the models say, in order, and not over a partition."""

from contextlib import asynccontextmanager
from random import Random

import pytest
import trio

from protocol.errors import Unavailable
from protocol.limits import DIAL_TIMEOUT_S
from protocol.network import Stream
from protocol.signing import Identity
from simulations.memory_host import MemoryHost
from simulations.models.latency import ConstantLatency
from simulations.network import HEADER_BYTES, RETRANSMISSION_S_MIN, SILENCE_S_MAX, LinkRules, SimulatedNetwork

ECHO = "/parallel-peer/echo/1"
DELAY_S = 0.05


class Pair:
    """Two hosts, and what alice received back on her stream, with its time."""

    def __init__(self, nursery: trio.Nursery, rules: LinkRules) -> None:
        self.tapped: list[tuple[str, str, str, bytes]] = []
        latency = ConstantLatency(DELAY_S)
        self.network = SimulatedNetwork(nursery, latency, rules, Random(1), lambda *one: self.tapped.append(one))
        self.alice, self.bob = self._host(1), self._host(2)
        self.alice.add_addresses(self.bob.peer_id, self.bob.addresses())

    def _host(self, number: int) -> MemoryHost:
        host = self.network.host(Identity(number.to_bytes(32, "big")))
        self.network.enroll(host.peer_id, number)
        host.serve(ECHO, self._echo)
        return host

    async def _echo(self, stream: Stream) -> None:
        while data := await stream.receive():
            await stream.send(data)

    async def stream(self) -> Stream:
        return await self.alice.open_stream(self.bob.peer_id, ECHO)


@asynccontextmanager
async def pair(rules: LinkRules | None = None):
    async with trio.open_nursery() as nursery:
        yield Pair(nursery, rules or LinkRules())
        nursery.cancel_scope.cancel()


async def round_trip_s(stream: Stream, data: bytes) -> float:
    started_at = trio.current_time()
    await stream.send(data)
    left = len(data)
    while left:
        left -= len(await stream.receive())
    return trio.current_time() - started_at


async def test_latency_and_the_tap(autojump_clock) -> None:
    async with pair() as two:
        assert await round_trip_s(await two.stream(), b"hello") == pytest.approx(2 * DELAY_S)
        alice, bob = two.alice.peer_id, two.bob.peer_id
        assert two.tapped == [(alice, bob, ECHO, b"hello"), (bob, alice, ECHO, b"hello")]
        assert two.network.bytes_sent == 10


async def test_messages_queue_for_the_uplink(autojump_clock) -> None:
    async with pair(LinkRules(bandwidth_bytes_per_s=1000.0)) as two:
        stream = await two.stream()
        size_bytes = 1000 - HEADER_BYTES
        assert await round_trip_s(stream, bytes(size_bytes)) == pytest.approx(2 * (1.0 + DELAY_S))
        started_at = trio.current_time()
        for _ in range(3):
            await stream.send(bytes(size_bytes))
        received = 0
        while received < 3 * size_bytes:
            received += len(await stream.receive())
        assert trio.current_time() - started_at == pytest.approx(4.0 + 2 * DELAY_S)


async def test_what_is_lost_comes_later_and_in_order(autojump_clock) -> None:
    async with pair(LinkRules(loss=0.5)) as two:
        stream = await two.stream()
        times = [await round_trip_s(stream, b"x") for _ in range(40)]
        sure = 2 * DELAY_S
        expected = (sure, sure + RETRANSMISSION_S_MIN, sure + 2 * RETRANSMISSION_S_MIN)
        assert {min(expected, key=lambda one: abs(one - time)) for time in times} == set(expected)
        for number in range(40):
            await stream.send(bytes([number]))
        received = b""
        while len(received) < 40:
            received += await stream.receive()
        assert received == bytes(range(40))
        two.network.heal_all()
        assert await round_trip_s(stream, b"x") == pytest.approx(sure)


async def test_a_short_partition_delays(autojump_clock, nursery) -> None:
    async with pair() as two:
        stream = await two.stream()
        nursery.start_soon(two.network.part, [two.bob.peer_id], trio.current_time() + 5)
        await trio.testing.wait_all_tasks_blocked()
        assert await round_trip_s(stream, b"x") == pytest.approx(5 + 2 * DELAY_S)


async def test_a_long_partition_breaks_streams_and_dials_until_it_heals(autojump_clock, nursery) -> None:
    async with pair() as two:
        stream = await two.stream()
        nursery.start_soon(two.network.part, [two.bob.peer_id], trio.current_time() + 100)
        await trio.testing.wait_all_tasks_blocked()
        started_at = trio.current_time()
        with pytest.raises(Unavailable, match="fell silent"):
            await round_trip_s(stream, b"x")
        assert trio.current_time() - started_at == pytest.approx(SILENCE_S_MAX)
        with pytest.raises(Unavailable, match="no answer"):
            await two.stream()
        assert trio.current_time() - started_at == pytest.approx(SILENCE_S_MAX + DIAL_TIMEOUT_S)
        with trio.move_on_at(started_at + 100.1):
            await trio.sleep_forever()
        assert await round_trip_s(await two.stream(), b"x") == pytest.approx(2 * DELAY_S)
