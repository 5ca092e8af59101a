"""A network in memory: hosts that implement `protocol.network.Host` in one process and in virtual time.

Deterministic apart from trio's own scheduling: no threads, no randomness, no task but one per running
handler and one courier. Links can be cut and healed, hosts killed. Latency is the same everywhere;
`simulations/network.py` is a network where it is not.
"""

import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Self

import trio

from peer.stream_requests import RequestsOverStreams
from protocol.errors import LocalError, ParallelPeerError, RemoteError, Unavailable
from protocol.ids import PeerId
from protocol.limits import ADDRESSES_PER_PEER_MAX, DIAL_TIMEOUT_S, STREAMS_PER_PEER_MAX
from protocol.network import StreamHandler
from protocol.signing import Identity
from simulations.memory_stream import Courier, MemoryStream, Pipe, stream_pair

_HOSTS_MAX = 1 << 24

logger = logging.getLogger(__name__)


@dataclass(slots=True, eq=False)
class _Link:
    """One connection between two hosts and the ends of its streams, with who opened each."""

    dialler: PeerId
    ends: list[tuple[PeerId, MemoryStream]] = field(default_factory=list)

    def forget_finished(self) -> None:
        self.ends = [(opener, end) for opener, end in self.ends if not end.finished]

    def inbound_from(self, opener: PeerId) -> int:
        self.forget_finished()
        return sum(peer == opener for peer, _ in self.ends)

    def break_off(self, why: str, *, lose: bool) -> None:
        for _, end in self.ends:
            end.break_off(why, lose=lose)


class MemoryNetwork:
    """Every host by its address. Made by `open_memory_network`.

    Subclasses say more about links: `delay_s`, `carry` and `is_cut`.
    """

    def __init__(self, nursery: trio.Nursery, latency_s: float = 0.0, tick_s: float = 0.0) -> None:
        self.nursery = nursery
        self.courier = Courier(tick_s)
        self._latency_s = latency_s
        self._hosts: dict[str, MemoryHost] = {}
        self._cut: set[frozenset[PeerId]] = set()
        self._hosts_made = 0
        nursery.start_soon(self.courier.run)

    def host(self, identity: Identity, *, reachable: bool = True) -> "MemoryHost":
        """A new host; one that is not `reachable` can dial others but cannot be dialled."""
        self._hosts_made += 1
        host = self.make_host(identity, _address(self._hosts_made), reachable=reachable)
        self._hosts[host.own_address] = host
        return host

    def make_host(self, identity: Identity, address: str, *, reachable: bool) -> "MemoryHost":
        """A host of the kind that this network has."""
        return MemoryHost(self, identity, address, reachable=reachable)

    def cut(self, one: "MemoryHost", other: "MemoryHost") -> None:
        """Nothing passes between the two until `heal`; what is on its way is lost and their streams break."""
        self._cut.add(frozenset((one.peer_id, other.peer_id)))
        one.unlink(other, "the link is cut", lose=True)

    def heal(self, one: "MemoryHost", other: "MemoryHost") -> None:
        """The two can dial each other again."""
        self._cut.discard(frozenset((one.peer_id, other.peer_id)))

    def kill(self, host: "MemoryHost") -> None:
        """As kill -9: its handlers stop, its streams break, nobody answers at its address."""
        host.end("the peer was killed")

    def remove(self, host: "MemoryHost") -> None:
        """Nobody answers at the host's address any more."""
        self._hosts.pop(host.own_address, None)

    def is_cut(self, one: PeerId, other: PeerId) -> bool:
        """Whether nothing passes between the two."""
        return bool(self._cut) and frozenset((one, other)) in self._cut

    def answering(self, address: str) -> "MemoryHost | None":
        """The host that listens at an address."""
        return self._hosts.get(address)

    def hosts(self) -> "list[MemoryHost]":
        """Those that have not ended, the oldest first."""
        return list(self._hosts.values())

    def delay_s(self, one: PeerId, other: PeerId) -> float:
        """How long a small message takes one way, when nothing is in its way."""
        return self._latency_s

    def carry(self, sender: PeerId, receiver: PeerId, protocol: str, data: bytes) -> float:
        """Take what is sent; at what time it arrives, which a later message of the stream may not beat."""
        return trio.current_time() + self._latency_s


class MemoryHost(RequestsOverStreams):
    """A `protocol.network.Host`; `async with` closes it."""

    def __init__(self, network: MemoryNetwork, identity: Identity, address: str, *, reachable: bool) -> None:
        super().__init__()
        self.own_address = address
        self.reachable = reachable
        self._network = network
        self._peer_id = identity.peer_id
        self._handlers: dict[str, StreamHandler] = {}
        self._book: dict[PeerId, dict[str, None]] = {}
        self._links: dict[PeerId, tuple[MemoryHost, _Link]] = {}
        self._handler_scopes: set[trio.CancelScope] = set()
        self.ended = False

    def __repr__(self) -> str:
        return f"<MemoryHost {self.peer_id}>"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.end("the other side closed the connection")

    @property
    def peer_id(self) -> PeerId:
        """Our own id."""
        return self._peer_id

    def addresses(self) -> Sequence[str]:
        """Our one address, or none when others cannot dial us."""
        return [self.own_address] if self.reachable and not self.ended else []

    def add_addresses(self, peer: PeerId, addresses: Sequence[str]) -> None:
        """See `protocol.network.Host`."""
        newest = dict.fromkeys([*addresses, *self._book.get(peer, ())])
        self._book[peer] = dict.fromkeys(list(newest)[:ADDRESSES_PER_PEER_MAX])

    def serve(self, protocol: str, handler: StreamHandler) -> None:
        """See `protocol.network.Host`."""
        self._handlers[protocol] = handler

    def connected_peers(self) -> Sequence[PeerId]:
        """See `protocol.network.Host`."""
        return sorted(self._links)

    def callers(self) -> Sequence[PeerId]:
        """See `protocol.network.Host`."""
        return sorted(peer for peer, (_, link) in self._links.items() if link.dialler != self.peer_id)

    def linked_hosts(self) -> "Sequence[MemoryHost]":
        """The hosts with a live connection, by peer id."""
        return [self._links[peer][0] for peer in sorted(self._links)]

    async def open_stream(self, peer: PeerId, protocol: str) -> MemoryStream:
        """A new stream, after one round trip to connect and one to agree on the protocol."""
        if peer == self.peer_id:
            raise LocalError(f"{peer} is this peer itself, which does not dial itself")
        other = await self._connect(peer)
        await trio.sleep(2 * self._network.delay_s(self.peer_id, peer))
        link = self._links.get(peer)
        if link is None:
            raise Unavailable(f"the connection with {peer} broke")
        return other.accept(self, protocol, link[1])

    def accept(self, opener: "MemoryHost", protocol: str, link: _Link) -> MemoryStream:
        """Start the handler on one end of a new stream and give the opener the other."""
        handler = self._handlers.get(protocol)
        if handler is None:
            raise Unavailable(f"{self.peer_id} does not serve {protocol}")
        if link.inbound_from(opener.peer_id) >= STREAMS_PER_PEER_MAX:
            raise Unavailable(f"{self.peer_id} refused a stream for {protocol}: too many are open")
        sides = (opener.peer_id, opener.own_address), (self.peer_id, self.own_address)
        there = Pipe(partial(self._network.carry, opener.peer_id, self.peer_id, protocol), self._network.courier)
        back = Pipe(partial(self._network.carry, self.peer_id, opener.peer_id, protocol), self._network.courier)
        theirs, ours = stream_pair(*sides, there, back)
        link.ends.append((opener.peer_id, ours))
        scope = trio.CancelScope()
        self._handler_scopes.add(scope)
        self._network.nursery.start_soon(self._run, handler, ours, scope)
        return theirs

    async def close(self) -> None:
        """See `protocol.network.Host`."""
        self.end("the other side closed the connection")
        await trio.lowlevel.checkpoint()

    def unlink(self, other: "MemoryHost", why: str, *, lose: bool) -> None:
        """Break the connection with `other`, if there is one."""
        found = self._links.pop(other.peer_id, None)
        other._links.pop(self.peer_id, None)
        if found is not None:
            found[1].break_off(why, lose=lose)

    def end(self, why: str) -> None:
        """Handlers stop, connections break, nobody answers here any more. Idempotent."""
        self.ended = True
        self._network.remove(self)
        for _, (other, _link) in sorted(self._links.items()):
            self.unlink(other, why, lose=False)
        for scope in list(self._handler_scopes):
            scope.cancel()

    async def _connect(self, peer: PeerId) -> "MemoryHost":
        if self.ended:
            raise Unavailable("this host is closed")
        if peer not in self._links and (guest := self.guest(peer)) is not None:
            self._link(guest)
        if peer in self._links:
            await trio.lowlevel.checkpoint()
            return self._links[peer][0]
        gives_up_at = trio.current_time() + DIAL_TIMEOUT_S
        await trio.sleep(min(2 * self._network.delay_s(self.peer_id, peer), DIAL_TIMEOUT_S))
        other = self.find(peer)
        if other is None:
            await trio.sleep_until(gives_up_at)
            raise Unavailable(f"cannot reach {peer}: no answer within {DIAL_TIMEOUT_S} s")
        if self.ended:
            raise Unavailable("this host is closed")
        self._link(other)
        return other

    def guest(self, peer: PeerId) -> "MemoryHost | None":
        """A host that has connected to us in another way than by a stream."""
        return None

    def _link(self, other: "MemoryHost") -> None:
        if other.peer_id not in self._links:
            link = _Link(self.peer_id)
            self._links[other.peer_id] = other, link
            other._links[self.peer_id] = self, link

    def find(self, peer: PeerId, addresses: Sequence[str] = ()) -> "MemoryHost | None":
        """The host of `peer`, or None where packets vanish; raises when somebody else or nobody answers."""
        known = [self._network.answering(address) for address in addresses or self._book.get(peer, ())]
        answering = [host for host in known if host is not None]
        for host in answering:
            if host.peer_id == peer:
                vanishes = not host.reachable or self._network.is_cut(self.peer_id, peer)
                return None if vanishes else host
        if answering:
            other = answering[0]
            raise RemoteError(f"at {other.own_address} answers peer {other.peer_id}, not {peer}")
        raise Unavailable(f"cannot reach {peer}: " + ("connection refused" if known else "no address is known"))

    async def _run(self, handler: StreamHandler, stream: MemoryStream, scope: trio.CancelScope) -> None:
        with scope:
            try:
                await handler(stream)
            except ParallelPeerError as error:
                logger.info("a stream with %s ends: %s", stream.remote_peer, error)
                stream.break_off("the stream was reset", lose=True)
            except Exception:
                # The supervised boundary of one stream.
                logger.exception("a stream handler failed; its stream with %s is reset", stream.remote_peer)
                stream.break_off("the stream was reset", lose=True)
            finally:
                self._handler_scopes.discard(scope)


@asynccontextmanager
async def open_memory_network(
    kind: type[MemoryNetwork] = MemoryNetwork, *, latency_s: float = 0.0
) -> AsyncIterator[MemoryNetwork]:
    """A network of a kind, whose handlers run until the context ends. `latency_s` is one way."""
    failure: Exception | None = None
    async with trio.open_nursery() as nursery:
        try:
            yield kind(nursery, latency_s)
        except Exception as error:  # noqa: BLE001 - carried past the nursery, which would wrap it in a group
            failure = error
        nursery.cancel_scope.cancel()
    if failure is not None:
        raise failure


def _address(number: int) -> str:
    if number >= _HOSTS_MAX:
        raise LocalError(f"more than {_HOSTS_MAX} hosts in one network in memory")
    return f"/ip4/10.{number >> 16}.{number >> 8 & 255}.{number & 255}/tcp/4001"
