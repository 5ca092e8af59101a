"""The fixes around libp2p's connections (LIBP2P, 1, 4, 5, 6, 8, 9 and 12), over real loopback sockets.

Where the library can be put in the place of the fix, the test runs over both and must fail over the
library: that shows that it can fail, and the day it passes the fix can go.
"""

import subprocess
import sys
from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import Any

import libp2p
import libp2p.network.exceptions
import pytest
import trio
import trio.testing
from libp2p.network.config import ConnectionConfig
from libp2p.network.swarm import Swarm
from libp2p.peer.peerinfo import PeerInfo
from libp2p.protocol_muxer import multiselect_communicator
from libp2p.protocol_muxer.exceptions import MultiselectClientError
from libp2p.protocol_muxer.multiselect_client import MultiselectClient
from libp2p.protocol_muxer.multiselect_communicator import MultiselectCommunicator
from libp2p.security.insecure.transport import PLAINTEXT_PROTOCOL_ID
from libp2p.security.noise.transport import PROTOCOL_ID as NOISE_PROTOCOL_ID
from libp2p.security.secio.transport import ID as SECIO_PROTOCOL_ID
from libp2p.security.tls.transport import PROTOCOL_ID as TLS_PROTOCOL_ID
from libp2p.stream_muxer.exceptions import MuxedStreamReset
from libp2p.tools.anyio_service import background_trio_service
from multiaddr import Multiaddr

import peer.libp2p_fixes as fixes
import peer.libp2p_fixes_basic as basic
from peer.libp2p_host import Libp2pHost, open_libp2p_host
from protocol.errors import LocalError, RemoteError, Unavailable
from protocol.network import Stream
from protocol.signing import Identity

LOOPBACK = "/ip4/127.0.0.1/tcp/0"
ECHO = "/parallel-peer/echo/1"


def identity(number: int) -> Identity:
    return Identity(number.to_bytes(32, "big"))


def fails_without(ours: Any, library: Any) -> pytest.MarkDecorator:
    wanted = pytest.mark.xfail(strict=True, reason="without the fix")
    library = pytest.param(library, marks=wanted, id="without")
    return pytest.mark.parametrize("variant", [pytest.param(ours, id="ours"), library])


async def echo(stream: Stream) -> None:
    while data := await stream.receive():
        await stream.send(data)
    await stream.close()


@pytest.fixture
def patient_clock() -> trio.testing.MockClock:
    """Virtual time that jumps only when the sockets have been quiet for a moment too."""
    return trio.testing.MockClock(autojump_threshold=0.003)


async def talk(dialler: Libp2pHost, host: Libp2pHost) -> None:
    dialler.add_addresses(host.peer_id, host.addresses())
    stream = await dialler.open_stream(host.peer_id, ECHO)
    await stream.send(b"x")
    assert await stream.receive() == b"x"


@fails_without(fixes.PeerSwarm._do_handle_inbound_connection, Swarm._do_handle_inbound_connection)
async def test_inbound_slots_are_given_back(variant: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Fix 1: with the library's handler, as many connections as there are slots is all a host ever takes."""
    monkeypatch.setattr(fixes.PeerSwarm, "_do_handle_inbound_connection", variant)
    async with open_libp2p_host(identity(1), [LOOPBACK], connections_max=2) as host:
        host.serve(ECHO, echo)
        for number in range(2, 8):
            async with open_libp2p_host(identity(number), []) as visitor:
                await talk(visitor, host)
                connection = host._dialer.live_connections(visitor.peer_id)[0]
            with trio.fail_after(2):
                await connection.event_closed.wait()
            await trio.testing.wait_all_tasks_blocked(0.01)


async def test_a_full_host_turns_newcomers_away_and_serves_the_others() -> None:
    async with open_libp2p_host(identity(1), [LOOPBACK], connections_max=1) as host:
        host.serve(ECHO, echo)
        async with open_libp2p_host(identity(2), []) as first, open_libp2p_host(identity(3), []) as second:
            await talk(first, host)
            with pytest.raises(Unavailable):
                await talk(second, host)
            await talk(first, host)


async def our_listener(stack: AsyncExitStack) -> Multiaddr:
    host = await stack.enter_async_context(open_libp2p_host(identity(1), [LOOPBACK]))
    return Multiaddr(host.addresses()[0])


async def library_listener(stack: AsyncExitStack) -> Multiaddr:
    host = libp2p.new_host()
    await stack.enter_async_context(host.run([Multiaddr(LOOPBACK)]))
    return host.get_transport_addrs()[0]


@fails_without(our_listener, library_listener)
@pytest.mark.parametrize("protocol", [PLAINTEXT_PROTOCOL_ID, SECIO_PROTOCOL_ID, TLS_PROTOCOL_ID])
async def test_nothing_but_noise_is_offered(variant: Callable[..., Any], protocol: str) -> None:
    """Fix 4: over plaintext or SECIO anybody is whoever he says he is."""
    async with AsyncExitStack() as stack:
        raw = await libp2p.TCP().dial(await variant(stack))
        stack.push_async_callback(raw.close)
        with pytest.raises(MultiselectClientError):
            await MultiselectClient().select_one_of([protocol], MultiselectCommunicator(raw))


async def test_noise_is_offered() -> None:
    """The counterpart of the test above."""
    async with AsyncExitStack() as stack:
        raw = await libp2p.TCP().dial(await our_listener(stack))
        stack.push_async_callback(raw.close)
        client = MultiselectClient()
        assert await client.select_one_of([NOISE_PROTOCOL_ID], MultiselectCommunicator(raw)) == NOISE_PROTOCOL_ID


@fails_without(fixes.PeerSwarm, Swarm)
async def test_nobody_is_dialled_for_being_known(variant: Callable[..., Any]) -> None:
    """Fix 5: the library dials whatever is in its peerstore, with its default watermarks."""
    peer_id = libp2p.generate_peer_id_from(libp2p.create_new_ed25519_key_pair())
    swarm = fixes.make_swarm(libp2p.create_new_ed25519_key_pair(), fixes.MuxerSettings(5, 5, 64), 100)
    config = ConnectionConfig()
    parts = swarm.self_id, swarm.peerstore, swarm.upgrader
    tested = variant(*parts, config) if variant is fixes.PeerSwarm else Swarm(*parts, [libp2p.TCP()], None, config)
    listener = (await trio.open_tcp_listeners(0, host="127.0.0.1"))[0]
    async with listener:
        port = listener.socket.getsockname()[1]
        tested.peerstore.add_addrs(peer_id, [Multiaddr(f"/ip4/127.0.0.1/tcp/{port}")], 60)
        async with background_trio_service(tested):
            tested._schedule_auto_connect()
            with trio.move_on_after(0.5) as scope:
                await (await listener.accept()).aclose()
        assert scope.cancelled_caught


async def dial_ours(host: Libp2pHost, remote: Any, address: str) -> None:
    host.add_addresses(remote.to_base58(), [address])
    await host.open_stream(remote.to_base58(), ECHO)


async def dial_library(host: Libp2pHost, remote: Any, address: str) -> None:
    await host._basic.connect(PeerInfo(remote, [Multiaddr(address)]))


@fails_without(dial_ours, dial_library)
async def test_a_dial_gives_up(variant: Callable[..., Any], nursery: trio.Nursery, patient_clock: Any) -> None:
    """Fix 6: whoever accepts and says nothing holds the library for as long as he likes."""
    listener = (await trio.open_tcp_listeners(0, host="127.0.0.1"))[0]
    address = f"/ip4/127.0.0.1/tcp/{listener.socket.getsockname()[1]}"
    remote = libp2p.generate_peer_id_from(libp2p.create_new_ed25519_key_pair())
    async with listener, open_libp2p_host(identity(1), []) as host:
        with trio.fail_after(25), pytest.raises(Unavailable):
            await variant(host, remote, address)


@fails_without(dial_ours, dial_library)
async def test_a_peer_that_was_away_is_reached_when_it_is_back(variant: Callable[..., Any]) -> None:
    """Fix 6: the library refuses for a minute to dial a peer that did not answer once."""
    listener = (await trio.open_tcp_listeners(0, host="127.0.0.1"))[0]
    address = f"/ip4/127.0.0.1/tcp/{listener.socket.getsockname()[1]}"
    await listener.aclose()
    remote = libp2p.ID.from_string(identity(2).peer_id)
    async with open_libp2p_host(identity(1), []) as host:
        with pytest.raises((Unavailable, libp2p.network.exceptions.SwarmException)):
            await variant(host, remote, address)
        async with open_libp2p_host(identity(2), [address]) as back:
            back.serve(ECHO, echo)
            await variant(host, remote, address)
            assert list(host.connected_peers()) == [back.peer_id]


@fails_without(dial_ours, dial_library)
async def test_the_second_address_is_tried_too(variant: Callable[..., Any]) -> None:
    """Fix 6: the library tries one address of each transport."""
    async with open_libp2p_host(identity(1), []) as host, open_libp2p_host(identity(2), [LOOPBACK]) as other:
        other.serve(ECHO, echo)
        remote = libp2p.ID.from_string(other.peer_id)
        dead = "/ip4/127.0.0.1/tcp/1"
        host._swarm.peerstore.add_addrs(remote, [Multiaddr(dead)], 60)
        host.add_addresses(other.peer_id, [dead])
        await variant(host, remote, other.addresses()[0])
        assert list(host.connected_peers()) == [other.peer_id]


@fails_without(dial_ours, dial_library)
async def test_a_dial_waits_for_nothing(variant: Callable[..., Any], patient_clock: Any) -> None:
    """Fix 8: the library sleeps 0.25 s after each dial. The clock is virtual: only sleeps take time."""
    async with open_libp2p_host(identity(1), []) as host, open_libp2p_host(identity(2), [LOOPBACK]) as other:
        other.serve(ECHO, echo)
        started_at = trio.current_time()
        await variant(host, libp2p.ID.from_string(other.peer_id), other.addresses()[0])
        assert trio.current_time() == started_at


@fails_without(True, False)
async def test_others_are_told_addresses_that_can_be_dialled(variant: bool) -> None:
    """Fix 9: the library tells others to dial 0.0.0.0."""
    async with open_libp2p_host(identity(1), ["/ip4/0.0.0.0/tcp/0"]) as host:
        if not variant:
            host._basic._addrs_factory = None
        told = [str(address) for address in host._basic.get_addrs()]
        assert told and not any("0.0.0.0" in address or "/tcp/0" in address for address in told)
        assert told == [f"{address}/p2p/{host.peer_id}" for address in host.addresses()]


LOGGING = """
import logging, sys, trio
sys.path.insert(0, "")
records = []
class Keep(logging.Handler):
    def emit(self, record): records.append(record)
from peer.libp2p_host import open_libp2p_host
from protocol.signing import Identity
async def main():
    async with open_libp2p_host(Identity(bytes(32)), ["/ip4/127.0.0.1/tcp/0"]) as a:
        async with open_libp2p_host(Identity(bytes(31) + b"1"), []) as b:
            a.serve("/x/1", lambda stream: stream.close())
            b.add_addresses(a.peer_id, a.addresses())
            await b.open_stream(a.peer_id, "/x/1")
{undo}
trio.run(main)
assert logging.root.handlers == [], logging.root.handlers
logging.root.addHandler(Keep())
logging.getLogger("libp2p.anything").error("shown")
assert [record.message if hasattr(record, "message") else record.getMessage() for record in records] == ["shown"]
"""


@pytest.mark.slow
@fails_without("", "import peer.libp2p_fixes; peer.libp2p_fixes._tame_logging = lambda: None")
def test_logging_stays_ours(variant: str) -> None:
    """Fix 12: the library installs a handler on the root and keeps its errors to itself. In a fresh process."""
    program = LOGGING.format(undo=variant)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")


async def raw_stream(dialler: Libp2pHost, host: Libp2pHost) -> Any:
    dialler.add_addresses(host.peer_id, host.addresses())
    await dialler.open_stream(host.peer_id, ECHO)
    return dialler._dialer.live_connections(host.peer_id)[0].open_stream_nowait()


async def unguarded(host: Any, net_stream: Any) -> None:
    await host._swarm_stream_handler(net_stream)


@fails_without((basic._guarded, fixes._read_delim), (unguarded, multiselect_communicator.read_delim))
async def test_bytes_that_are_no_text_end_one_stream_alone(variant: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the library anybody ends the whole host with two bytes that are not UTF-8."""
    monkeypatch.setattr(basic, "_guarded", variant[0])
    monkeypatch.setattr(fixes, "_read_delim", variant[1])
    await negotiate_badly(b"\x03\xff\xfe\n")


@pytest.mark.parametrize("line", [b"\xff\xff\xff\xff\x7f", b"\x02ab", b"\x00", b"\xff" * 12, b"\x02a\n"])
async def test_a_line_that_is_no_negotiation_ends_one_stream_alone(line: bytes) -> None:
    await negotiate_badly(line)


async def negotiate_badly(line: bytes) -> None:
    async with open_libp2p_host(identity(1), [LOOPBACK]) as host, open_libp2p_host(identity(2), []) as dialler:
        host.serve(ECHO, echo)
        stream = await raw_stream(dialler, host)
        await stream.write(line)
        with trio.fail_after(2), pytest.raises(MuxedStreamReset):
            while True:
                await stream.read(100)
        await talk(dialler, host)


@fails_without(fixes._read_delim, multiselect_communicator.read_delim)
async def test_a_stranger_cannot_announce_gigabytes(variant: Callable[..., Any], monkeypatch: Any) -> None:
    """Before any handshake, the library reads a line as long as the stranger says."""
    async with open_libp2p_host(identity(1), [LOOPBACK]) as host:
        monkeypatch.setattr(multiselect_communicator, "read_delim", variant)
        port = int(host.addresses()[0].rpartition("/")[2])
        async with await trio.open_tcp_stream("127.0.0.1", port) as stranger:
            await stranger.send_all(b"\x80\x80\x80\x80\x10" + bytes(100_000))
            with trio.fail_after(1):
                try:
                    while await stranger.receive_some():
                        pass
                except trio.BrokenResourceError:
                    pass


async def test_the_library_as_it_comes_talks_to_us(nursery: trio.Nursery) -> None:
    """The wire is libp2p's: its own host opens a stream to ours, and we to it, with megabytes both ways."""
    theirs = libp2p.new_host(key_pair=key_pair_of(identity(9)))
    blob = bytes(range(256)) * 4096

    async def echo_there(stream: Any) -> None:
        while True:
            await stream.write(await stream.read(65536))

    theirs.set_stream_handler(ECHO, echo_there)
    async with open_libp2p_host(identity(1), [LOOPBACK]) as host, theirs.run([Multiaddr(LOOPBACK)]):
        host.serve(ECHO, echo)
        ours = Multiaddr(host.addresses()[0])
        await theirs.connect(PeerInfo(libp2p.ID.from_string(host.peer_id), [ours]))
        there = await theirs.new_stream(libp2p.ID.from_string(host.peer_id), [ECHO])
        nursery.start_soon(there.write, blob)
        received = b""
        with trio.fail_after(10):
            while len(received) < len(blob):
                received += await there.read(65536)
            assert received == blob
            here = await host.open_stream(identity(9).peer_id, ECHO)
            nursery.start_soon(here.send, blob)
            received = b""
            while len(received) < len(blob):
                received += await here.receive()
        assert received == blob
        # Left to itself it leaves its sockets open.
        await theirs.close()


def key_pair_of(owner: Identity) -> Any:
    private_key = libp2p.Ed25519PrivateKey.from_bytes(owner.seed)
    return libp2p.KeyPair(private_key, private_key.get_public_key())


async def test_a_key_of_another_kind_is_refused() -> None:
    """Its id does not hold a key that we could check signatures with."""
    stranger = libp2p.new_host(key_pair=libp2p.generate_new_rsa_identity())
    async with open_libp2p_host(identity(1), [LOOPBACK]) as host, stranger.run([]):
        remote = libp2p.ID.from_string(host.peer_id)
        stranger.get_peerstore().add_addrs(remote, [Multiaddr(host.addresses()[0])], 60)
        with trio.move_on_after(5):
            with pytest.raises(libp2p.network.exceptions.SwarmException):
                await stranger.connect(PeerInfo(remote, [Multiaddr(host.addresses()[0])]))
                await stranger.new_stream(remote, ["/ipfs/ping/1.0.0"])
        assert host.connected_peers() == []
        await stranger.close()


async def test_an_idle_connection_is_closed_and_opened_again_when_needed(patient_clock: Any) -> None:
    async with open_libp2p_host(identity(1), [LOOPBACK]) as host, open_libp2p_host(identity(2), []) as dialler:
        host.serve(ECHO, echo)
        dialler.add_addresses(host.peer_id, host.addresses())
        stream = await dialler.open_stream(host.peer_id, ECHO)
        await trio.sleep(1000)
        assert list(dialler.connected_peers()) == [host.peer_id]
        await stream.close()
        assert await stream.receive() == b""
        await trio.sleep(1000)
        assert list(dialler.connected_peers()) == list(host.connected_peers()) == []
        assert await dialler.open_stream(host.peer_id, ECHO)


async def test_our_own_dials_have_places_when_strangers_take_the_rest() -> None:
    async with AsyncExitStack() as stack:
        host = await stack.enter_async_context(open_libp2p_host(identity(1), [LOOPBACK], connections_max=4))
        host.serve(ECHO, echo)
        for number in (2, 3, 4):
            await talk(await stack.enter_async_context(open_libp2p_host(identity(number), [])), host)
        late = await stack.enter_async_context(open_libp2p_host(identity(5), [LOOPBACK]))
        late.serve(ECHO, echo)
        with pytest.raises(Unavailable):
            await talk(late, host)
        await talk(host, late)


@pytest.mark.parametrize("answer", [b"\xff" * 12, b"\xff\x7f", b"\x02ab", b"\x03\xff\xfe\n"])
async def test_who_answers_nonsense_breaks_the_protocol(answer: bytes) -> None:
    async def talk_nonsense(stream: Any) -> None:
        await stream.write(answer)

    async with open_libp2p_host(identity(1), [LOOPBACK]) as host, open_libp2p_host(identity(2), []) as dialler:
        host._swarm.set_stream_handler(talk_nonsense)
        dialler.add_addresses(host.peer_id, host.addresses())
        with pytest.raises(RemoteError, match="broke the negotiation"):
            await dialler.open_stream(host.peer_id, ECHO)


async def test_a_text_that_is_no_peer_id_is_our_own_fault() -> None:
    async with open_libp2p_host(identity(1), []) as host:
        with pytest.raises(LocalError, match="a peer id"):
            await host.open_stream("hello", ECHO)


async def test_a_taken_port_is_refused_with_the_way_out() -> None:
    """The library shares the port with the other process, and connections go to either."""
    async with open_libp2p_host(identity(1), [LOOPBACK]) as host:
        with pytest.raises(LocalError, match="address already in use: choose another with --listen"):
            async with open_libp2p_host(identity(2), host.addresses()):
                pass


@pytest.mark.parametrize(
    ("listen", "message"),
    [
        ("/ip4/192.0.2.1/tcp/0", "choose another with --listen"),
        ("/dns4/localhost/tcp/0", "give an IP address"),
        ("localhost:4001", "is not an address of the form"),
    ],
)
async def test_a_wrong_listen_address_is_refused(listen: str, message: str) -> None:
    with pytest.raises(LocalError, match=message):
        async with open_libp2p_host(identity(1), [listen]):
            pass


async def test_a_port_is_free_again_after_closing() -> None:
    async with open_libp2p_host(identity(1), [LOOPBACK]) as host:
        listen = host.addresses()
    async with open_libp2p_host(identity(1), listen) as again:
        assert again.addresses() == listen


async def test_a_host_that_does_not_serve_has_no_address() -> None:
    async with open_libp2p_host(identity(1), [LOOPBACK], serving=False) as host:
        assert host.addresses() == []


async def test_an_error_in_the_context_comes_out_as_it_is() -> None:
    with pytest.raises(LocalError, match=r"^mine$"):
        async with open_libp2p_host(identity(1), [LOOPBACK]):
            raise LocalError("mine")


async def test_closing_many_connections_takes_no_time(patient_clock: Any) -> None:
    """The library closes one after another and sleeps 0.2 s at each. The clock is virtual: only sleeps take time."""
    async with AsyncExitStack() as stack:
        host = await stack.enter_async_context(open_libp2p_host(identity(1), [LOOPBACK]))
        host.serve(ECHO, echo)
        for number in range(2, 12):
            await talk(await stack.enter_async_context(open_libp2p_host(identity(number), [])), host)
        started_at = trio.current_time()
        await host.close()
        assert trio.current_time() - started_at < 0.1


async def test_a_cancelled_host_still_says_goodbye() -> None:
    """Ctrl-C: what was sent arrives, and the other side knows at once."""
    async with open_libp2p_host(identity(1), [LOOPBACK]) as host:
        received = trio.Event()

        async def keep(stream: Stream) -> None:
            assert await stream.receive() == b"goodbye"
            with pytest.raises(Unavailable):
                await stream.receive()
            received.set()

        host.serve(ECHO, keep)
        with trio.CancelScope() as scope:
            async with open_libp2p_host(identity(2), []) as visitor:
                visitor.add_addresses(host.peer_id, host.addresses())
                stream = await visitor.open_stream(host.peer_id, ECHO)
                await stream.send(b"goodbye")
                scope.cancel()
                await trio.sleep_forever()
        with trio.fail_after(2):
            await received.wait()


def test_another_version_of_the_library_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fixes, "LIBRARY_VERSION", "0.9.0")
    with pytest.raises(LocalError, match=r"needs 0\.9\.0"):
        fixes.prepare_library()


def test_a_library_that_lacks_what_is_replaced_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(Swarm, "_schedule_prune")
    with pytest.raises(LocalError, match=r"lacks Swarm._schedule_prune"):
        fixes.prepare_library()
