"""The fixes of the Yamux session (LIBP2P, 2, 3, 7 and 11), over Noise and real loopback sockets.

Each runs over the library's own session too and must fail there: that shows that the test can fail, and
the day it passes the fix can go.
"""

import contextlib
from collections.abc import Callable
from typing import Any

import pytest
import trio
import trio.testing
from libp2p import create_new_ed25519_key_pair, create_new_x25519_key_pair, generate_peer_id_from
from libp2p.io.exceptions import ConnectionClosedError
from libp2p.io.trio import TrioTCPStream
from libp2p.network.connection.raw_connection import RawConnection
from libp2p.security.noise.transport import Transport as NoiseTransport
from libp2p.stream_muxer.exceptions import MuxedStreamError, MuxedStreamReset
from libp2p.stream_muxer.yamux import yamux

from peer.libp2p_fixes_stream import header
from peer.libp2p_fixes_yamux import MuxerSettings, PeerYamux

KIB = 1024
MIB = 1024 * KIB
SETTINGS = MuxerSettings(ping_interval_s=5, ping_timeout_s=5, inbound_streams_max=64)

Muxer = Callable[[Any, Any], Any]


def ours(conn: Any, peer_id: Any) -> PeerYamux:
    return PeerYamux(conn, peer_id, SETTINGS)


def without_watch(conn: Any, peer_id: Any) -> PeerYamux:
    return PeerYamux(conn, peer_id, MuxerSettings(1e9, 1e9, 64))


def fails_without(muxer: Muxer) -> pytest.MarkDecorator:
    wanted = pytest.mark.xfail(strict=True, reason="without the fix")
    return pytest.mark.parametrize("muxer", [ours, pytest.param(muxer, marks=wanted, id="without")])


fails_in_the_library = fails_without(yamux.Yamux)


@pytest.fixture
def patient_clock() -> trio.testing.MockClock:
    """Virtual time that jumps only when the sockets have been quiet for a moment too."""
    return trio.testing.MockClock(autojump_threshold=0.003)


class Ends:
    """Two sessions over one TCP connection, run by a nursery."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self.nursery = nursery
        self.sockets: list[trio.SocketStream] = []

    async def noise(self) -> tuple[Any, Any]:
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        port = listeners[0].socket.getsockname()[1]
        dialled = await trio.open_tcp_stream("127.0.0.1", port)
        accepted = await listeners[0].accept()
        await listeners[0].aclose()
        return await self.secure(dialled, accepted)

    async def secure(self, dialled: trio.SocketStream, accepted: trio.SocketStream) -> tuple[Any, Any]:
        self.sockets += [dialled, accepted]
        ends: list[Any] = [None, None]
        keys = create_new_ed25519_key_pair(), create_new_ed25519_key_pair()
        transports = [NoiseTransport(key, create_new_x25519_key_pair().private_key) for key in keys]

        async def dial() -> None:
            raw = RawConnection(TrioTCPStream(dialled), True)
            ends[0] = await transports[0].secure_outbound(raw, generate_peer_id_from(keys[1]))

        async with trio.open_nursery() as handshake:
            handshake.start_soon(dial)
            ends[1] = await transports[1].secure_inbound(RawConnection(TrioTCPStream(accepted), False))
        return ends[0], ends[1]

    async def start(self, muxer: Muxer, conn: Any) -> Any:
        session = muxer(conn, conn.get_remote_peer())
        self.nursery.start_soon(session.start)
        await session.event_started.wait()
        return session

    async def sessions(self, muxer: Muxer) -> tuple[Any, Any]:
        left, right = await self.noise()
        return await self.start(muxer, left), await self.start(muxer, right)

    async def streams(self, muxer: Muxer) -> tuple[Any, Any]:
        left, right = await self.sessions(muxer)
        return await left.open_stream(), await right.accept_stream()

    async def aclose(self) -> None:
        self.nursery.cancel_scope.cancel()
        for socket in self.sockets:
            await trio.aclose_forcefully(socket)


@pytest.fixture
async def ends(nursery):
    made = Ends(nursery)
    yield made
    with trio.CancelScope(shield=True):
        await made.aclose()


async def read_exactly(stream: Any, size: int) -> bytes:
    data = b""
    while len(data) < size:
        data += await stream.read(size - len(data))
    return data


@fails_in_the_library
async def test_cancelled_reads_lose_nothing(muxer, ends, nursery) -> None:
    """Fix 2: the library awaits a window update between taking the bytes and returning them.

    Its connection does not survive this test either.
    """
    writer, reader = await ends.streams(muxer)
    blob = b"".join(i.to_bytes(4, "big") for i in range(128 * KIB))
    nursery.start_soon(writer.write, blob)
    received = b""
    with trio.fail_after(10):
        while len(received) < len(blob):
            with trio.CancelScope() as scope:
                nursery.start_soon(cancel_soon, scope)
                received += await reader.read(8 * KIB)
    assert received == blob


async def cancel_soon(scope: trio.CancelScope) -> None:
    for _ in range(3):
        await trio.lowlevel.checkpoint()
    scope.cancel()


@fails_in_the_library
async def test_a_cancelled_write_leaves_the_connection_whole(muxer, ends, nursery) -> None:
    """Fix 2: the library leaves half a Noise frame on the wire, after which nothing can be decrypted."""
    left, right = await ends.sessions(muxer)
    with trio.fail_after(5):
        # Not read by anybody, and wide open: the socket's buffers fill in the middle of a frame.
        for _ in range(40):
            stream = await left.open_stream()
            stream.send_window = 64 * MIB
            (await right.accept_stream()).recv_window = 64 * MIB
            with trio.move_on_after(0.001):
                await stream.write(bytes(4 * MIB))
        last = await left.open_stream()
        accepted = await accept_last(right, last.stream_id)
        await last.write(b"still here")
        assert await read_exactly(accepted, 10) == b"still here"


async def accept_last(session: Any, stream_id: int) -> Any:
    while True:
        stream = await session.accept_stream()
        if stream.stream_id == stream_id:
            return stream


@fails_in_the_library
async def test_a_writer_outwaits_a_reader_that_pauses(muxer, ends, nursery, patient_clock) -> None:
    """Fix 3: the library resets the stream after 5 s without window."""
    writer, reader = await ends.streams(muxer)
    blob = bytes(2 * MIB)
    nursery.start_soon(writer.write, blob)
    await trio.sleep(60)
    with trio.fail_after(60):
        assert await read_exactly(reader, len(blob)) == blob


@fails_in_the_library
async def test_a_full_frame_fits_into_one_noise_message(muxer, ends, nursery) -> None:
    """Fix 3: the library's full frames spill 17 bytes into a second message, each time."""
    left, right = await ends.noise()
    sizes: list[int] = []
    write = left.write

    async def record(data: bytes) -> None:
        sizes.append(len(data))
        await write(data)

    left.write = record
    writer = await (await ends.start(muxer, left)).open_stream()
    reader = await (await ends.start(muxer, right)).accept_stream()
    nursery.start_soon(writer.write, bytes(MIB))
    with trio.fail_after(5):
        await read_exactly(reader, MIB)
    assert 60_000 < max(sizes) <= 65_519


@fails_in_the_library
async def test_whoever_sends_beyond_the_window_loses_the_connection(muxer, ends) -> None:
    """Fix 7: the library only logs it; a stream that nobody reads took 922 MB in 8 s."""
    hostile, conn = await ends.noise()
    session = await ends.start(muxer, conn)
    await hostile.write(header(yamux.TYPE_WINDOW_UPDATE, yamux.FLAG_SYN, 1, 0))
    with trio.fail_after(1):
        for _ in range(5):
            await hostile.write(header(yamux.TYPE_DATA, 0, 1, 64_000) + bytes(64_000))
        await session.event_closed.wait()


async def test_whoever_keeps_to_the_window_keeps_the_connection(ends) -> None:
    """The counterpart of the test above: 256 KiB are allowed."""
    hostile, conn = await ends.noise()
    session = await ends.start(ours, conn)
    await hostile.write(header(yamux.TYPE_WINDOW_UPDATE, yamux.FLAG_SYN, 1, 0))
    for _ in range(4):
        await hostile.write(header(yamux.TYPE_DATA, 0, 1, 64 * KIB) + bytes(64 * KIB))
    stream = await session.accept_stream()
    with trio.fail_after(5):
        assert await read_exactly(stream, 256 * KIB) == bytes(256 * KIB)


@fails_in_the_library
async def test_a_flood_of_pings_that_never_reads_loses_the_connection(muxer, ends, nursery) -> None:
    """Answers would pile up without bound, or block all reading."""
    hostile, conn = await ends.noise()
    session = await ends.start(muxer, conn)
    pings = header(yamux.TYPE_PING, yamux.FLAG_SYN, 0, 7) * 5000
    nursery.start_soon(write_until_closed, hostile, pings)
    with trio.fail_after(1):
        await session.event_closed.wait()


async def write_until_closed(conn: Any, data: bytes) -> None:
    with contextlib.suppress(ConnectionClosedError):
        while True:
            await conn.write(data)


@fails_in_the_library
@pytest.mark.parametrize(
    "frame",
    [
        pytest.param(header(9, 0, 1, 0), id="unknown-type"),
        pytest.param(b"\x05" + header(0, 0, 1, 0)[1:], id="unknown-version"),
        pytest.param(header(yamux.TYPE_WINDOW_UPDATE, yamux.FLAG_SYN, 2, 0), id="our-own-stream-id"),
    ],
)
async def test_a_frame_that_breaks_yamux_ends_the_connection(muxer, frame, ends) -> None:
    hostile, conn = await ends.noise()
    session = await ends.start(muxer, conn)
    await hostile.write(frame)
    with trio.fail_after(0.5):
        await session.event_closed.wait()


@fails_in_the_library
async def test_a_reset_is_not_an_orderly_end(muxer, ends, nursery) -> None:
    """A reader that waits is told of the reset; the library calls it the end of the stream."""
    writer, reader = await ends.streams(muxer)
    outcome: list[BaseException] = []

    async def read() -> None:
        try:
            await reader.read(100)
        except MuxedStreamError as error:
            outcome.append(error)

    async with trio.open_nursery() as reading:
        reading.start_soon(read)
        await trio.testing.wait_all_tasks_blocked(0.02)
        await writer.reset()
    assert isinstance(outcome[0], MuxedStreamReset)


@fails_in_the_library
async def test_what_arrived_before_the_connection_broke_can_be_read(muxer, ends) -> None:
    left, right = await ends.sessions(muxer)
    stream = await left.open_stream()
    accepted = await right.accept_stream()
    await stream.write(b"last words")
    await trio.testing.wait_all_tasks_blocked(0.02)
    await trio.aclose_forcefully(ends.sockets[0])
    await right.event_closed.wait()
    assert await read_exactly(accepted, 10) == b"last words"
    with pytest.raises(MuxedStreamReset):
        await accepted.read(1)


class SilentProxy:
    """Forwards between two sockets until told to stop; then the bytes vanish and nobody is told."""

    def __init__(self) -> None:
        self.silent = False

    async def connect(self, ends: Ends) -> tuple[trio.SocketStream, trio.SocketStream]:
        outer = await socket_pair()
        inner = await socket_pair()
        ends.sockets += [outer[1], inner[0]]
        ends.nursery.start_soon(self.forward, outer[1], inner[0])
        ends.nursery.start_soon(self.forward, inner[0], outer[1])
        return outer[0], inner[1]

    async def forward(self, source: trio.SocketStream, target: trio.SocketStream) -> None:
        with contextlib.suppress(trio.ClosedResourceError, trio.BrokenResourceError):
            async for data in source:
                if self.silent:
                    await trio.sleep_forever()
                await target.send_all(data)


async def socket_pair() -> tuple[trio.SocketStream, trio.SocketStream]:
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    dialled = await trio.open_tcp_stream("127.0.0.1", listeners[0].socket.getsockname()[1])
    accepted = await listeners[0].accept()
    await listeners[0].aclose()
    return dialled, accepted


@fails_without(without_watch)
@pytest.mark.parametrize("busy", [False, True], ids=["idle", "writing"])
async def test_a_silent_cut_is_found_within_seconds(muxer, busy, ends, nursery, patient_clock) -> None:
    """Fix 11: also while a write hangs on the dead link. The proxy holds the sockets open all the time."""
    proxy = SilentProxy()
    left, right = await ends.secure(*await proxy.connect(ends))
    sessions = await ends.start(muxer, left), await ends.start(muxer, right)
    stream = await sessions[0].open_stream()
    stream.send_window = 64 * MIB
    await trio.sleep(20)
    assert not sessions[0].event_closed.is_set() and not sessions[1].event_closed.is_set()
    proxy.silent = True
    if busy:
        nursery.start_soon(expect_reset, stream.write, bytes(32 * MIB))
    cut_at = trio.current_time()
    with trio.fail_after(60):
        for session in sessions:
            await session.event_closed.wait()
    assert trio.current_time() - cut_at <= SETTINGS.ping_interval_s + SETTINGS.ping_timeout_s + 1


async def expect_reset(write: Callable[[bytes], Any], data: bytes) -> None:
    with pytest.raises(MuxedStreamReset):
        await write(data)
