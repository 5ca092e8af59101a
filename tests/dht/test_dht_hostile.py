"""Hostile and broken peers: refused with a reason or reset, told to whoever keeps trust, and survived."""

from collections.abc import Awaitable, Callable
from contextlib import suppress

import msgspec
import pytest
import trio
from dht_network import DhtNetwork, Peer
from dht_records import NOW_UNIX_S, capability, identity, record
from trio.testing import MockClock

from dht.keys import directory_key
from dht.server import REQUESTS_PER_PEER_BURST_MAX
from peer.stream_requests import STREAM_IDLE_S, STREAMS_SERVED_PER_PEER_MAX
from protocol.channel import MessageChannel
from protocol.errors import ParallelPeerError, StreamClosed, Unavailable
from protocol.framing import frame
from protocol.ids import PeerId
from protocol.limits import REQUEST_TIMEOUT_S
from protocol.messages.dht import (
    DHT_CODEC,
    Contact,
    DhtMessage,
    Failed,
    FindNode,
    FindRecords,
    Nodes,
    Ping,
    Pong,
    Records,
    Store,
    Stored,
)
from protocol.network import DHT_PROTOCOL, Stream
from protocol.signing import Envelope

KEY = directory_key("runtime:python")


async def open_channel(attacker: Peer, victim: Peer) -> MessageChannel[DhtMessage]:
    attacker.host.add_addresses(victim.host.peer_id, [victim.host.own_address])
    return MessageChannel(await attacker.host.open_stream(victim.host.peer_id, DHT_PROTOCOL), DHT_CODEC)


async def ask(channel: MessageChannel[DhtMessage], request: DhtMessage) -> DhtMessage:
    await channel.send(request)
    return await channel.receive()


def complaints(peer: Peer) -> list[tuple[PeerId, str]]:
    return [(who, type(error).__name__) for who, error in peer.complaints]


async def victim_and_attacker(network: DhtNetwork) -> tuple[Peer, Peer]:
    (victim,) = await network.add(1)
    (attacker,) = await network.add(1, serving=False)
    return victim, attacker


BAD_BYTES = {
    "not CBOR": (frame(b"\xff\xff\xff"), "BadFrame"),
    "not a message": (frame(b"\x01"), "BadFrame"),
    "an unknown type": (frame(b"\xa2dtypedeviljrequest_id\x00"), "UnknownMessage"),
    "an announced length over the limit": (b"\xff\xff\xff\x7f", "FrameTooLong"),
    "an oversized frame": (b"\x80\x80\x81\x00" + bytes(10), "BadFrame"),
    "a reply instead of a request": (frame(DHT_CODEC.encode(Pong(request_id=0))), "BadFrame"),
}


@pytest.mark.parametrize("name", BAD_BYTES)
async def test_bad_bytes_cost_the_stream_and_trust(network: DhtNetwork, autojump_clock: MockClock, name: str) -> None:
    victim, attacker = await victim_and_attacker(network)
    channel = await open_channel(attacker, victim)
    data, error = BAD_BYTES[name]
    await channel.stream.send(data)
    with pytest.raises(Unavailable):
        await channel.receive()
    assert complaints(victim) == [(attacker.host.peer_id, error)]
    assert isinstance(await ask(await open_channel(attacker, victim), Ping(request_id=1)), Pong)


async def test_a_frame_cut_short_is_told_from_an_orderly_end(network: DhtNetwork, autojump_clock: MockClock) -> None:
    victim, attacker = await victim_and_attacker(network)
    whole = frame(DHT_CODEC.encode(Ping(request_id=0)))
    for data, expected in ((b"", []), (whole[:-3], [(attacker.host.peer_id, "BadFrame")])):
        channel = await open_channel(attacker, victim)
        await channel.stream.send(data)
        await channel.stream.close()
        await trio.sleep(1)
        assert complaints(victim) == expected


async def test_bad_records_are_refused_with_the_reason(network: DhtNetwork, autojump_clock: MockClock) -> None:
    victim, attacker = await victim_and_attacker(network)
    channel = await open_channel(attacker, victim)
    me, long_ago = attacker.number, NOW_UNIX_S - 10_000
    bad: dict[str, tuple[Envelope, str]] = {
        "expired": (attacker.identity.sign(capability(me, now_unix_s=long_ago)), "BadRecord"),
        "at most": (attacker.identity.sign(capability(me, addresses=("x" * 256,) * 16)), "BadRecord"),
        "not valid": (msgspec.structs.replace(record(7), body=record(8).body), "BadSignature"),
        "signed by": (attacker.identity.sign(capability(7)), "BadSignature"),
        "belong": (attacker.identity.sign(capability(me, runtimes=("wasm",))), "BadRecord"),
    }
    for index, (reason, (envelope, _)) in enumerate(bad.items()):
        reply = await ask(channel, Store(request_id=index, key=KEY, record=envelope))
        assert isinstance(reply, Stored) and not reply.accepted and reason in reply.reason
    assert complaints(victim) == [(attacker.host.peer_id, error) for _, error in bad.values()]
    assert victim.dht.record_count == 0


async def test_a_replayed_record_is_refused_without_blame(network: DhtNetwork, autojump_clock: MockClock) -> None:
    victim, attacker = await victim_and_attacker(network)
    channel = await open_channel(attacker, victim)
    assert (await ask(channel, Store(request_id=0, key=KEY, record=record(7, 2)))).accepted
    reply = await ask(channel, Store(request_id=1, key=KEY, record=record(7, 1)))
    assert not reply.accepted and "replayed" in reply.reason
    assert not victim.complaints


async def test_too_many_streams_are_reset(network: DhtNetwork, autojump_clock: MockClock) -> None:
    victim, attacker = await victim_and_attacker(network)
    channels = [await open_channel(attacker, victim) for _ in range(STREAMS_SERVED_PER_PEER_MAX + 3)]
    await trio.sleep(1)
    answered = 0
    for channel in channels:
        with suppress(Unavailable):
            answered += isinstance(await ask(channel, Ping(request_id=0)), Pong)
    assert answered == STREAMS_SERVED_PER_PEER_MAX - 1  # One is that of its own service.
    assert {error for _, error in complaints(victim)} == {"TooMany"}


async def test_too_many_requests_are_refused_then_reset(network: DhtNetwork, autojump_clock: MockClock) -> None:
    victim, attacker = await victim_and_attacker(network)
    channel = await open_channel(attacker, victim)
    refused = None
    try:
        for number in range(2 * REQUESTS_PER_PEER_BURST_MAX):
            await channel.send(*(Ping(request_id=number) for _ in range(50)))
            for _ in range(50):
                reply = await channel.receive()
                refused = reply if isinstance(reply, Failed) else refused
    except Unavailable:
        pass
    assert refused is not None and "too many requests" in refused.reason
    assert complaints(victim) == [(attacker.host.peer_id, "TooMany")]


async def test_an_idle_stream_is_closed(network: DhtNetwork, autojump_clock: MockClock) -> None:
    victim, attacker = await victim_and_attacker(network)
    channel = await open_channel(attacker, victim)
    await channel.stream.send(b"\x20")  # A frame that never comes.
    with trio.fail_after(STREAM_IDLE_S + 5), pytest.raises(StreamClosed):
        await channel.receive()


async def test_who_introduces_itself_as_another_is_reset(network: DhtNetwork, autojump_clock: MockClock) -> None:
    victim, attacker = await victim_and_attacker(network)
    other = Contact(peer=identity(500).peer_id, addresses=("/ip4/10.0.0.9/tcp/4001",))
    for request in (Ping(request_id=0, sender=other), FindNode(request_id=0, target=bytes(20), sender=other)):
        with pytest.raises(Unavailable):
            await ask(await open_channel(attacker, victim), request)
    assert complaints(victim) == [(attacker.host.peer_id, "BadFrame")] * 2
    assert victim.dht.contact_count == 0


HostileAnswer = Callable[[MessageChannel[DhtMessage], DhtMessage], Awaitable[None]]


async def wrong_id(channel: MessageChannel[DhtMessage], request: DhtMessage) -> None:
    await channel.send(Nodes(request_id=request.request_id + 1, contacts=()))


async def wrong_type(channel: MessageChannel[DhtMessage], request: DhtMessage) -> None:
    await channel.send(Stored(request_id=request.request_id, accepted=True))


async def not_cbor(channel: MessageChannel[DhtMessage], request: DhtMessage) -> None:
    await channel.stream.send(frame(b"\xff"))


async def invented_contacts(channel: MessageChannel[DhtMessage], request: DhtMessage) -> None:
    await channel.send(Nodes(request_id=request.request_id, contacts=(Contact(peer=PeerId("ground out")),)))


async def too_long(channel: MessageChannel[DhtMessage], request: DhtMessage) -> None:
    await channel.stream.send(b"\xff\xff\xff\x7f" + bytes(100))


@pytest.mark.parametrize("answer", [wrong_id, wrong_type, not_cbor, invented_contacts, too_long])
async def test_a_contact_that_answers_wrongly_is_dropped(
    network: DhtNetwork, autojump_clock: MockClock, answer: HostileAnswer
) -> None:
    await network.add(1)
    await network.add(4)
    asker, liar = network.peers[1], network.peers[2]
    assert liar.host.peer_id in {contact.peer for contact in asker.dht.contacts()}
    resets: list[ParallelPeerError] = []

    async def lie(stream: Stream) -> None:
        channel = MessageChannel(stream, DHT_CODEC)
        await answer(channel, await channel.receive())
        try:
            await channel.receive()
        except Unavailable as error:
            resets.append(error)

    liar.host.serve(DHT_PROTOCOL, lie)
    network.memory.cut(asker.host, liar.host)  # So that the next request takes a fresh stream.
    network.memory.heal(asker.host, liar.host)
    found = await asker.dht.find_closest(bytes(20))
    assert {one.peer for one in found} == {network.peers[number].host.peer_id for number in (0, 3, 4)}
    assert [who for who, _ in complaints(asker)] == [liar.host.peer_id]
    assert liar.host.peer_id not in {contact.peer for contact in asker.dht.contacts()}
    await trio.sleep(1)
    assert len(resets) == (answer is not invented_contacts), "what cannot be trusted to be in step is reset"


async def test_a_holder_of_forged_records_is_dropped(network: DhtNetwork, autojump_clock: MockClock) -> None:
    await network.add(1)
    await network.add(4)
    asker, liar = network.peers[1], network.peers[2]
    forged = msgspec.structs.replace(record(77), signer=identity(78).peer_id)

    async def lie(stream: Stream) -> None:
        channel = MessageChannel(stream, DHT_CODEC)
        request = await channel.receive()
        await channel.send(Records(request_id=request.request_id, records=(forged,), total_estimate=10**6))

    liar.host.serve(DHT_PROTOCOL, lie)
    network.memory.cut(asker.host, liar.host)
    network.memory.heal(asker.host, liar.host)
    await network.peers[3].dht.store(KEY, record(3))
    envelopes, total = await asker.dht.find_records(KEY, 10)
    assert envelopes == [record(3)]
    assert total == 1, "a single holder does not decide on the total"
    assert complaints(asker) == [(liar.host.peer_id, "BadSignature")]


async def test_a_silent_contact_times_out_and_its_stream_is_reset(
    network: DhtNetwork, autojump_clock: MockClock
) -> None:
    asker, silent = await network.add(2)
    reset = trio.Event()

    async def say_nothing(stream: Stream) -> None:
        try:
            while True:
                await stream.receive()
        except Unavailable:
            reset.set()

    silent.host.serve(DHT_PROTOCOL, say_nothing)
    network.memory.cut(asker.host, silent.host)
    network.memory.heal(asker.host, silent.host)
    await asker.dht.find_closest(bytes(20))
    with trio.fail_after(REQUEST_TIMEOUT_S + 1):
        await reset.wait()
    assert not asker.complaints, "silence is nobody's fault"


async def test_flooding_one_key_does_not_hide_others(network: DhtNetwork, autojump_clock: MockClock) -> None:
    """One peer stores its record a thousand times, with every sequence number; there is one of it."""
    await network.add(1)
    await network.add(9)
    attacker, honest = network.peers[1], network.peers[2:8]
    for peer in honest:
        await peer.dht.store(KEY, record(peer.number))
    victim = next(peer for peer in network.peers if peer.dht.record_count)
    channel = await open_channel(attacker, victim)
    for sequence in range(900):
        await ask(channel, Store(request_id=0, key=KEY, record=record(attacker.number, sequence)))
    reply = await ask(channel, FindRecords(request_id=0, key=KEY))
    assert isinstance(reply, Records)
    signers = [envelope.signer for envelope in reply.records]
    assert sorted(signers) == sorted(peer.host.peer_id for peer in [attacker, *honest])
    assert reply.total_estimate == len(honest) + 1
