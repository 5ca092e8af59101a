"""A Yamux connection that keeps its promises (LIBP2P, fixes 2, 3, 7 and 11).

The library's session, replaced where it loses data or can be abused: writes go through an outbox that one
task empties, incoming frames are parsed from whole Noise messages, the receive window is enforced, and a
connection on which nothing arrives is found dead within seconds.
"""

import logging
import struct
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import trio
from libp2p.stream_muxer.exceptions import MuxedStreamError
from libp2p.stream_muxer.muxer_multistream import MuxerMultistream
from libp2p.stream_muxer.yamux import yamux
from libp2p.transport.exceptions import MuxerUpgradeFailure

from peer.libp2p_fixes_outbox import Outbox
from peer.libp2p_fixes_stream import WINDOW_BYTES_MAX, PeerYamuxStream, header
from protocol.errors import BadRecord
from protocol.ids import PeerId, public_key_of

logger = logging.getLogger(__name__)

CLOSE_FLUSH_S = 0.5
"""How long an orderly close waits for what is still to be written."""

WINDOW_GROWTH_BYTES_MAX = 16 * 1024 * 1024
"""How much all windows of one connection may grow beyond their start."""


@dataclass(frozen=True, slots=True)
class MuxerSettings:
    """A ping after `ping_interval_s` of silence; dead after `ping_timeout_s` more; closed when idle for long."""

    ping_interval_s: float
    ping_timeout_s: float
    inbound_streams_max: int
    idle_timeout_s: float = 300.0


class ProtocolViolation(Exception):
    """The other side broke Yamux; the connection ends."""


class PeerYamux(yamux.Yamux):  # type: ignore[misc]
    """One connection. `start` runs it until it ends and never raises but for cancellation."""

    def __init__(self, secured_conn: Any, peer_id: Any, settings: MuxerSettings) -> None:
        super().__init__(secured_conn, peer_id, is_initiator=secured_conn.is_initiator)
        self.streams: dict[int, PeerYamuxStream] = {}
        self.outbox = Outbox()
        self.remote_address = _remote_address(secured_conn)
        self._settings = settings
        self._ping_id = 0
        # The library's channel holds 10: a burst of streams in one packet would be refused.
        channel = trio.open_memory_channel[PeerYamuxStream](settings.inbound_streams_max)
        self.new_stream_send_channel, self.new_stream_receive_channel = channel
        self._scope = trio.CancelScope()
        self._heard_at = trio.current_time()
        self._heard = trio.Event()
        self._head = b""
        self._body_stream: PeerYamuxStream | None = None
        self._body_left = 0
        self._body_flags = 0
        self._window_growth_bytes = 0
        self._idle_since = trio.current_time()

    async def start(self) -> None:
        """Run the connection until it ends."""
        try:
            with self._scope:
                async with trio.open_nursery() as nursery:
                    for loop in (self._receive_loop, self._send_loop, self._watch_loop):
                        nursery.start_soon(self._supervise, loop)
                    self._established = True
                    self.event_started.set()
        finally:
            await self._end()

    async def close(self, error_code: int = yamux.GO_AWAY_NORMAL) -> None:
        """End the connection, after writing what is still to be written (at most `CLOSE_FLUSH_S`). Idempotent."""
        if not self.event_shutting_down.is_set():
            self._stop_opening()
            self.outbox.put(header(yamux.TYPE_GO_AWAY, 0, 0, error_code))
        if not self._scope.cancel_called:
            with trio.CancelScope(deadline=trio.current_time() + CLOSE_FLUSH_S, shield=True):
                await self.outbox.wait_written()
        await self._end()

    async def open_stream(self) -> PeerYamuxStream:
        """A new stream; nothing is waited for."""
        await trio.lowlevel.checkpoint()
        return self.open_stream_nowait()

    def open_stream_nowait(self) -> PeerYamuxStream:
        """A new stream; raises `MuxedStreamError` when the connection is ending."""
        if self.event_shutting_down.is_set():
            raise MuxedStreamError("the connection is ending")
        stream = PeerYamuxStream(self.next_stream_id, self, True)
        self.next_stream_id += 2
        self.streams[stream.stream_id] = stream
        self.outbox.put(header(yamux.TYPE_WINDOW_UPDATE, yamux.FLAG_SYN, stream.stream_id, 0))
        return stream

    def take_window_budget(self, wanted: int) -> int:
        """How much the window of a stream may grow, at most doubling it."""
        granted = min(wanted, WINDOW_BYTES_MAX - wanted, WINDOW_GROWTH_BYTES_MAX - self._window_growth_bytes)
        self._window_growth_bytes += max(0, granted)
        return max(0, granted)

    def forget(self, stream: PeerYamuxStream) -> None:
        """A stream is over: its number and its share of the window growth are free. Idempotent."""
        if self.streams.pop(stream.stream_id, None) is not None:
            self._window_growth_bytes -= stream.target_recv_window - yamux.DEFAULT_WINDOW_SIZE
            self._idle_since = trio.current_time()

    async def _supervise(self, loop: Callable[[], Awaitable[None]]) -> None:
        """Whatever ends one loop ends the connection, and that alone (the library's session ends its whole host)."""
        try:
            await loop()
        except Exception as error:  # noqa: BLE001 - the supervised boundary of one connection
            logger.info("the connection with %s ends: %r", self.peer_id, error)
        self._scope.cancel()

    async def _send_loop(self) -> None:
        while (data := await self.outbox.take()) is not None:
            await self.secured_conn.write(data)

    async def _receive_loop(self) -> None:
        while data := await self.secured_conn.read():
            self._heard_at = trio.current_time()
            self._heard.set()
            self._on_bytes(data)

    async def _watch_loop(self) -> None:
        """Without this a silent cut is noticed by nobody: a dead link and an idle one look alike."""
        await self._ping()
        while not self._idle_for_long():
            quiet_s = trio.current_time() - self._heard_at
            if quiet_s < self._settings.ping_interval_s:
                await trio.sleep(self._settings.ping_interval_s - quiet_s)
                continue
            await self._ping()
        await self.close()

    def _idle_for_long(self) -> bool:
        return not self.streams and trio.current_time() - self._idle_since > self._settings.idle_timeout_s

    async def _ping(self) -> None:
        self._heard = trio.Event()
        self._ping_id = (self._ping_id + 1) & 0xFFFFFFFF
        self._ping_sent_time = trio.current_time()
        self.outbox.put_urgent(header(yamux.TYPE_PING, yamux.FLAG_SYN, 0, self._ping_id))
        with trio.move_on_after(self._settings.ping_timeout_s) as scope:
            await self._heard.wait()
        if scope.cancelled_caught:
            raise ProtocolViolation(f"nothing heard for {self._settings.ping_timeout_s} s after a ping")

    def _on_bytes(self, data: bytes) -> None:
        position = 0
        while position < len(data):
            if self._body_left:
                position = self._on_body(data, position)
                continue
            missing = yamux.HEADER_SIZE - len(self._head)
            self._head += data[position : position + missing]
            position += missing
            if len(self._head) == yamux.HEADER_SIZE:
                fields = struct.unpack(yamux.YAMUX_HEADER_FORMAT, self._head)
                self._head = b""
                self._on_header(*fields)

    def _on_body(self, data: bytes, position: int) -> int:
        part = data[position : position + self._body_left]
        self._body_left -= len(part)
        if self._body_stream is not None and not self._body_stream.closed:
            self._body_stream.on_data(part)
        if not self._body_left:
            self._on_flags(self._body_stream, self._body_flags)
        return position + len(part)

    def _on_header(self, version: int, kind: int, flags: int, stream_id: int, length: int) -> None:
        if version != 0 or kind > yamux.TYPE_GO_AWAY:
            raise ProtocolViolation(f"a frame of version {version} and type {kind}")
        if kind == yamux.TYPE_PING:
            self._on_ping(flags, length)
        elif kind == yamux.TYPE_GO_AWAY:
            # No new streams; what is already on its way is still read, up to the end of the connection.
            self._stop_opening()
        else:
            stream = self._on_syn(stream_id) if flags & yamux.FLAG_SYN else self.streams.get(stream_id)
            if kind == yamux.TYPE_DATA and length:
                self._begin_body(stream, flags, length)
                return
            if stream is not None and length:
                stream.on_window(length)
            self._on_flags(stream, flags)

    def _begin_body(self, stream: PeerYamuxStream | None, flags: int, length: int) -> None:
        window = WINDOW_BYTES_MAX if stream is None else stream.recv_window
        if length > window:
            # The library only logs this: one stream that nobody reads then fills the memory (922 MB in 8 s).
            raise ProtocolViolation(f"{length} bytes sent into a window of {window}")
        if stream is not None:
            stream.recv_window -= length
        self._body_stream, self._body_left, self._body_flags = stream, length, flags

    def _on_flags(self, stream: PeerYamuxStream | None, flags: int) -> None:
        if stream is None or stream.closed:
            return
        if flags & yamux.FLAG_RST:
            stream.on_reset()
        elif flags & yamux.FLAG_FIN:
            stream.on_fin()

    def _on_syn(self, stream_id: int) -> PeerYamuxStream | None:
        ours = bool(stream_id % 2) == self.is_initiator_value
        if ours or not stream_id or stream_id in self.streams:
            raise ProtocolViolation(f"stream {stream_id} opened, which is not theirs to open")
        stream = PeerYamuxStream(stream_id, self, False)
        inbound = sum(not other.is_initiator for other in self.streams.values())
        if inbound >= self._settings.inbound_streams_max or self.event_shutting_down.is_set():
            self._refuse(stream_id)
            return None
        try:
            self.new_stream_send_channel.send_nowait(stream)
        except (trio.WouldBlock, trio.BrokenResourceError, trio.ClosedResourceError):
            self._refuse(stream_id)
            return None
        self.streams[stream_id] = stream
        self.outbox.put_urgent(header(yamux.TYPE_WINDOW_UPDATE, yamux.FLAG_ACK, stream_id, 0))
        self._check_outbox()
        return stream

    def _refuse(self, stream_id: int) -> None:
        self.outbox.put_urgent(header(yamux.TYPE_WINDOW_UPDATE, yamux.FLAG_RST, stream_id, 0))
        self._check_outbox()

    def _on_ping(self, flags: int, value: int) -> None:
        if flags & yamux.FLAG_SYN:
            self.outbox.put_urgent(header(yamux.TYPE_PING, yamux.FLAG_ACK, 0, value))
            self._check_outbox()
        elif value == self._ping_id and self._ping_sent_time:
            self._rtt = trio.current_time() - self._ping_sent_time

    def _check_outbox(self) -> None:
        if self.outbox.overflows:
            raise ProtocolViolation("provokes more answers than it reads")

    def _stop_opening(self) -> None:
        self.event_shutting_down.set()
        self.new_stream_send_channel.close()

    async def _end(self) -> None:
        """Everything that must hold when the connection is over, however it came to its end. Idempotent."""
        self._stop_opening()
        self.outbox.close()
        for stream in list(self.streams.values()):
            stream.on_broken()
        self._scope.cancel()
        with trio.CancelScope(shield=True):
            await self.secured_conn.close()
        self.event_closed.set()


class PeerMuxerMultistream(MuxerMultistream):  # type: ignore[misc]
    """Offers Yamux alone, and makes it a `PeerYamux`: the library's own names its session class in its code."""

    def __init__(self, settings: MuxerSettings) -> None:
        super().__init__({yamux.PROTOCOL_ID: PeerYamux})
        self._settings = settings

    async def new_conn(self, conn: Any, peer_id: Any) -> PeerYamux:
        """Agree with the other side on Yamux; the connection is not started yet."""
        _check_peer_id(peer_id)
        protocol, _ = await self._selector.select(conn, conn.is_initiator, self.negotiate_timeout)
        return self._annotate_connection(PeerYamux(conn, peer_id, self._settings), conn, protocol)  # type: ignore[no-any-return]


def _check_peer_id(peer_id: Any) -> None:
    """Only Ed25519 keys are read back from peer ids here; another kind could sign nothing that we can check."""
    try:
        public_key_of(PeerId(peer_id.to_base58()))
    except BadRecord as error:
        raise MuxerUpgradeFailure(str(error)) from error


def _remote_address(secured_conn: Any) -> str | None:
    """The multiaddr at the other end; the library's own accessor knows no IPv6."""
    try:
        stream = secured_conn.conn.read_writer.read_write_closer.stream.stream
        host, port = stream.socket.getpeername()[:2]
    except (AttributeError, OSError):
        return None
    return f"/ip{6 if ':' in host else 4}/{host.partition('%')[0]}/tcp/{port}"
