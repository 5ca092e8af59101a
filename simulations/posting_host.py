"""A host in memory whose requests need neither streams nor tasks: for networks of thousands of peers.

A request and its reply take the time that they would take over streams: two round trips to connect and to open a
stream, unless that was done lately, then one. They fail as streams do: a refused dial at once, packets that vanish by
time-out, a breach of the protocol by a reset. Only the courier's task works for them.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import trio

from protocol.errors import LocalError, ParallelPeerError, RemoteError, Unavailable
from protocol.framing import frame
from protocol.ids import PeerId
from protocol.limits import DIAL_TIMEOUT_S, REQUEST_TIMEOUT_S
from protocol.network import Answerer, Caller, TooMany
from protocol.signing import Identity
from simulations.memory_host import MemoryHost, MemoryNetwork

CONNECTIONS_MAX = 32
"""To how many peers requests go without connecting again: those who were connected to last."""
CONNECTIONS_OUT_ONLY_MAX = 512
"""The same for a host that nobody can dial: over these connections others reach it."""

logger = logging.getLogger(__name__)

ReplyT = TypeVar("ReplyT")


@dataclass(slots=True, eq=False)
class _Exchange:
    """A request on its way, and who waits for its reply."""

    peer: PeerId
    protocol: str
    payload: bytes
    task: "trio.lowlevel.Task | None"
    times_out_at: float = 0.0
    reply: bytes = b""
    failure: ParallelPeerError | None = None


class PostingNetwork(MemoryNetwork):
    """A network of such hosts."""

    def make_host(self, identity: Identity, address: str, *, reachable: bool) -> "PostingHost":
        """See `MemoryNetwork`."""
        return PostingHost(self, identity, address, reachable=reachable)


class PostingHost(MemoryHost):
    """See the module."""

    def __init__(self, network: MemoryNetwork, identity: Identity, address: str, *, reachable: bool) -> None:
        super().__init__(network, identity, address, reachable=reachable)
        self._answerers: dict[str, Answerer] = {}
        self._connected_to: dict[PeerId, PostingHost] = {}
        self._guests: dict[PeerId, PostingHost] = {}
        """Hosts that cannot be dialled and have connected to us."""
        self._as_caller = Caller(self.peer_id, address)

    async def request(
        self,
        peer: PeerId,
        protocol: str,
        payload: bytes,
        read: Callable[[bytes], ReplyT],
        addresses: Sequence[str] = (),
    ) -> ReplyT:
        """See `protocol.network.Host`."""
        if peer == self.peer_id:
            raise LocalError(f"{peer} is this peer itself, which does not dial itself")
        if self.ended:
            raise Unavailable("this host is closed")
        exchange = _Exchange(peer, protocol, payload, trio.lowlevel.current_task())
        other = self._connected_to.get(peer) or self.guest(peer)
        if other is None or other.ended:
            self._dial(exchange, addresses)
        else:
            self._send(exchange, other)

        def abandon(_: object) -> trio.lowlevel.Abort:
            exchange.task = None
            return trio.lowlevel.Abort.SUCCEEDED

        await trio.lowlevel.wait_task_rescheduled(abandon)
        if exchange.failure is not None:
            raise exchange.failure
        return read(exchange.reply)

    def answer(self, protocol: str, answerer: Answerer) -> None:
        """See `protocol.network.Host`."""
        self._answerers[protocol] = answerer

    def end(self, why: str) -> None:
        """See `MemoryHost`."""
        super().end(why)
        self._answerers.clear()
        self._connected_to.clear()
        self._guests.clear()

    def guest(self, peer: PeerId) -> "PostingHost | None":
        """See `MemoryHost.guest`."""
        guest = self._guests.get(peer)
        if guest is None:
            return None
        if guest.ended or self.peer_id not in guest._connected_to:
            del self._guests[peer]
            return None
        return None if self._network.is_cut(peer, self.peer_id) else guest

    def _connect_to(self, other: "PostingHost") -> None:
        self._connected_to[other.peer_id] = other
        if len(self._connected_to) > (CONNECTIONS_MAX if self.reachable else CONNECTIONS_OUT_ONLY_MAX):
            del self._connected_to[next(iter(self._connected_to))]
        if not self.reachable:
            other._guests[self.peer_id] = self

    def _dial(self, exchange: _Exchange, addresses: Sequence[str]) -> None:
        """Connect and open a stream: two round trips."""
        now = trio.current_time()
        round_trips_s = min(4 * self._network.delay_s(self.peer_id, exchange.peer), DIAL_TIMEOUT_S)
        self._at(now + round_trips_s, partial(self._dialled, exchange, addresses, now + DIAL_TIMEOUT_S))

    def _dialled(self, exchange: _Exchange, addresses: Sequence[str], gives_up_at: float) -> None:
        try:
            other = self.find(exchange.peer, addresses)
        except ParallelPeerError as error:
            # Somebody else at the address is nobody's fault either: who spread the address is not known.
            self._fail(exchange, str(error))
            return
        if other is None:
            why = f"cannot reach {exchange.peer}: no answer within {DIAL_TIMEOUT_S} s"
            self._at(gives_up_at, partial(self._fail, exchange, why))
        elif not isinstance(other, PostingHost) or exchange.protocol not in other._answerers:
            self._fail(exchange, f"{exchange.peer} does not serve {exchange.protocol}")
        else:
            self._connect_to(other)
            self._send(exchange, other)

    def _send(self, exchange: _Exchange, other: "PostingHost") -> None:
        exchange.times_out_at = trio.current_time() + REQUEST_TIMEOUT_S
        arrives_at = self._network.carry(self.peer_id, exchange.peer, exchange.protocol, frame(exchange.payload))
        if arrives_at > exchange.times_out_at:
            self._time_out(exchange)
        self._at(arrives_at, partial(self._arrived, exchange, other))

    def _arrived(self, exchange: _Exchange, other: "PostingHost") -> None:
        try:
            reply = other.take_request(self._as_caller, exchange.protocol, exchange.payload)
        except Unavailable as error:
            self._connected_to.pop(exchange.peer, None)
            back_s = self._network.delay_s(exchange.peer, self.peer_id)
            self._at(trio.current_time() + back_s, partial(self._fail, exchange, str(error)))
            return
        arrives_at = self._network.carry(exchange.peer, self.peer_id, exchange.protocol, frame(reply))
        if arrives_at > exchange.times_out_at:
            self._time_out(exchange)
        else:
            self._at(arrives_at, partial(self._deliver, exchange, reply))

    def take_request(self, caller: Caller, protocol: str, request: bytes) -> bytes:
        """The reply to a request that has arrived here; raises `Unavailable` where a stream would be reset."""
        answerer = self._answerers.get(protocol)
        if answerer is None:
            raise Unavailable(f"the connection with {self.peer_id} broke")
        try:
            return answerer.answer(caller, request)
        except TooMany as error:
            answerer.on_breach(caller.peer, error)
            if error.reply:
                return error.reply
        except RemoteError as error:
            answerer.on_breach(caller.peer, error)
        except Unavailable as error:
            logger.info("a request of %s is not answered: %s", caller.peer, error)
        except Exception:
            # The supervised boundary of one request.
            logger.exception("a request of %s failed here", caller.peer)
        raise Unavailable("the stream was reset")

    def _deliver(self, exchange: _Exchange, reply: bytes) -> None:
        exchange.reply = reply
        self._wake(exchange)

    def _time_out(self, exchange: _Exchange) -> None:
        self._connected_to.pop(exchange.peer, None)
        why = f"{exchange.peer} did not answer within {REQUEST_TIMEOUT_S:.0f} s"
        self._at(exchange.times_out_at, partial(self._fail, exchange, why))

    def _fail(self, exchange: _Exchange, why: str) -> None:
        exchange.failure = exchange.failure or Unavailable(why)
        self._wake(exchange)

    def _wake(self, exchange: _Exchange) -> None:
        task, exchange.task = exchange.task, None
        if task is not None:
            trio.lowlevel.reschedule(task)

    def _at(self, at: float, call: Callable[[], None]) -> None:
        self._network.courier.call_at(at, call)
