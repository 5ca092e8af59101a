"""Requests to contacts, and what the contact table learns from how they end.

An answer puts a contact into the table (it serves the DHT, as it has just shown); silence or a breach of
the protocol takes it out. Who owes us an answer is not asked a second time before it has given one, so that a
dead contact costs one request. Contacts that need a ping wait in a bounded queue.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Generic, TypeVar

import msgspec
import trio

from dht.contact_table import ContactTable
from dht.counters import DhtCounters, OnRemoteError, type_of
from dht.patience import Patience
from protocol.errors import BadFrame, RemoteError, Unavailable
from protocol.ids import PeerId, short
from protocol.messages.dht import DHT_CODEC, Contact, DhtMessage, Failed, Ping, Pong
from protocol.network import DHT_PROTOCOL, Host

PINGS_WAITING_MAX = 1024
PINGS_CONCURRENT_MAX = 8

ReplyT = TypeVar("ReplyT", bound=DhtMessage)


class Refused(Unavailable):
    """The other side understood the request and refused it, with its reason."""


@dataclass(frozen=True, slots=True)
class Prepared(Generic[ReplyT]):
    """A request, encoded once for all contacts that get it; each of them gets it once."""

    number: int
    name: str
    payload: bytes
    wanted: type[ReplyT]


@dataclass(slots=True, eq=False)
class _Pending:
    """Requests to one contact that are not answered yet."""

    since: float
    """When the first of them was sent, or the last answer came."""
    count: int = 0
    waiting: list[trio.Event] = field(default_factory=list)
    """Requests that are held back until there is an answer, or none."""


class Requester:
    """See the module. `introduction()` is what we say of ourselves in a request; None for a client."""

    def __init__(
        self,
        host: Host,
        table: ContactTable,
        counters: DhtCounters,
        introduction: Callable[[], Contact | None],
        on_remote_error: OnRemoteError,
        nursery: Callable[[], trio.Nursery | None],
    ) -> None:
        self.table = table
        self.patience = Patience()
        self.counters = counters
        self._host = host
        self._introduction = introduction
        self._on_remote_error = on_remote_error
        self._nursery = nursery
        self._requests = 0
        self._pending: dict[PeerId, _Pending] = {}
        self._to_ping: dict[PeerId, Contact] = {}
        self._pinging = 0

    def prepare(self, message: DhtMessage, wanted: type[ReplyT]) -> Prepared[ReplyT]:
        """A request for a reply of this type; its id and sender are filled in here."""
        self._requests += 1
        changes: dict[str, object] = {"request_id": self._requests}
        if "sender" in message.__struct_fields__:
            changes["sender"] = self._introduction()
        payload = DHT_CODEC.encode(msgspec.structs.replace(message, **changes))
        return Prepared(self._requests, type_of(message), payload, wanted)

    async def request(self, contact: Contact, request: Prepared[ReplyT]) -> ReplyT:
        """The answer to a request.

        Raises `Unavailable` (not reached, no answer in time, `Refused`) or `RemoteError`; the caller reports the
        latter to `blame`.
        """
        await self._wait_for_a_sign(contact.peer)
        pending = self._pending.setdefault(contact.peer, _Pending(trio.current_time()))
        pending.count += 1
        try:
            reply = await self._ask(contact, request)
        except Refused:
            raise
        except Unavailable:
            self.counters.unavailable += 1
            self.table.fail(contact.peer, trio.current_time())
            raise
        else:
            self.heard(contact)
            return reply
        finally:
            pending.count -= 1
            pending.since = trio.current_time()
            while pending.waiting:
                pending.waiting.pop().set()
            if not pending.count:
                self._pending.pop(contact.peer, None)

    async def ping(self, contact: Contact) -> str:
        """The reason why a contact did not answer, or ""."""
        try:
            await self.request(contact, self.prepare(Ping(request_id=0), Pong))
        except RemoteError as error:
            self.blame(contact.peer, error)
            return str(error)
        except Unavailable as error:
            return str(error) or "unreachable"
        return ""

    def heard(self, contact: Contact) -> None:
        """A contact has shown that it serves the DHT."""
        to_ping = self.table.add(contact, trio.current_time())
        if to_ping is not None:
            self.ping_soon(to_ping)

    def blame(self, peer: PeerId, error: RemoteError) -> None:
        """The one place where breaches of the protocol by others are counted and told."""
        self.counters.remote_errors[type(error).__name__] += 1
        self.table.fail(peer, trio.current_time())
        self._on_remote_error(peer, error)

    def introduced(self, contact: Contact) -> None:
        """A sender says that it serves the DHT: it gets in when it answers a ping."""
        if contact.peer in self.table:
            self.heard(contact)
        elif self.table.wants(contact.peer):
            self.table.forgive(contact.peer)
            self.ping_soon(contact)

    def usable(self, contacts: Sequence[Contact]) -> list[Contact]:
        """Those to ask: which have not failed lately, and do not owe us an answer for too long."""
        now, stall_s = trio.current_time(), self.patience.stall_s
        stalled = {peer for peer, pending in self._pending.items() if pending.since + stall_s <= now}
        if not stalled and not self.table.has_failures:
            return list(contacts)
        return [one for one in contacts if one.peer not in stalled and not self.table.is_backed_off(one.peer, now)]

    def ping_soon(self, contact: Contact) -> None:
        """Ping when there is time; forgotten when too many wait, and while the service does not run."""
        nursery = self._nursery()
        if nursery is None or len(self._to_ping) >= PINGS_WAITING_MAX:
            return
        self._to_ping.setdefault(contact.peer, contact)
        if self._pinging < PINGS_CONCURRENT_MAX:
            self._pinging += 1
            nursery.start_soon(self._ping_waiting)

    async def _ping_waiting(self) -> None:
        """Ping those that wait, one after another."""
        try:
            while self._to_ping:
                await self.ping(self._to_ping.pop(next(iter(self._to_ping))))
        finally:
            self._pinging -= 1

    async def _wait_for_a_sign(self, peer: PeerId) -> None:
        """Not while an earlier request is unanswered; raises `Unavailable` when that has failed."""
        pending = self._pending.get(peer)
        if pending is None or self.table.heard_since(peer, pending.since):
            return
        event = trio.Event()
        pending.waiting.append(event)
        await event.wait()
        if self.table.is_backed_off(peer, trio.current_time()):
            raise Unavailable(f"{short(peer)} did not answer the request before this one")

    async def _ask(self, contact: Contact, request: Prepared[ReplyT]) -> ReplyT:
        self.counters.sent[request.name] += 1
        self.counters.bytes_sent += len(request.payload)
        # Of those in the table we know the addresses first hand; what others say of them would only push those out.
        addresses = (self.table.get(contact.peer) or contact).addresses
        read = partial(self._read, contact.peer, request)
        asked_at = trio.current_time()
        reply = await self._host.request(contact.peer, DHT_PROTOCOL, request.payload, read, addresses)
        self.patience.answered(trio.current_time() - asked_at)
        if isinstance(reply, Failed):
            raise Refused(f"{short(contact.peer)} refused: {reply.reason}")
        return reply

    def _read(self, peer: PeerId, request: Prepared[ReplyT], data: bytes) -> ReplyT | Failed:
        reply = DHT_CODEC.decode(data)
        self.counters.received[type_of(reply)] += 1
        self.counters.bytes_received += len(data)
        if reply.request_id != request.number:
            raise BadFrame(f"{peer} answered request {reply.request_id}, asked was {request.number}")
        if not isinstance(reply, request.wanted | Failed):
            raise BadFrame(f"{peer} answered with {type_of(reply)!r} where {request.wanted.__name__} was due")
        return reply
