"""The real host: streams over libp2p (TCP, Noise, Yamux), and the boundary where its errors become ours.

`peer/libp2p_host.py` and the files `peer/libp2p_fixes*.py` are the only ones that import libp2p, and this one
does so only when a host is opened: the import takes a second.
"""

import logging
import resource
import socket
from collections import OrderedDict
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import trio

from peer.addresses import TcpAddress, concrete_addresses, dialable, parse_address
from peer.stream_requests import RequestsOverStreams
from protocol.errors import BadRecord, LocalError, ParallelPeerError, Unavailable
from protocol.ids import PeerId, public_key_of
from protocol.limits import ADDRESSES_PER_PEER_MAX, DIAL_TIMEOUT_S, STREAMS_PER_PEER_MAX
from protocol.network import StreamHandler
from protocol.signing import Identity

if TYPE_CHECKING:
    from libp2p.host.basic_host import BasicHost

    from peer.libp2p_fixes import PeerSwarm
    from peer.libp2p_fixes_dial import Dialer
    from peer.libp2p_fixes_stream import PeerYamuxStream

CONNECTIONS_MAX = 4096
FILES_RESERVED = 128
"""Open files left for everything but connections."""

PEERS_REMEMBERED_MAX = 16_384
CLOSE_TIMEOUT_S = 1.5
PING_INTERVAL_S = 5.0
PING_TIMEOUT_S = 5.0

logger = logging.getLogger(__name__)


class Libp2pStream:
    """A `protocol.network.Stream` over one Yamux stream."""

    def __init__(self, muxed: "PeerYamuxStream") -> None:
        self._muxed = muxed
        self._remote_peer = PeerId(muxed.conn.peer_id.to_base58())

    def __repr__(self) -> str:
        return f"<Libp2pStream {self._muxed.stream_id} with {self._remote_peer}>"

    @property
    def remote_peer(self) -> PeerId:
        """The peer id that Noise proved."""
        return self._remote_peer

    @property
    def remote_address(self) -> str | None:
        """The multiaddr at the other end of the connection."""
        return self._muxed.conn.remote_address

    async def send(self, data: bytes) -> None:
        """Send all of `data`; see `protocol.network.Stream`."""
        from libp2p.stream_muxer.exceptions import MuxedStreamError

        try:
            await self._muxed.write(data)
        except MuxedStreamError as error:
            raise Unavailable(f"cannot send to {self._remote_peer}: {error}") from error

    async def receive(self, size_bytes_max: int = 65536) -> bytes:
        """Some bytes, or b"" at the end; see `protocol.network.Stream`."""
        from libp2p.stream_muxer.exceptions import MuxedStreamEOF, MuxedStreamError

        try:
            return await self._muxed.read(size_bytes_max)
        except MuxedStreamEOF:
            return b""
        except MuxedStreamError as error:
            raise Unavailable(f"cannot receive from {self._remote_peer}: {error}") from error

    async def close(self) -> None:
        """End our direction."""
        await self._muxed.close()

    async def reset(self) -> None:
        """Drop both directions; done even when the caller is being cancelled."""
        self._muxed.reset_nowait()
        await trio.lowlevel.checkpoint()


class Libp2pHost(RequestsOverStreams):
    """A `protocol.network.Host`; made by `open_libp2p_host`."""

    def __init__(self, identity: Identity, swarm: "PeerSwarm", basic: "BasicHost", dialer: "Dialer") -> None:
        super().__init__()
        self._identity = identity
        self._swarm = swarm
        self._basic = basic
        self._dialer = dialer
        self._book: OrderedDict[PeerId, dict[str, None]] = OrderedDict()
        self._closed = False

    def __repr__(self) -> str:
        return f"<Libp2pHost {self.peer_id}>"

    @property
    def peer_id(self) -> PeerId:
        """Our own id."""
        return self._identity.peer_id

    def addresses(self) -> Sequence[str]:
        """Where others can dial us: real ports, and for a listener on all interfaces one address each."""
        listening = [parse_address(str(a)) for listener in self._swarm.listeners.values() for a in listener.get_addrs()]
        return list(dict.fromkeys(str(c) for address in listening for c in concrete_addresses(address)))

    def add_addresses(self, peer: PeerId, addresses: Sequence[str]) -> None:
        """Remember where a peer may be dialled; what cannot be dialled is dropped, the newest come first."""
        known = self._book.setdefault(peer, {})
        self._book.move_to_end(peer)
        newest = dict.fromkeys([*dialable(addresses), *known])
        self._book[peer] = dict.fromkeys(list(newest)[:ADDRESSES_PER_PEER_MAX])
        while len(self._book) > PEERS_REMEMBERED_MAX:
            self._book.popitem(last=False)

    async def open_stream(self, peer: PeerId, protocol: str) -> Libp2pStream:
        """A new stream within `DIAL_TIMEOUT_S`; see `protocol.network.Host`."""
        if peer == self.peer_id:
            raise LocalError(f"{peer} is this peer itself, which does not dial itself")
        try:
            public_key_of(peer)
        except BadRecord as error:
            raise LocalError(str(error)) from error
        try:
            with trio.fail_after(DIAL_TIMEOUT_S):
                return await self._open(peer, protocol)
        except trio.TooSlowError as error:
            raise Unavailable(f"{peer} does not answer within {DIAL_TIMEOUT_S} s") from error

    async def _open(self, peer: PeerId, protocol: str) -> Libp2pStream:
        from libp2p.stream_muxer.exceptions import MuxedStreamError

        from peer.libp2p_fixes_dial import negotiate

        reused = bool(self._dialer.live_connections(peer))
        while True:
            if self._closed:
                raise Unavailable("this host is closed")
            connection = await self._dialer.connection_to(peer, list(self._book.get(peer, ())))
            try:
                muxed = connection.open_stream_nowait()
                await negotiate(muxed, protocol)
            except MuxedStreamError as error:
                # An old connection may have ended without our knowing yet: one fresh dial is worth it.
                if reused and connection.event_shutting_down.is_set():
                    reused = False
                    continue
                raise Unavailable(f"{peer} refused a stream for {protocol}: {error}") from error
            return Libp2pStream(muxed)

    def serve(self, protocol: str, handler: StreamHandler) -> None:
        """Call `handler` for each stream that others open with `protocol`."""
        self._basic.set_stream_handler(protocol, partial(self._on_stream, handler))

    async def _on_stream(self, handler: StreamHandler, net_stream: Any) -> None:
        muxed = net_stream.muxed_stream
        connections = self._dialer.live_connections(PeerId(muxed.conn.peer_id.to_base58()))
        inbound = sum(not other.is_initiator for c in connections for other in c.streams.values())
        if inbound > STREAMS_PER_PEER_MAX:
            muxed.reset_nowait()
            return
        try:
            await handler(Libp2pStream(muxed))
        except trio.Cancelled:
            muxed.reset_nowait()
            raise
        except ParallelPeerError as error:
            logger.info("a stream with %s ends: %s", muxed.conn.peer_id, error)
            muxed.reset_nowait()
        except Exception:
            # The supervised boundary of one stream.
            logger.exception("a stream handler failed; its stream with %s is reset", muxed.conn.peer_id)
            muxed.reset_nowait()

    def connected_peers(self) -> Sequence[PeerId]:
        """Peers with a live connection, sorted."""
        peers = [PeerId(peer_id.to_base58()) for peer_id in self._swarm.connections]
        return sorted(peer for peer in peers if self._dialer.live_connections(peer))

    def callers(self) -> Sequence[PeerId]:
        """See `protocol.network.Host`."""
        live = ((peer, self._dialer.live_connections(peer)) for peer in self.connected_peers())
        return [peer for peer, connections in live if not all(one.is_initiator_value for one in connections)]

    async def close(self) -> None:
        """Close all connections and listeners, within `CLOSE_TIMEOUT_S` even when cancelled. Idempotent."""
        if self._closed:
            return
        self._closed = True
        with trio.CancelScope(deadline=trio.current_time() + CLOSE_TIMEOUT_S, shield=True):
            await self.close_pools()
            async with trio.open_nursery() as nursery:
                for connection in self._swarm.get_connections():
                    nursery.start_soon(connection.muxed_conn.close)
            for listener in list(self._swarm.listeners.values()):
                await listener.close()
            self._swarm.listeners.clear()
        self._swarm.connections.clear()


@asynccontextmanager
async def open_libp2p_host(
    identity: Identity,
    listen: Sequence[str],
    *,
    serving: bool = True,
    ping_interval_s: float = PING_INTERVAL_S,
    ping_timeout_s: float = PING_TIMEOUT_S,
    connections_max: int = CONNECTIONS_MAX,
) -> AsyncIterator[Libp2pHost]:
    """A running host, closed when the context ends.

    `listen` are multiaddrs, port 0 for any; none is listened to when not `serving`. A peer that is silent for
    `ping_interval_s` is asked for a sign of life and dropped `ping_timeout_s` later. Raises `LocalError` when an
    address is wrong, is taken, or is not of this machine.
    """
    wanted = [parse_address(text) for text in listen] if serving else []
    for address in wanted:
        _check_free(address)

    from libp2p.tools.anyio_service import TrioManager

    from peer.libp2p_fixes import make_swarm, prepare_library
    from peer.libp2p_fixes_basic import basic_host, key_pair_of
    from peer.libp2p_fixes_dial import Dialer
    from peer.libp2p_fixes_yamux import MuxerSettings

    prepare_library()
    muxer = MuxerSettings(ping_interval_s, ping_timeout_s, STREAMS_PER_PEER_MAX)
    swarm = make_swarm(key_pair_of(identity), muxer, _affordable(connections_max))
    failure: Exception | None = None
    async with trio.open_nursery() as nursery:
        host = Libp2pHost(identity, swarm, basic_host(swarm), Dialer(swarm, nursery))
        manager = TrioManager(swarm)
        nursery.start_soon(_run_shielded, manager)
        await manager.wait_started()
        try:
            await _listen(swarm, wanted)
            yield host
        except Exception as error:  # noqa: BLE001 - carried past the nursery, which would wrap it in a group
            failure = error
        finally:
            await host.close()
            manager.cancel()
            nursery.cancel_scope.cancel()
    if failure is not None:
        raise failure


async def _run_shielded(manager: Any) -> None:
    """Connections live until the host has closed them in good order, also when we are being cancelled."""
    with trio.CancelScope(shield=True):
        await manager.run()


async def _listen(swarm: "PeerSwarm", wanted: Sequence[TcpAddress]) -> None:
    import multiaddr

    for address in wanted:
        if not await swarm.listen(multiaddr.Multiaddr(str(address))):
            raise LocalError(f"cannot listen on {address}: choose another with --listen")


def _check_free(address: TcpAddress) -> None:
    """The library shares a port with any other process of the same user that listens on it, and says nothing."""
    if address.kind.startswith("dns"):
        raise LocalError(f"cannot listen on {address}: give an IP address of this machine, such as /ip4/0.0.0.0/tcp/0")
    family = socket.AF_INET if address.kind == "ip4" else socket.AF_INET6
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address.host, address.port))
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            raise LocalError(f"cannot listen on {address}: {reason}: choose another with --listen") from error


def _affordable(connections_max: int) -> int:
    """No more connections than this process may have files open."""
    files_max = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if files_max == resource.RLIM_INFINITY:
        return connections_max
    return min(connections_max, max(16, files_max - FILES_RESERVED))
