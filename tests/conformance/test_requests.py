"""Requests and replies, the same over every host: on streams in memory, posted without streams, and over libp2p."""

import logging

import pytest
import trio
from conformance_hosts import DIAL_TIMEOUT_S, Network

from protocol.errors import BadFrame, LocalError, RemoteError, Unavailable
from protocol.ids import PeerId
from protocol.limits import FRAME_SIZE_BYTES_MAX
from protocol.network import Caller, Host, TooMany

ASK = "/parallel-peer/ask/1"


class Echo:
    """Answers with what it was asked, in capitals; words have their own meaning."""

    def __init__(self) -> None:
        self.callers: list[Caller] = []
        self.breaches: list[tuple[PeerId, str]] = []
        self.breached = trio.Event()

    def answer(self, caller: Caller, request: bytes) -> bytes:
        self.callers.append(caller)
        match request:
            case b"break the rules":
                raise BadFrame("not so")
            case b"too much":
                raise TooMany("enough", reply=b"no more")
            case b"not now":
                raise Unavailable("closed")
            case b"a bug":
                raise ZeroDivisionError
        return request.upper()

    def on_breach(self, peer: PeerId, error: RemoteError) -> None:
        self.breaches.append((peer, str(error)))
        self.breached.set()


async def pair(network: Network) -> tuple[Host, Host, Echo]:
    alice, bob, echo = await network.host(), await network.host(), Echo()
    bob.answer(ASK, echo)
    alice.add_addresses(bob.peer_id, bob.addresses())
    return alice, bob, echo


async def ask(asker: Host, other: Host, payload: bytes) -> bytes:
    return await asker.request(other.peer_id, ASK, payload, bytes)


async def test_a_request_is_answered_and_the_caller_known(network: Network) -> None:
    alice, bob, echo = await pair(network)
    assert await ask(alice, bob, b"hello") == b"HELLO"
    assert await ask(alice, bob, b"again") == b"AGAIN"
    assert {caller.peer for caller in echo.callers} == {alice.peer_id}
    assert all(caller.address and caller.address.startswith("/ip4/") for caller in echo.callers)


async def test_requests_go_side_by_side_and_none_gets_the_reply_of_another(network: Network) -> None:
    alice, bob, _ = await pair(network)
    replies: dict[int, bytes] = {}

    async def one(number: int) -> None:
        replies[number] = await ask(alice, bob, b"n%d" % number)

    async with trio.open_nursery() as nursery:
        for number in range(50):
            nursery.start_soon(one, number)
    assert replies == {number: b"N%d" % number for number in range(50)}


async def test_a_large_reply_arrives_whole(network: Network) -> None:
    alice, bob, _ = await pair(network)
    assert await ask(alice, bob, b"x" * FRAME_SIZE_BYTES_MAX) == b"X" * FRAME_SIZE_BYTES_MAX


async def test_addresses_come_with_the_request(network: Network) -> None:
    alice, bob = await network.host(), await network.host()
    bob.answer(ASK, Echo())
    with pytest.raises(Unavailable):
        await ask(alice, bob, b"where are you")
    assert await alice.request(bob.peer_id, ASK, b"there", bytes, bob.addresses()) == b"THERE"


async def test_a_breach_is_told_and_costs_the_asker_its_answer_not_the_next(network: Network) -> None:
    alice, bob, echo = await pair(network)
    for _ in range(2):
        with pytest.raises(Unavailable):
            await ask(alice, bob, b"break the rules")
    assert echo.breaches == [(alice.peer_id, "not so")] * 2
    assert await ask(alice, bob, b"sorry") == b"SORRY"


async def test_who_asks_too_much_gets_a_last_reply(network: Network) -> None:
    alice, bob, echo = await pair(network)
    assert await ask(alice, bob, b"too much") == b"no more"
    with trio.fail_after(5):
        await echo.breached.wait()
    assert echo.breaches == [(alice.peer_id, "enough")]


async def test_what_cannot_be_answered_now_is_nobodys_fault(network: Network) -> None:
    alice, bob, echo = await pair(network)
    with pytest.raises(Unavailable):
        await ask(alice, bob, b"not now")
    assert not echo.breaches


async def test_a_bug_in_an_answer_is_logged_and_the_next_request_answered(
    network: Network, caplog: pytest.LogCaptureFixture
) -> None:
    alice, bob, echo = await pair(network)
    with caplog.at_level(logging.ERROR), pytest.raises(Unavailable):
        await ask(alice, bob, b"a bug")
    assert "ZeroDivisionError" in caplog.text and not echo.breaches
    assert await ask(alice, bob, b"go on") == b"GO ON"


async def test_what_reading_the_reply_raises_reaches_the_asker(network: Network) -> None:
    alice, bob, _ = await pair(network)

    def refuse(reply: bytes) -> bytes:
        raise BadFrame(f"unexpected {reply!r}")

    with pytest.raises(BadFrame, match="unexpected b'HELLO'"):
        await alice.request(bob.peer_id, ASK, b"hello", refuse)
    assert await ask(alice, bob, b"hello") == b"HELLO"


async def test_a_cancelled_request_disturbs_no_other(network: Network) -> None:
    alice, bob, _ = await pair(network)
    assert await ask(alice, bob, b"first") == b"FIRST"
    with trio.CancelScope() as scope:
        scope.cancel()
        await ask(alice, bob, b"forget it")
    assert scope.cancelled_caught
    assert await ask(alice, bob, b"second") == b"SECOND"


async def test_who_does_not_serve_or_is_not_there_is_unavailable(network: Network) -> None:
    alice, bob, carol = await network.host(), await network.host(), await network.host()
    alice.add_addresses(bob.peer_id, bob.addresses())
    with pytest.raises(Unavailable):
        await ask(alice, bob, b"do you serve this")
    silent = await network.silent_address()
    with trio.fail_after(5 * DIAL_TIMEOUT_S), pytest.raises(Unavailable):
        await alice.request(carol.peer_id, ASK, b"hello", bytes, [silent])
    with pytest.raises(LocalError, match="itself"):
        await ask(alice, alice, b"hello")
    bob.answer(ASK, Echo())
    assert await ask(alice, bob, b"and now") == b"AND NOW"


async def test_after_a_host_has_closed_it_is_unavailable(network: Network) -> None:
    alice, bob, _ = await pair(network)
    assert await ask(alice, bob, b"hello") == b"HELLO"
    await bob.close()
    with trio.fail_after(5 * DIAL_TIMEOUT_S), pytest.raises(Unavailable):
        await ask(alice, bob, b"still there")
    await alice.close()
    with pytest.raises(Unavailable):
        await ask(alice, bob, b"from the grave")
