"""Finding a connection to a peer: the one there is, or one dial that all who ask for it share.

Fixes 6 and 8: the library's own dialling has no time-out, tries one address only, waits a quarter of a
second after it, and then refuses the peer for a minute after a failure.
"""

import re
from dataclasses import dataclass, field
from typing import Any

import multiaddr
import trio
from libp2p.exceptions import BaseLibp2pError, ParseError
from libp2p.io.exceptions import IOException
from libp2p.peer.id import ID
from libp2p.protocol_muxer.multiselect_client import MULTISELECT_PROTOCOL_ID
from libp2p.utils.varint import encode_delim

from peer.libp2p_fixes import PeerSwarm, read_negotiation_line
from peer.libp2p_fixes_stream import PeerYamuxStream
from peer.libp2p_fixes_yamux import PeerYamux
from protocol.errors import ParallelPeerError, RemoteError, Unavailable
from protocol.ids import PeerId
from protocol.limits import DIAL_TIMEOUT_S

DIALS_CONCURRENT_MAX = 64
DIAL_STAGGER_S = 0.05
"""Head start of each address over the next."""

_OTHER_PEER = re.compile(r"remote_peer_id_from_pubkey=(\w+)")


@dataclass(slots=True)
class _Dial:
    """A dial under way, and then how it ended."""

    done: trio.Event = field(default_factory=trio.Event)
    connection: PeerYamux | None = None
    failures: dict[str, str] = field(default_factory=dict)
    other_peers: dict[str, str] = field(default_factory=dict)


class Dialer:
    """Connections by peer. Dials run in the host's nursery, so one caller's cancellation ends none."""

    def __init__(self, swarm: PeerSwarm, nursery: trio.Nursery) -> None:
        self._swarm = swarm
        self._nursery = nursery
        self._dials: dict[PeerId, _Dial] = {}
        self._limiter = trio.CapacityLimiter(DIALS_CONCURRENT_MAX)

    def live_connections(self, peer: PeerId) -> list[PeerYamux]:
        """The connections on which a stream can be opened, oldest first."""
        connections = self._swarm.connections.get(ID.from_string(peer), ())
        return [c.muxed_conn for c in connections if not c.is_closed and c.muxed_conn.is_established]

    async def connection_to(self, peer: PeerId, addresses: list[str]) -> PeerYamux:
        """A live connection; dials `addresses` when there is none. Raises `Unavailable` or `RemoteError`."""
        live = self.live_connections(peer)
        if live:
            return live[0]
        dial = self._dials.get(peer)
        if dial is None:
            if not addresses:
                raise Unavailable(f"no address of {peer} is known")
            dial = self._dials[peer] = _Dial()
            self._nursery.start_soon(self._run, peer, addresses, dial)
        await dial.done.wait()
        if dial.connection is None:
            raise _failure(peer, dial)
        return dial.connection

    async def _run(self, peer: PeerId, addresses: list[str], dial: _Dial) -> None:
        try:
            with trio.move_on_after(DIAL_TIMEOUT_S) as scope:
                async with self._limiter, trio.open_nursery() as nursery:
                    for index, address in enumerate(addresses):
                        nursery.start_soon(self._try, peer, address, index * DIAL_STAGGER_S, dial, nursery.cancel_scope)
            if scope.cancelled_caught:
                silent = [a for a in addresses if a not in dial.failures and a not in dial.other_peers]
                dial.failures.update(dict.fromkeys(silent, f"no answer within {DIAL_TIMEOUT_S} s"))
        finally:
            del self._dials[peer]
            dial.done.set()

    async def _try(self, peer: PeerId, address: str, delay_s: float, dial: _Dial, others: trio.CancelScope) -> None:
        await trio.sleep(delay_s)
        try:
            connection = await self._swarm.dial_addr(multiaddr.Multiaddr(address), ID.from_string(peer))
        except (BaseLibp2pError, OSError, ValueError, trio.BrokenResourceError, trio.ClosedResourceError) as error:
            reason = _reason(error)
            other = _OTHER_PEER.search(reason)
            if other:
                dial.other_peers[address] = other[1]
            else:
                dial.failures[address] = reason
            return
        dial.connection = connection.muxed_conn
        others.cancel()


async def negotiate(muxed: PeerYamuxStream, protocol: str) -> None:
    """Agree on the protocol in one round trip; the stream is reset when that fails or is cancelled.

    Source: libp2p specs, connections, "multistream-select".
    """
    try:
        await muxed.write(encode_delim(MULTISELECT_PROTOCOL_ID.encode()) + encode_delim(protocol.encode()))
        greeting = await read_negotiation_line(muxed)
        answer = await read_negotiation_line(muxed)
        if greeting != MULTISELECT_PROTOCOL_ID or answer != protocol:
            peer = muxed.conn.peer_id.to_base58()
            raise Unavailable(f"{peer} does not serve {protocol} (it answered {answer!r})")
    except (ParseError, IOException) as error:
        muxed.reset_nowait()
        raise RemoteError(f"{muxed.conn.peer_id.to_base58()} broke the negotiation of {protocol}: {error}") from error
    except BaseException:
        muxed.reset_nowait()
        raise


def _failure(peer: PeerId, dial: _Dial) -> ParallelPeerError:
    if dial.other_peers:
        address, other = sorted(dial.other_peers.items())[0]
        return RemoteError(f"at {address} answers peer {other}, not {peer}: check the address and the peer id")
    reasons = "; ".join(f"{address}: {reason}" for address, reason in sorted(dial.failures.items()))
    return Unavailable(f"cannot reach {peer} ({reasons or 'the host is closing'})")


def _reason(error: BaseException) -> str:
    """The text of the deepest cause: the library wraps it several times."""
    causes: list[Any] = [error]
    while causes[-1].__cause__ is not None and len(causes) < 16:
        causes.append(causes[-1].__cause__)
    texts = [str(cause) for cause in causes if str(cause)]
    return texts[-1] if texts else type(error).__name__
