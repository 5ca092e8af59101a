"""What has to be different from the libp2p library for a network to live (LIBP2P, "What breaks a network").

Each difference says what breaks without it and has a test that fails without it. They are subclasses and
per-host settings, so nothing of the library changes for others in the process; the two exceptions are
`prepare_library`'s: its logging, and the unbounded read before authentication. Everything is written for
one version, which is checked. Goes away piece by piece when upstream mends it.
"""

import logging
from importlib import metadata
from typing import Any

import libp2p
import trio
from libp2p.exceptions import BaseLibp2pError, ParseError
from libp2p.network.config import ConnectionConfig, RetryConfig
from libp2p.network.connection import swarm_connection
from libp2p.network.connection.raw_connection import RawConnection
from libp2p.network.swarm import Swarm
from libp2p.peer.peerstore import PeerStore
from libp2p.protocol_muxer import multiselect_communicator
from libp2p.security.noise.transport import PROTOCOL_ID as NOISE_PROTOCOL
from libp2p.security.noise.transport import Transport as NoiseTransport
from libp2p.stream_muxer.muxer_multistream import MuxerMultistream
from libp2p.stream_muxer.yamux import yamux
from libp2p.transport.tcp.tcp import TCP
from libp2p.transport.upgrader import TransportUpgrader
from libp2p.utils.varint import read_varint_prefixed_bytes_limited

from peer.libp2p_fixes_yamux import MuxerSettings, PeerMuxerMultistream
from protocol.errors import LocalError
from protocol.limits import HANDSHAKE_TIMEOUT_S

LIBRARY_VERSION = "0.8.1"
NEGOTIATION_LINE_BYTES_MAX = 1024
CONNECTIONS_PER_PEER_MAX = 8
OUTBOUND_SHARE = 4
"""One connection in so many is kept for our own dials, however many dial us."""

logger = logging.getLogger(__name__)

_REPLACED: tuple[tuple[Any, str], ...] = (
    (Swarm, "_do_handle_inbound_connection"),
    (Swarm, "_schedule_auto_connect"),
    (Swarm, "_schedule_prune"),
    (Swarm, "upgrade_inbound_raw_conn"),
    (Swarm, "dial_addr"),
    (MuxerMultistream, "new_conn"),
    (yamux.Yamux, "start"),
    (yamux.Yamux, "close"),
    (yamux.Yamux, "open_stream"),
    (yamux.YamuxStream, "read"),
    (yamux.YamuxStream, "write"),
    (yamux.YamuxStream, "close"),
    (yamux.YamuxStream, "reset"),
    (swarm_connection, "logging"),
    (multiselect_communicator, "read_delim"),
)


def prepare_library() -> None:
    """Check the version and apply the two process-wide fixes. Idempotent. Raises `LocalError`."""
    _check_library()
    _tame_logging()
    # A stranger could announce a line of gigabytes before any handshake, and bytes that are no text would
    # end the whole host: the library decodes them where nothing catches the error.
    multiselect_communicator.read_delim = _read_delim


def _check_library() -> None:
    found = metadata.version("libp2p")
    missing = [f"{getattr(owner, '__name__', owner)}.{name}" for owner, name in _REPLACED if not hasattr(owner, name)]
    if found != LIBRARY_VERSION or missing:
        reason = f"; it lacks {', '.join(missing)}" if missing else ""
        raise LocalError(
            f"libp2p {found} is installed, but this program needs {LIBRARY_VERSION}{reason}: run ./run setup again"
        )


def _tame_logging() -> None:
    """Fix 12: errors reach our handlers, and nothing installs a handler on the root.

    The library cuts its logger off, logs each failed dial of ours as an error, and calls
    `logging.debug()` in its connection code, which puts a handler on standard error.
    """
    library = logging.getLogger("libp2p")
    library.propagate = True
    library.setLevel(logging.ERROR)
    for name in ("libp2p.transport.tcp", "libp2p.network.swarm", "libp2p.protocol_muxer", "libp2p.security"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    swarm_connection.logging = logging.getLogger("libp2p.network.connection")


async def read_negotiation_line(reader: Any) -> str:
    """One line of multistream-select, bounded; raises the library's `ParseError` or `MessageTooLarge`."""
    line = await read_varint_prefixed_bytes_limited(reader, NEGOTIATION_LINE_BYTES_MAX)
    if not line.endswith(b"\n") or not line.isascii():
        raise ParseError("a line of the negotiation that is not one")
    return bytes(line[:-1]).decode("ascii")


async def _read_delim(reader: Any) -> bytes:
    return (await read_negotiation_line(reader)).encode("ascii")


class _NoAutoConnector:
    """Fix 5: the library's dials whatever a stranger put into the peerstore."""

    async def start(self) -> None: ...

    async def stop(self) -> None: ...

    async def run_background_task(self, nursery: trio.Nursery) -> None: ...

    async def maybe_connect(self) -> None: ...

    def record_disconnect(self, peer_id: Any) -> None: ...


class PeerSwarm(Swarm):  # type: ignore[misc]
    """The library's connections, with slots that are given back, and without its dialling of its own accord."""

    def __init__(self, peer_id: Any, peerstore: Any, upgrader: Any, config: ConnectionConfig) -> None:
        super().__init__(
            peer_id,
            peerstore,
            upgrader,
            transports=[TCP()],
            retry_config=RetryConfig(max_retries=0),
            connection_config=config,
        )
        self.auto_connector = _NoAutoConnector()

    async def _do_handle_inbound_connection(self, read_write_closer: Any, maddr: Any, failure_event: Any) -> None:
        """Fix 1: the library keeps the inbound slot until the host ends: after 250 connections ever, none gets in."""
        raw = RawConnection(read_write_closer, False)
        try:
            connection = await self.upgrade_inbound_raw_conn(raw, maddr)
        except (BaseLibp2pError, OSError, trio.BrokenResourceError, trio.ClosedResourceError) as error:
            logger.debug("an inbound connection ends before it began: %r", error)
            await raw.close()
            return
        if len(self.connections.get(connection.peer_id, ())) > CONNECTIONS_PER_PEER_MAX:
            await connection.close()
        await connection.event_closed.wait()

    def _schedule_auto_connect(self) -> None:
        """Fix 5, where a disconnect triggers it."""

    def _schedule_prune(self) -> None:
        """The library would close connections above its watermark, busy ones too."""


def make_swarm(key_pair: Any, muxer: MuxerSettings, connections_max: int) -> PeerSwarm:
    """A swarm that offers Noise and Yamux over TCP, and nothing else.

    Fix 4: by default plaintext and SECIO are offered too, with which a dialer that knows only a victim's
    public key is taken for the victim.
    """
    noise_key = libp2p.create_new_x25519_key_pair().private_key
    upgrader = TransportUpgrader({NOISE_PROTOCOL: NoiseTransport(key_pair, noise_privkey=noise_key)}, {})
    upgrader.muxer_multistream = PeerMuxerMultistream(muxer)
    peer_id = libp2p.generate_peer_id_from(key_pair)
    peerstore = PeerStore()
    peerstore.add_key_pair(peer_id, key_pair)
    return PeerSwarm(peer_id, peerstore, upgrader, _connection_config(connections_max))


def _connection_config(connections_max: int) -> ConnectionConfig:
    """Our own limits protect; the library's pruning, refilling and health checks stay off.

    Fix 11 is in `PeerYamux`: the library's health check asks one connection after another, each with a new stream.
    """
    outbound_reserved = connections_max // OUTBOUND_SHARE
    return ConnectionConfig(
        max_connections=connections_max,
        min_connections=outbound_reserved,
        low_watermark=outbound_reserved,
        high_watermark=connections_max,
        max_connections_per_peer=CONNECTIONS_PER_PEER_MAX,
        inbound_upgrade_timeout=HANDSHAKE_TIMEOUT_S,
        outbound_upgrade_timeout=HANDSHAKE_TIMEOUT_S,
        outbound_stream_protocol_negotiation_timeout=HANDSHAKE_TIMEOUT_S,
        inbound_stream_protocol_negotiation_timeout=HANDSHAKE_TIMEOUT_S,
        enable_health_monitoring=False,
    )
