"""Publishing and finding capabilities, from one peer to a thousand under one name."""

from collections import Counter
from random import Random

import pytest
import trio
from dht_network import DhtNetwork, Peer, wall_clock
from dht_records import capability, identity, record
from trio.testing import MockClock

from dht.directory import SHARD_SPLIT_RECORDS
from dht.keys import SHARD_BITS, directory_key, shard_bits
from protocol.capability import Capability
from protocol.errors import LocalError
from protocol.limits import RECORD_LIFETIME_S, RECORDS_PER_KEY_MAX
from simulations.memory_host import open_memory_network

PUBLISHERS = 1000
FIRST = 10_000


async def test_finds_by_runtime_without_oneself_and_learns_addresses(
    network: DhtNetwork, autojump_clock: MockClock
) -> None:
    await network.add(1)
    await network.add(9)
    for peer in network.peers[2:6]:
        runtimes = ("python", "wasm") if peer.number < 4 else ("python",)
        addresses = (f"/ip4/10.1.1.{peer.number}/tcp/1",)
        assert await peer.directory.publish(capability(peer.number, runtimes=runtimes, addresses=addresses)) > 0
    ids = {number: network.peers[number].host.peer_id for number in range(10)}
    searcher = network.peers[2]
    assert [one.peer for one in await searcher.directory.find("python", 10)] == sorted(ids[n] for n in (3, 4, 5))
    assert [one.peer for one in await searcher.directory.find("wasm", 10)] == [ids[3]]
    assert await searcher.directory.find("blender", 10) == []
    assert len(await searcher.directory.find("python", 2)) == 2
    outsider = network.peers[9]
    assert [one.peer for one in await outsider.directory.all_peers()] == sorted(ids[n] for n in (2, 3, 4, 5))
    assert "/ip4/10.1.1.3/tcp/1" in outsider.host._book[ids[3]]


async def test_the_newest_record_is_found(network: DhtNetwork, autojump_clock: MockClock) -> None:
    await network.add(1)
    await network.add(3)
    for sequence in (5, 6):
        await network.peers[1].directory.publish(capability(1, sequence=sequence))
    (found,) = await network.peers[2].directory.find("python", 10)
    assert found.sequence == 6


async def test_refuses_to_publish_for_others_or_what_everybody_would_refuse(
    network: DhtNetwork, autojump_clock: MockClock
) -> None:
    (peer,) = await network.add(1)
    with pytest.raises(LocalError, match="as"):
        await peer.directory.publish(capability(5))
    with pytest.raises(LocalError, match="fewer addresses"):
        await peer.directory.publish(capability(peer.number, addresses=("x" * 256,) * 16))
    with pytest.raises(LocalError, match="expired"):
        await peer.directory.publish(capability(peer.number, lifetime_s=-1.0))


async def test_republishes_at_half_life_on_change_and_soon_when_nobody_keeps_it(
    network: DhtNetwork, autojump_clock: MockClock
) -> None:
    first, second = await network.add(2)
    times: list[float] = []
    sequences: list[int] = []

    def make(sequence: int) -> Capability:
        times.append(trio.current_time())
        sequences.append(sequence)
        return capability(second.number, sequence=sequence, now_unix_s=wall_clock())

    second.dht.serving = False  # As a client it keeps no copy itself.
    network.memory.cut(first.host, second.host)
    async with trio.open_nursery() as nursery:
        await nursery.start(second.directory.run, make)
        await trio.sleep(60)
        assert len(times) > 5
        network.memory.heal(first.host, second.host)
        await trio.sleep(60)
        assert first.dht.record_count == 1
        times.clear()
        await trio.sleep(2 * RECORD_LIFETIME_S)
        assert 4 <= len(times) <= 6
        times.clear()
        second.directory.publish_soon()
        await trio.sleep(1)
        assert len(times) == 1
        assert sequences == sorted(set(sequences))
        nursery.cancel_scope.cancel()


async def publish_a_thousand(peer: Peer) -> Counter[int]:
    """Through one client: for every record what a publisher does, on every level down to its leaf."""
    depths: Counter[int] = Counter()
    for number in range(FIRST, FIRST + PUBLISHERS):
        placements = await peer.directory._publish_under("runtime:python", record(number))
        depths[len(placements) - 1] += 1
    return depths


@pytest.mark.slow
async def test_a_popular_key_gives_fair_samples_and_splits_into_shards(
    network: DhtNetwork, autojump_clock: MockClock
) -> None:
    await network.add(1)
    await network.add(3)
    (client,) = await network.add(1, serving=False)
    depths = await publish_a_thousand(client)
    assert abs(depths[0] - SHARD_SPLIT_RECORDS) < 40, "until the key is full nobody needs a shard"
    assert depths[1] > 100 and max(depths) <= 1

    _, total = await client.dht.find_records(directory_key("runtime:python"), 64)
    assert abs(total - PUBLISHERS) < 0.25 * PUBLISHERS
    everybody = {identity(number).peer_id for number in range(FIRST, FIRST + PUBLISHERS)}
    first_half = {identity(number).peer_id for number in range(FIRST, FIRST + PUBLISHERS // 2)}
    wanted = 100
    seen: Counter[str] = Counter()
    for _ in range(10):
        found = {one.peer for one in await client.directory.find("python", wanted)}
        assert len(found) == wanted and found <= everybody
        seen.update(found)
    early = sum(count for peer, count in seen.items() if peer in first_half)
    assert 0.35 < early / seen.total() < 0.65, "those who came late are found as well as the early"
    assert len(seen) > RECORDS_PER_KEY_MAX, "and not always the same ones"


@pytest.mark.slow
async def test_shards_hold_those_for_whom_the_root_had_no_room(network: DhtNetwork, autojump_clock: MockClock) -> None:
    await network.add(1)
    await network.add(3)
    (client,) = await network.add(1, serving=False)
    await publish_a_thousand(client)
    before = len(await client.directory.find("python", PUBLISHERS))
    # Everybody publishes again, as after half a lifetime: now they know that the key is split.
    depths = await publish_a_thousand(client)
    assert depths[0] == 0
    shard = shard_bits(identity(FIRST).peer_id)[:SHARD_BITS]
    envelopes, total = await client.dht.find_records(directory_key("runtime:python", shard), 600)
    publishers = (identity(number).peer_id for number in range(FIRST, FIRST + PUBLISHERS))
    members = {peer for peer in publishers if shard_bits(peer).startswith(shard)}
    assert {envelope.signer for envelope in envelopes} == members and total == len(members)
    found = await client.directory.find("python", PUBLISHERS)
    assert len(found) > max(before, 0.6 * PUBLISHERS)
    random_ones = Random(0).sample(found, 5)
    assert all(one.offers("python") for one in random_ones)


@pytest.mark.slow
@pytest.mark.parametrize(("count", "latency_s"), [(70, 0.02), (40, 0.8)], ids=["many", "slow"])
async def test_peers_that_join_at_once_are_all_found_a_minute_or_two_later(
    count: int, latency_s: float, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """Before the tables have settled, records go to holders that nobody asks later; and where answers take longer than
    `STALL_S`, as on a busy machine, nobody got to know anybody."""
    async with open_memory_network(latency_s=latency_s) as memory:
        network = DhtNetwork(memory, nursery)
        await network.join_and_publish_at_once(count)
        await trio.sleep(120)
        everybody = {peer.host.peer_id for peer in network.peers}
        for peer in network.peers[:: count // 5]:
            found = {one.peer for one in await peer.directory.find("python", count)}
            assert found == everybody - {peer.host.peer_id}
        nursery.cancel_scope.cancel()


@pytest.mark.slow
async def test_who_joins_a_network_at_rest_looks_around_and_publishes_once(
    network: DhtNetwork, autojump_clock: MockClock
) -> None:
    await network.add(1)
    await network.add(30)
    await trio.sleep(120)
    (newcomer,) = await network.add(1)
    before = newcomer.dht.counters.lookups
    network.nursery.start_soon(newcomer.publish)
    await trio.sleep(120)
    assert newcomer.dht.counters.lookups == before + 2, "one look around, one publication"
