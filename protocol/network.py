"""The network seam: what a host and a stream are (DESIGN section 3).

Implementations: libp2p over TCP (`peer/libp2p_host.py`) and in memory (`simulations/memory_host.py`);
`tests/conformance` runs one suite over both. Protocol ids are `/parallel-peer/<name>/<major>`.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from protocol.errors import RemoteError
from protocol.ids import PeerId

ReplyT = TypeVar("ReplyT")

DHT_PROTOCOL = "/parallel-peer/dht/1"
JOB_PROTOCOL = "/parallel-peer/job/1"
PROOF_PROTOCOL = "/parallel-peer/proof/1"
BLOB_PROTOCOL = "/parallel-peer/blob/1"


class Stream(Protocol):
    """An ordered, reliable, authenticated pipe of bytes in both directions.

    One task may send while another receives; two tasks must not send at once. A send or a receive
    that is cancelled loses nothing that had arrived, but a cancelled send may leave a part of a
    message on the wire: reset the stream then.
    """

    @property
    def remote_peer(self) -> PeerId:
        """The peer id that the handshake proved."""

    @property
    def remote_address(self) -> str | None:
        """The multiaddr seen on the other side, where there is one; used to tell parties apart."""

    async def send(self, data: bytes) -> None:
        """Send all of `data`; waits while the other side does not read. Raises `Unavailable`."""

    async def receive(self, size_bytes_max: int = 65536) -> bytes:
        """At least one byte, or b"" at the end of the stream. Raises `Unavailable` after a reset."""

    async def close(self) -> None:
        """End our direction in an orderly way; the other side then receives b"". Idempotent."""

    async def reset(self) -> None:
        """Drop both directions at once; the other side gets `Unavailable`. Idempotent."""


StreamHandler = Callable[[Stream], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Caller:
    """Who sent a request: the peer id that the handshake proved, and the multiaddr seen on its side."""

    peer: PeerId
    address: str | None


class TooMany(RemoteError):
    """More streams or requests than one peer may have. It is sent `reply`, if there is one, and then cut off."""

    def __init__(self, message: str, reply: bytes = b"") -> None:
        super().__init__(message)
        self.reply = reply


class Answerer(Protocol):
    """Answers the requests of others."""

    def answer(self, caller: Caller, request: bytes) -> bytes:
        """The reply, at once. Raises a `RemoteError` for what breaks the protocol, `Unavailable` when not serving."""

    def on_breach(self, peer: PeerId, error: RemoteError) -> None:
        """A peer broke the protocol, in its request or before one could be read."""


class Host(Protocol):
    """This peer on the network. Made and ended by an `async with` of its implementation."""

    @property
    def peer_id(self) -> PeerId:
        """Our own id."""

    def addresses(self) -> Sequence[str]:
        """Multiaddrs (without the /p2p part) at which others can dial us; empty when they cannot."""

    def add_addresses(self, peer: PeerId, addresses: Sequence[str]) -> None:
        """Remember where a peer may be dialled; bounded per peer, the newest win."""

    async def open_stream(self, peer: PeerId, protocol: str) -> Stream:
        """A new stream, dialling when there is no connection.

        Raises `Unavailable` within `DIAL_TIMEOUT_S` when the peer cannot be reached or does not
        serve the protocol, `RemoteError` when somebody else answers at its addresses.
        """

    async def request(
        self,
        peer: PeerId,
        protocol: str,
        payload: bytes,
        read: Callable[[bytes], ReplyT],
        addresses: Sequence[str] = (),
    ) -> ReplyT:
        """Send one request and give what `read` makes of its reply; `addresses` are remembered as by `add_addresses`.

        Payloads have at most `FRAME_SIZE_BYTES_MAX`. Raises `Unavailable` when the peer is not reached within
        `DIAL_TIMEOUT_S` or does not answer within `REQUEST_TIMEOUT_S`, `RemoteError` for a reply that breaks the
        framing, and what `read` raises. Cancelling forgets the request; the other side may have had it.
        """

    def answer(self, protocol: str, answerer: Answerer) -> None:
        """Answer the requests that others send with this protocol. A breach cuts the sender off and is told."""

    def serve(self, protocol: str, handler: StreamHandler) -> None:
        """Call `handler` in a task of its own for each stream that others open with this protocol.

        The stream is reset when the handler raises; it is not closed when the handler returns.
        """

    def connected_peers(self) -> Sequence[PeerId]:
        """Peers with a live connection, sorted."""

    def callers(self) -> Sequence[PeerId]:
        """Those of the connected peers that have dialled us, sorted: they can reach us."""

    async def close(self) -> None:
        """Close all connections. Idempotent."""
