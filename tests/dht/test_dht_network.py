"""Sixty DHT services in one process: what is found is exact, survives, and is not held up by the dead."""

from random import Random

import pytest
import trio
from dht_network import LATENCY_S, DhtNetwork, Peer, wall_clock
from dht_records import NOW_UNIX_S, accusation, capability, identity, record
from trio.testing import MockClock

from dht.contact_table import BACK_OFF_S
from dht.keys import accusation_key, directory_key, distance
from dht.patience import STALL_S
from protocol.accusation import verified_accusation
from protocol.capability import Capability
from protocol.ids import PeerId, node_id_of
from protocol.limits import BUCKET_SIZE, RECORD_LIFETIME_S
from protocol.messages.dht import Contact
from protocol.network import DHT_PROTOCOL
from simulations.memory_host import open_memory_network

KEY = directory_key("runtime:python")
UNKNOWN = Contact(peer=identity(9999).peer_id, addresses=("/ip4/10.99.99.99/tcp/1",))


def true_closest(network: DhtNetwork, target: bytes, without: PeerId | None = None) -> list[PeerId]:
    peers = [peer.host.peer_id for peer in network.peers if peer.dht.serving and peer.host.peer_id != without]
    return sorted(peers, key=lambda one: distance(target, node_id_of(one)))[:BUCKET_SIZE]


async def test_every_lookup_finds_the_true_closest(network: DhtNetwork, autojump_clock: MockClock) -> None:
    await network.add(1)
    await network.add(59)
    random = Random(0)
    for peer in random.sample(network.peers, 10):
        target = random.randbytes(20)
        found = [contact.peer for contact in await peer.dht.find_closest(target)]
        assert found == true_closest(network, target, without=peer.host.peer_id)
    assert all(not peer.complaints for peer in network.peers)


@pytest.mark.slow
async def test_peers_that_start_at_the_same_moment_find_one_another(
    network: DhtNetwork, autojump_clock: MockClock
) -> None:
    await network.add_at_once(60)
    await trio.sleep(60)
    random = Random(0)
    for peer in random.sample(network.peers, 10):
        target = random.randbytes(20)
        found = [contact.peer for contact in await peer.dht.find_closest(target)]
        assert found == true_closest(network, target, without=peer.host.peer_id)


async def test_contacts_come_with_addresses(network: DhtNetwork, autojump_clock: MockClock) -> None:
    await network.add(1)
    await network.add(9)
    for peer in network.peers:
        known = {contact.peer: contact.addresses for contact in peer.dht.contacts()}
        assert known == {o.host.peer_id: (o.host.own_address,) for o in network.peers if o is not peer}


async def test_clients_find_others_and_are_in_nobodys_table(network: DhtNetwork, autojump_clock: MockClock) -> None:
    await network.add(1)
    await network.add(9)
    clients = await network.add(5, serving=False)
    for client in clients:
        assert await client.directory.publish(capability(client.number)) > 0
        assert client.dht.record_count == 0
    everybody = {client.host.peer_id for client in clients}
    for peer in network.peers:
        assert not everybody & {contact.peer for contact in peer.dht.contacts()}
    found = await network.peers[3].directory.find("python", 10)
    assert {one.peer for one in found} == everybody


async def test_a_client_that_claims_to_serve_is_not_believed(network: DhtNetwork, autojump_clock: MockClock) -> None:
    server, liar = await network.add(2, serving=False)
    server.dht.serving = True
    server.host.answer(DHT_PROTOCOL, server.dht)
    liar.dht.serving = True  # It introduces itself, but nobody answers at its DHT protocol.
    assert await liar.dht.bootstrap([server.contact]) == 1
    await trio.sleep(10)
    assert server.dht.contact_count == 0
    assert liar.dht.contact_count == 1


async def test_records_survive_holders_that_leave(network: DhtNetwork, autojump_clock: MockClock) -> None:
    await network.add(1)
    await network.add(59)
    publisher, searcher = network.peers[7], network.peers[41]
    assert BUCKET_SIZE <= await publisher.dht.store(KEY, record(publisher.number)) <= 1.5 * BUCKET_SIZE
    spared = (publisher.host.peer_id, searcher.host.peer_id)
    holders = [peer for peer in network.peers if peer.dht.record_count and peer.host.peer_id not in spared]
    for holder in holders[:15]:
        network.kill(holder)
    envelopes, total = await searcher.dht.find_records(KEY, 10)
    assert envelopes == [record(publisher.number)] and total == 1


async def test_accusations_are_found_by_those_who_ask_about_the_accused(
    network: DhtNetwork, autojump_clock: MockClock
) -> None:
    await network.add(1)
    await network.add(59)
    accused, key = identity(777), accusation_key(identity(777).peer_id)
    for issuer in (1, 2):
        assert await network.peers[issuer].dht.store(key, accusation(issuer, 777)) == BUCKET_SIZE
    for peer in network.peers[30:40]:
        found, total = await peer.dht.find_records(key, 3)
        assert {one.signer for one in found} == {identity(1).peer_id, identity(2).peer_id} and total == 2
        assert {verified_accusation(one).accused for one in found} == {accused.peer_id}
    assert all(not peer.complaints for peer in network.peers)


async def test_republishing_replaces_holders_that_have_all_left(network: DhtNetwork, autojump_clock: MockClock) -> None:
    await network.add(1)
    await network.add(59)
    publisher = network.peers[7]

    def make(sequence: int) -> Capability:
        return capability(publisher.number, sequence=sequence, now_unix_s=wall_clock())

    async with trio.open_nursery() as nursery:
        await nursery.start(publisher.directory.run, make)
        await trio.sleep(10)
        holders = [peer for peer in network.peers if peer.dht.record_count and peer is not publisher]
        assert len(holders) >= BUCKET_SIZE
        for holder in holders:
            network.kill(holder)
        searcher = next(peer for peer in network.peers if peer not in holders and peer is not publisher)
        await trio.sleep(RECORD_LIFETIME_S / 2)
        (found,) = await searcher.directory.find("python", 10)
        assert found.peer == publisher.host.peer_id
        await trio.sleep(RECORD_LIFETIME_S / 2)
        (again,) = await searcher.directory.find("python", 10)
        assert again.sequence > found.sequence >= NOW_UNIX_S * 1000
        nursery.cancel_scope.cancel()


async def test_an_expired_record_is_gone_everywhere(network: DhtNetwork, autojump_clock: MockClock) -> None:
    await network.add(1)
    await network.add(9)
    await network.peers[2].dht.store(KEY, record(2))
    await trio.sleep(RECORD_LIFETIME_S + 60)
    assert await network.peers[5].dht.find_records(KEY, 10) == ([], 0)
    assert sum(peer.dht.record_count for peer in network.peers) == 0


async def test_silently_dead_contacts_cost_one_stall_once(network: DhtNetwork, autojump_clock: MockClock) -> None:
    await network.add(1)
    await network.add(59)
    asker = network.peers[30]
    for peer in network.peers[:20]:
        network.silence(peer)
    random = Random(1)
    dials_before = asker.dht.counters.unavailable
    started = trio.current_time()
    for _ in range(10):
        await asker.dht.find_closest(random.randbytes(20))
    # The dead of the first lookup stall it together; those that a later one meets first stall that.
    assert trio.current_time() - started < 3 * STALL_S + 10 * 20 * LATENCY_S
    await trio.sleep(15)
    failed = asker.dht.counters.unavailable - dials_before
    assert failed <= 20, "each of the dead is asked once"
    started = trio.current_time()
    for _ in range(10):
        target = random.randbytes(20)
        found = [contact.peer for contact in await asker.dht.find_closest(target)]
        dead = {peer.host.peer_id for peer in network.peers[:20]}
        alive = [
            peer.host.peer_id
            for peer in network.peers
            if peer.host.peer_id not in dead and peer.host.peer_id != asker.host.peer_id
        ]
        assert found == sorted(alive, key=lambda one: distance(target, node_id_of(one)))[:BUCKET_SIZE]
    assert trio.current_time() - started < 10 * 20 * LATENCY_S, "nobody waits for the dead again"
    assert asker.dht.counters.unavailable - dials_before == failed, "nor are they asked again"


async def test_a_contact_that_comes_back_is_found_again(network: DhtNetwork, autojump_clock: MockClock) -> None:
    await network.add(1)
    await network.add(9)
    one, other = network.peers[2], network.peers[3]
    network.memory.cut(one.host, other.host)
    await one.dht.find_closest(node_id_of(other.host.peer_id))
    await trio.sleep(15)
    assert other.host.peer_id not in {contact.peer for contact in one.dht.contacts()}
    network.memory.heal(one.host, other.host)
    await trio.sleep(3 * BACK_OFF_S + 60)
    assert other.host.peer_id in {contact.peer for contact in one.dht.contacts()}


async def test_a_peer_that_was_cut_off_finds_everybody_again(network: DhtNetwork, autojump_clock: MockClock) -> None:
    await network.add(1)
    await network.add(19)
    cut_off = network.peers[5]
    others = {peer.host.peer_id for peer in network.peers if peer is not cut_off}
    await cut_off.dht.find_closest(bytes(20))
    for peer in network.peers:
        if peer is not cut_off:
            network.memory.cut(cut_off.host, peer.host)
    for _ in range(5):
        assert await cut_off.dht.find_closest(bytes(20)) == []
        await trio.sleep(600)
    assert cut_off.dht.contact_count == 0
    for peer in network.peers:
        if peer is not cut_off:
            network.memory.heal(cut_off.host, peer.host)
    await trio.sleep(60)
    assert {contact.peer for contact in cut_off.dht.contacts()} == others


async def test_bootstrap_says_what_came_of_each_contact(network: DhtNetwork, autojump_clock: MockClock) -> None:
    (first,) = await network.add(1)
    (lonely,) = await network.add(1, serving=False)
    wrong_id = Contact(peer=identity(8888).peer_id, addresses=first.contact.addresses)
    reached = await lonely.dht.bootstrap([first.contact, UNKNOWN, wrong_id])
    assert reached == 1
    lines = lonely.dht.bootstrap_report
    assert [line.reached for line in lines] == [True, False, False]
    assert "refused" in lines[1].reason
    assert "answers peer" in lines[2].reason
    assert not lonely.complaints, "a wrong address is not the fault of the peer that it was said to be of"


async def test_a_lonely_peer_tries_its_bootstrap_contacts_again(network: DhtNetwork, autojump_clock: MockClock) -> None:
    first, second = await network.add(2)
    network.memory.cut(first.host, second.host)
    assert await second.dht.bootstrap([first.contact]) == 0
    await trio.sleep(60)
    assert second.dht.contact_count == 0
    network.memory.heal(first.host, second.host)
    await trio.sleep(60)
    assert second.dht.contact_count == 1


async def test_alone_in_the_world(network: DhtNetwork, autojump_clock: MockClock) -> None:
    (alone,) = await network.add(1)
    assert await alone.dht.find_closest(bytes(20)) == []
    assert await alone.directory.publish(capability(alone.number)) == 1
    assert await alone.directory.find("python", 5) == []
    assert await alone.directory.all_peers() == []


async def test_a_lookup_that_begins_as_all_is_cancelled_is_cancelled(autojump_clock: MockClock) -> None:
    """Whether it came too late for the service's nursery was a matter of the order of tasks: so, many times."""
    for number in range(40):
        async with open_memory_network() as memory:
            peer = Peer(memory, number, serving=True)
            async with trio.open_nursery() as nursery:
                await nursery.start(peer.run)
                peer.dht._requester.heard(UNKNOWN)
                nursery.start_soon(peer.dht.find_closest, bytes(20))
                await trio.lowlevel.checkpoint()
                nursery.cancel_scope.cancel()


async def test_streams_are_reused(network: DhtNetwork, autojump_clock: MockClock) -> None:
    await network.add(1)
    await network.add(19)
    asker = network.peers[5]
    for number in range(10):
        await asker.dht.find_closest(bytes([number] * 20))
    before = asker.host.pool_of(DHT_PROTOCOL).streams_opened
    for number in range(10):
        await asker.dht.find_closest(bytes([number] * 20))
    assert asker.host.pool_of(DHT_PROTOCOL).streams_opened == before


@pytest.mark.slow
async def test_messages_per_lookup_stay_near_the_least(network: DhtNetwork, autojump_clock: MockClock) -> None:
    await network.add(1)
    await network.add(99)
    random = Random(3)
    asker = network.peers[50]
    before = asker.dht.counters.sent["find_node"]
    for _ in range(20):
        await asker.dht.find_closest(random.randbytes(20))
    assert (asker.dht.counters.sent["find_node"] - before) / 20 < 1.6 * BUCKET_SIZE


@pytest.mark.parametrize("step_s", [3600.0, -3600.0])
async def test_a_clock_that_is_stepped_ends_nothing_and_is_forgotten_once_it_is_right(
    step_s: float, network: DhtNetwork, autojump_clock: MockClock
) -> None:
    await network.add(6)
    victim, other = network.peers[1], network.peers[2]
    for peer in (victim, other):
        assert await peer.dht.store(KEY, record(peer.number)) == 6
    victim.clock_ahead_s = step_s
    placement = await victim.dht.place(KEY, record(victim.number, sequence=2))
    assert placement.copies == 5 and sum(placement.refusals.values()) == 1, "it alone refuses what is right"
    found, _ = await victim.dht.find_records(KEY, 10)
    assert not found, "all have expired, or are too far ahead"
    victim.clock_ahead_s = 0.0
    await trio.sleep(BACK_OFF_S)
    found, _ = await victim.dht.find_records(KEY, 10)
    assert {one.signer for one in found} == {victim.host.peer_id, other.host.peer_id}
