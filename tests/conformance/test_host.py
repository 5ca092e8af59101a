"""What every implementation of `protocol.network.Host` and `Stream` must do."""

import functools
import logging
from collections.abc import Awaitable, Callable
from typing import ParamSpec

import pytest
import trio
import trio.testing

from protocol.errors import LocalError, RemoteError, Unavailable
from protocol.network import Host, Stream
from protocol.signing import Identity

P = ParamSpec("P")
ECHO = "/parallel-peer/echo/1"
KEEP = "/parallel-peer/keep/1"
MIB = 1024 * 1024
TEST_TIMEOUT_S = 30


def bounded(test: Callable[P, Awaitable[None]]) -> Callable[P, Awaitable[None]]:
    """A test that hangs fails."""

    @functools.wraps(test)
    async def wrapper(*args: P.args, **kwargs: P.kwargs) -> None:
        with trio.fail_after(TEST_TIMEOUT_S):
            await test(*args, **kwargs)

    return wrapper


async def echo(stream: Stream) -> None:
    while data := await stream.receive():
        await stream.send(data)
    await stream.close()


async def receive_exactly(stream: Stream, size: int) -> bytes:
    data = b""
    while len(data) < size:
        part = await stream.receive(size - len(data))
        assert part, f"the stream ended after {len(data)} of {size} bytes"
        data += part
    return data


async def receive_all(stream: Stream) -> bytes:
    parts = []
    while part := await stream.receive():
        parts.append(part)
    return b"".join(parts)


class Accepted:
    """A handler that passes its streams to the test; the streams outlive the handler."""

    def __init__(self, host: Host, protocol: str = KEEP) -> None:
        self._send, self._receive = trio.open_memory_channel[Stream](100)
        host.serve(protocol, self._send.send)

    async def next(self) -> Stream:
        return await self._receive.receive()


async def two_hosts(network) -> tuple[Host, Host]:
    alice, bob = await network.host(), await network.host()
    alice.add_addresses(bob.peer_id, bob.addresses())
    return alice, bob


async def two_ends(network) -> tuple[Stream, Stream]:
    alice, bob = await two_hosts(network)
    accepted = Accepted(bob)
    return await alice.open_stream(bob.peer_id, KEEP), await accepted.next()


@bounded
async def test_what_is_sent_comes_back(network) -> None:
    alice, bob = await two_hosts(network)
    bob.serve(ECHO, echo)
    stream = await alice.open_stream(bob.peer_id, ECHO)
    await stream.send(b"hello")
    assert await receive_exactly(stream, 5) == b"hello"
    await stream.close()
    assert await stream.receive() == b""
    assert await stream.receive() == b""


@bounded
async def test_each_side_knows_the_other(network) -> None:
    alice, bob = await two_hosts(network)
    accepted = Accepted(bob)
    stream = await alice.open_stream(bob.peer_id, KEEP)
    theirs = await accepted.next()
    assert stream.remote_peer == bob.peer_id
    assert theirs.remote_peer == alice.peer_id
    assert stream.remote_address == bob.addresses()[0]
    assert theirs.remote_address is not None and theirs.remote_address.startswith("/ip4/")


@bounded
async def test_the_peer_that_was_dialled_can_open_streams_too(network) -> None:
    alice, bob = await two_hosts(network)
    alice.serve(ECHO, echo)
    bob.serve(ECHO, echo)
    await alice.open_stream(bob.peer_id, ECHO)
    back = await bob.open_stream(alice.peer_id, ECHO)
    await back.send(b"and back")
    assert await receive_exactly(back, 8) == b"and back"


@bounded
async def test_megabytes_pass_both_ways_at_once(network, nursery) -> None:
    """More than any buffer on the way holds, so that senders have to wait for readers."""
    alice, bob = await two_hosts(network)
    bob.serve(ECHO, echo)
    stream = await alice.open_stream(bob.peer_id, ECHO)
    blob = bytes(range(256)) * (8 * MIB // 256)

    async def send() -> None:
        await stream.send(blob)
        await stream.close()

    nursery.start_soon(send)
    assert await receive_all(stream) == blob


@bounded
async def test_a_sender_waits_for_a_reader_that_pauses(network, nursery) -> None:
    ours, theirs = await two_ends(network)
    blob = bytes(8 * MIB)
    sent = trio.Event()

    async def send() -> None:
        await ours.send(blob)
        sent.set()
        await ours.close()

    nursery.start_soon(send)
    with trio.move_on_after(0.2):
        await sent.wait()
    assert not sent.is_set(), "eight mebibytes went into a stream that nobody reads"
    assert len(await receive_all(theirs)) == len(blob)


@bounded
async def test_a_cancelled_receive_loses_nothing(network, nursery) -> None:
    ours, theirs = await two_ends(network)
    blob = b"".join(i.to_bytes(4, "big") for i in range(100_000))

    async def send() -> None:
        for i in range(0, len(blob), 1000):
            await ours.send(blob[i : i + 1000])
            await trio.lowlevel.checkpoint()
        await ours.close()

    nursery.start_soon(send)
    received = b""
    cancelled = 0
    while True:
        with trio.move_on_after(0 if len(received) % 2 else 0.0002) as scope:
            part = await theirs.receive(777)
            received += part
            if not part:
                break
        if scope.cancelled_caught:
            cancelled += 1
            part = await theirs.receive(333)
            received += part
            if not part:
                break
    assert received == blob
    assert cancelled > 0


@bounded
async def test_a_cancelled_send_followed_by_a_reset_leaves_the_connection_whole(network) -> None:
    alice, bob = await two_hosts(network)
    accepted = Accepted(bob)
    for _ in range(5):
        ours = await alice.open_stream(bob.peer_id, KEEP)
        theirs = await accepted.next()
        with trio.move_on_after(0.02) as scope:
            await ours.send(bytes(4 * MIB))
        assert scope.cancelled_caught
        await ours.reset()
        with pytest.raises(Unavailable):
            await receive_all(theirs)
    bob.serve(ECHO, echo)
    stream = await alice.open_stream(bob.peer_id, ECHO)
    await stream.send(b"still here")
    assert await receive_exactly(stream, 10) == b"still here"


@bounded
async def test_closing_one_direction_leaves_the_other(network) -> None:
    ours, theirs = await two_ends(network)
    await ours.send(b"question")
    await ours.close()
    assert await receive_all(theirs) == b"question"
    await theirs.send(b"answer")
    await theirs.close()
    assert await receive_all(ours) == b"answer"


@bounded
async def test_a_closed_direction_takes_nothing_more(network) -> None:
    ours, _theirs = await two_ends(network)
    await ours.close()
    with pytest.raises(Unavailable):
        await ours.send(b"too late")


@bounded
async def test_a_reset_ends_both_directions_for_both_sides(network) -> None:
    ours, theirs = await two_ends(network)
    await ours.send(b"something")
    await ours.reset()
    for stream in (ours, theirs):
        with pytest.raises(Unavailable):
            while await stream.receive():
                pass
        with pytest.raises(Unavailable):
            await stream.send(b"more")


@bounded
async def test_a_reset_wakes_a_sender_and_a_receiver_that_wait(network, nursery) -> None:
    ours, theirs = await two_ends(network)
    woken: list[str] = []

    async def wait_for(name: str, action: Callable[[], Awaitable[object]]) -> None:
        with pytest.raises(Unavailable):
            await action()
        woken.append(name)

    async with trio.open_nursery() as waiting:
        waiting.start_soon(wait_for, "send", lambda: ours.send(bytes(4 * MIB)))
        waiting.start_soon(wait_for, "receive", ours.receive)
        await trio.testing.wait_all_tasks_blocked(0.05)
        await theirs.reset()
    assert sorted(woken) == ["receive", "send"]


@bounded
async def test_close_and_reset_may_be_called_again(network) -> None:
    ours, theirs = await two_ends(network)
    for _ in range(2):
        await ours.close()
    for _ in range(2):
        await ours.reset()
        await theirs.reset()
        await theirs.close()


@bounded
async def test_a_protocol_that_is_not_served_is_unavailable(network) -> None:
    alice, bob = await two_hosts(network)
    bob.serve(ECHO, echo)
    with pytest.raises(Unavailable, match="does not serve /parallel-peer/other/1"):
        await alice.open_stream(bob.peer_id, "/parallel-peer/other/1")
    assert await alice.open_stream(bob.peer_id, ECHO)


@bounded
async def test_a_peer_without_a_known_address_is_unavailable(network) -> None:
    alice, bob = await network.host(), await network.host()
    with pytest.raises(Unavailable, match="no address"):
        await alice.open_stream(bob.peer_id, ECHO)


@bounded
async def test_a_peer_that_is_gone_is_unavailable(network) -> None:
    alice, bob = await two_hosts(network)
    await bob.close()
    with pytest.raises(Unavailable, match="cannot reach"):
        await alice.open_stream(bob.peer_id, ECHO)


@bounded
async def test_an_address_that_never_answers_is_unavailable_within_the_time_out(network) -> None:
    alice = await network.host()
    nobody = Identity((99).to_bytes(32, "big")).peer_id
    alice.add_addresses(nobody, [await network.silent_address()])
    with trio.fail_after(3), pytest.raises(Unavailable):
        await alice.open_stream(nobody, ECHO)


@bounded
async def test_another_peer_at_the_address_is_named(network) -> None:
    alice, bob = await network.host(), await network.host()
    bob.serve(ECHO, echo)
    wanted = Identity((77).to_bytes(32, "big")).peer_id
    alice.add_addresses(wanted, bob.addresses())
    with pytest.raises(RemoteError) as caught:
        await alice.open_stream(wanted, ECHO)
    assert wanted in str(caught.value) and bob.peer_id in str(caught.value)
    assert alice.connected_peers() == []


@bounded
async def test_a_peer_does_not_dial_itself(network) -> None:
    alice = await network.host()
    with pytest.raises(LocalError, match="itself"):
        await alice.open_stream(alice.peer_id, ECHO)


@bounded
async def test_a_handler_that_raises_resets_its_stream_alone(network, caplog) -> None:
    alice, bob = await two_hosts(network)

    async def fail(stream: Stream) -> None:
        await stream.receive()
        raise RuntimeError("a bug in a handler")

    bob.serve(KEEP, fail)
    bob.serve(ECHO, echo)
    other = await alice.open_stream(bob.peer_id, ECHO)
    stream = await alice.open_stream(bob.peer_id, KEEP)
    with caplog.at_level(logging.ERROR):
        await stream.send(b"go")
        with pytest.raises(Unavailable):
            await stream.receive()
    assert "a bug in a handler" in caplog.text
    await other.send(b"fine")
    assert await receive_exactly(other, 4) == b"fine"


@bounded
async def test_many_streams_at_once_do_not_mix(network) -> None:
    alice, bob = await two_hosts(network)
    bob.serve(ECHO, echo)

    async def use(number: int) -> None:
        stream = await alice.open_stream(bob.peer_id, ECHO)
        data = bytes([number]) * 50_000
        await stream.send(data)
        await stream.close()
        assert await receive_all(stream) == data

    async with trio.open_nursery() as users:
        for number in range(50):
            users.start_soon(use, number)


@bounded
async def test_streams_may_come_and_go_without_end(network) -> None:
    """More, one after another, than may be open at once."""
    alice, bob = await two_hosts(network)
    bob.serve(ECHO, echo)
    for _ in range(150):
        stream = await alice.open_stream(bob.peer_id, ECHO)
        await stream.close()
        assert await stream.receive() == b""


@bounded
async def test_one_stream_too_many_is_refused_and_the_others_live(network, monkeypatch) -> None:
    for module in ("peer.libp2p_host", "simulations.memory_host"):
        monkeypatch.setattr(f"{module}.STREAMS_PER_PEER_MAX", 4)
    alice, bob = await two_hosts(network)
    accepted = Accepted(bob)
    streams = [await alice.open_stream(bob.peer_id, KEEP) for _ in range(4)]
    with pytest.raises(Unavailable):
        await alice.open_stream(bob.peer_id, KEEP)
    theirs = await accepted.next()
    await streams[0].send(b"fine")
    assert await receive_exactly(theirs, 4) == b"fine"
    await streams[0].reset()
    with pytest.raises(Unavailable):
        await theirs.receive()
    await alice.open_stream(bob.peer_id, KEEP)


@bounded
async def test_connected_peers_are_sorted_and_seen_from_both_sides(network) -> None:
    centre = await network.host()
    accepted = Accepted(centre)
    others = [await network.host() for _ in range(4)]
    for other in others:
        other.add_addresses(centre.peer_id, centre.addresses())
        await other.open_stream(centre.peer_id, KEEP)
        await accepted.next()
        assert list(other.connected_peers()) == [centre.peer_id]
        assert list(other.callers()) == []
    assert list(centre.connected_peers()) == sorted(other.peer_id for other in others)
    assert list(centre.callers()) == list(centre.connected_peers())


@bounded
async def test_closing_a_host_ends_its_streams_after_what_it_had_sent(network) -> None:
    alice, bob = await two_hosts(network)
    accepted = Accepted(bob)
    ours = await alice.open_stream(bob.peer_id, KEEP)
    theirs = await accepted.next()
    await theirs.send(b"last words")
    await bob.close()
    await bob.close()
    assert await receive_exactly(ours, 10) == b"last words"
    with pytest.raises(Unavailable):
        await ours.receive()
    with pytest.raises(Unavailable):
        await theirs.receive()
    with pytest.raises(Unavailable):
        await bob.open_stream(alice.peer_id, ECHO)
    assert list(bob.connected_peers()) == []


@bounded
async def test_the_side_that_was_dialled_can_read_to_the_end_too(network) -> None:
    """Also where its handler still runs while the library clears the connection away."""
    alice, bob = await two_hosts(network)
    received: list[bytes] = []
    gone, done = trio.Event(), trio.Event()

    async def slow(stream: Stream) -> None:
        await gone.wait()
        received.append(await receive_exactly(stream, 200_000))
        with pytest.raises(Unavailable):
            await stream.receive()
        done.set()

    bob.serve(KEEP, slow)
    ours = await alice.open_stream(bob.peer_id, KEEP)
    await ours.send(bytes(200_000))
    await alice.close()
    await trio.testing.wait_all_tasks_blocked(0.15)
    gone.set()
    await done.wait()
    assert received == [bytes(200_000)]


@bounded
async def test_an_orderly_end_stays_one_when_the_host_closes(network) -> None:
    alice, bob = await two_hosts(network)
    accepted = Accepted(bob)
    ours = await alice.open_stream(bob.peer_id, KEEP)
    theirs = await accepted.next()
    await theirs.send(bytes(100_000))
    await theirs.close()
    await bob.close()
    assert await receive_all(ours) == bytes(100_000)


@bounded
async def test_a_peer_that_came_back_elsewhere_is_reached(network) -> None:
    alice, bob = await two_hosts(network)
    bob.serve(ECHO, echo)
    await alice.open_stream(bob.peer_id, ECHO)
    await bob.close()
    carol = await network.host()
    carol.serve(ECHO, echo)
    alice.add_addresses(carol.peer_id, [*carol.addresses(), "/ip4/127.0.0.1/tcp/1"])
    assert await alice.open_stream(carol.peer_id, ECHO)


@bounded
async def test_callers_of_one_peer_share_one_connection(network) -> None:
    alice, bob = await two_hosts(network)
    bob.serve(ECHO, echo)
    addresses = set()

    async def use() -> None:
        stream = await alice.open_stream(bob.peer_id, ECHO)
        addresses.add(stream.remote_address)

    async with trio.open_nursery() as users:
        for _ in range(20):
            users.start_soon(use)
    assert len(addresses) == 1
    assert list(alice.connected_peers()) == [bob.peer_id]


@bounded
async def test_a_caller_that_gives_up_leaves_the_others_their_dial(network) -> None:
    alice, bob = await two_hosts(network)
    bob.serve(ECHO, echo)
    with trio.CancelScope() as scope:
        scope.cancel()
        await alice.open_stream(bob.peer_id, ECHO)
    assert scope.cancelled_caught
    stream = await alice.open_stream(bob.peer_id, ECHO)
    await stream.send(b"x")
    assert await receive_exactly(stream, 1) == b"x"
