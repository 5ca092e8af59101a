"""Requests to contacts, and what the contact table learns from how they end.

An answer puts a contact into the table (it serves the DHT, as it has just shown); silence or a breach of
the protocol takes it out. Contacts that need a ping wait in a bounded queue.
"""

from collections.abc import Callable
from typing import TypeVar

import trio

from dht.contact_table import ContactTable
from dht.counters import DhtCounters, OnRemoteError
from dht.lookup import STALL_S
from dht.request_pool import Refused, RequestPool
from protocol.errors import RemoteError, Unavailable
from protocol.ids import PeerId
from protocol.messages.dht import Contact, DhtMessage, Ping, Pong
from protocol.network import Host

PINGS_WAITING_MAX = 1024

ReplyT = TypeVar("ReplyT", bound=DhtMessage)


class Requester:
    """See the module. `introduction()` is what we say of ourselves on a new stream; None for a client."""

    def __init__(
        self,
        host: Host,
        table: ContactTable,
        counters: DhtCounters,
        introduction: Callable[[], Contact | None],
        on_remote_error: OnRemoteError,
    ) -> None:
        self.table = table
        self.counters = counters
        self._host = host
        self._pool = RequestPool(host, introduction, counters)
        self._on_remote_error = on_remote_error
        self._asked_at: dict[PeerId, list[float]] = {}
        self._to_ping: dict[PeerId, Contact] = {}
        self._ping_added = trio.Event()

    async def close(self) -> None:
        """Close the idle streams."""
        await self._pool.close()

    async def request(self, contact: Contact, message: DhtMessage, wanted: type[ReplyT]) -> ReplyT:
        """The answer to a request. Raises `Unavailable` or `RemoteError`; the caller reports the latter to `blame`."""
        asked_at = self._asked_at.setdefault(contact.peer, [])
        asked_at.append(started := trio.current_time())
        if contact.peer not in self.table:
            # Of those in the table we know first hand; the word of others would only push that out.
            self._host.add_addresses(contact.peer, contact.addresses)
        try:
            reply = await self._pool.request(contact.peer, message, wanted)
        except Refused:
            raise
        except Unavailable:
            self.counters.unavailable += 1
            self.table.fail(contact.peer, trio.current_time())
            raise
        finally:
            asked_at.remove(started)
            if not asked_at:
                self._asked_at.pop(contact.peer, None)
        self.heard(contact)
        return reply

    async def ping(self, contact: Contact) -> str:
        """The reason why a contact did not answer, or ""."""
        try:
            await self.request(contact, Ping(request_id=0), Pong)
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
            self._host.add_addresses(contact.peer, contact.addresses)
            self.heard(contact)
        elif self.table.has_room_for(contact.peer):
            self.table.forgive(contact.peer)
            self.ping_soon(contact)

    def is_usable(self, contact: Contact) -> bool:
        """Whether to ask a contact: it has not failed lately, and does not owe us an answer for too long."""
        now = trio.current_time()
        asked_at = self._asked_at.get(contact.peer)
        stalled = asked_at is not None and min(asked_at) + STALL_S <= now
        return not stalled and not self.table.is_backed_off(contact.peer, now)

    def ping_soon(self, contact: Contact) -> None:
        """Ping when there is time; forgotten when too many wait."""
        if len(self._to_ping) < PINGS_WAITING_MAX:
            self._to_ping.setdefault(contact.peer, contact)
            self._ping_added.set()

    async def ping_waiting(self) -> None:
        """Ping those that wait, one after another, for ever. Several tasks may do so."""
        while True:
            while self._to_ping:
                await self.ping(self._to_ping.pop(next(iter(self._to_ping))))
            if self._ping_added.is_set():
                self._ping_added = trio.Event()
            await self._ping_added.wait()
