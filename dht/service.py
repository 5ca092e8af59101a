"""The DHT of one peer over its host: serves others, looks up, stores and finds records.

Decisions are in the contact table, the record store, the lookup and the search; here are the tasks.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import TYPE_CHECKING

import trio

from dht.contact_table import ContactTable
from dht.counters import DhtCounters, OnRemoteError
from dht.keys import distance
from dht.lookup_driver import LookupDriver, OnLookup
from dht.record_store import RecordStore
from dht.requester import Requester
from dht.search import RecordSearch, agreed_estimate
from dht.server import DhtServer
from protocol.errors import LocalError, RemoteError, Unavailable
from protocol.ids import NODE_ID_BYTES, PeerId, node_id_of
from protocol.limits import BUCKET_SIZE, LOOKUP_CONCURRENCY, RECORDS_PER_KEY_MAX
from protocol.messages.dht import Contact, FindNode, FindRecords, Nodes, Records, Store, Stored
from protocol.network import DHT_PROTOCOL, Host, Stream
from protocol.signing import Envelope, Identity

if TYPE_CHECKING:
    from trio_typing import TaskStatus

PINGS_CONCURRENT_MAX = 8
MAINTENANCE_INTERVAL_S = 30.0
MAINTENANCE_FIRST_S = 2.0
MAINTENANCE_GROWTH = 4
"""The first passes come soon and look for ourselves: peers that join together do not know one another yet."""


@dataclass(frozen=True, slots=True)
class BootstrapLine:
    """What came of one contact given to `bootstrap`: reached, or the reason why not."""

    contact: Contact
    reached: bool
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Placement:
    """What came of storing a record: copies kept, reasons of those who did not, and the key's total."""

    copies: int
    refusals: dict[str, int] = field(default_factory=dict)
    total_estimate: int = 0


class DhtService:
    """See the module. Requests need `run()` to be running; no method raises for the faults of others.

    `serving=False` makes a client: it asks, and is in nobody's contact table. `on_remote_error` is told of
    every breach of the protocol, in addition to `counters.remote_errors`; `on_lookup` of every lookup that ended.
    """

    def __init__(
        self,
        host: Host,
        *,
        identity: Identity,
        random: Random,
        wall_clock: Callable[[], float],
        serving: bool = True,
        on_remote_error: OnRemoteError | None = None,
        on_lookup: OnLookup | None = None,
    ) -> None:
        if host.peer_id != identity.peer_id:
            raise LocalError(f"the host is {host.peer_id}, the identity {identity.peer_id}: they must be the same")
        self.peer_id: PeerId = identity.peer_id
        self.host = host
        self.serving = serving
        self.counters = DhtCounters()
        self.bootstrap_report: tuple[BootstrapLine, ...] = ()
        self.on_remote_error = on_remote_error
        self._random = random
        self._wall_clock = wall_clock
        self._table = ContactTable(self.peer_id, -math.inf)
        self._records = RecordStore(self.peer_id, random)
        self._requester = Requester(host, self._table, self.counters, self._introduction, self._tell_remote_error)
        self._lookups = LookupDriver(self.peer_id, self._requester, self._running, on_lookup)
        self._server = DhtServer(
            self._table,
            self._records,
            self.counters,
            wall_clock=wall_clock,
            on_introduced=self._requester.introduced,
            on_remote_error=self._requester.blame,
        )
        self._nursery: trio.Nursery | None = None
        self._bootstrap_contacts: tuple[Contact, ...] = ()

    @property
    def contact_count(self) -> int:
        """Peers in the contact table."""
        return len(self._table)

    @property
    def record_count(self) -> int:
        """Records held for others."""
        return len(self._records)

    def contacts(self) -> list[Contact]:
        """The contact table, nearest first: worth remembering for the next start."""
        return self._table.closest(node_id_of(self.peer_id), len(self._table))

    def check_invariants(self) -> None:
        """Raise `LocalError` when the table or the store is broken."""
        self._table.check_invariants()
        self._records.check_invariants()

    async def run(self, *, task_status: "TaskStatus[None]" = trio.TASK_STATUS_IGNORED) -> None:
        """Serve and keep the tables fresh until cancelled."""
        try:
            async with trio.open_nursery() as nursery:
                self._nursery = nursery
                for _ in range(PINGS_CONCURRENT_MAX):
                    nursery.start_soon(self._requester.ping_waiting)
                nursery.start_soon(self._maintain)
                if self.serving:
                    self.host.serve(DHT_PROTOCOL, self._serve_stream)
                task_status.started()
        finally:
            self._nursery = None
            await self._requester.close()

    async def bootstrap(self, contacts: Sequence[Contact]) -> int:
        """Join through these contacts; how many were reached. `bootstrap_report` has a line for each.

        They are tried again by `run()` whenever the contact table has become empty.
        """
        self._bootstrap_contacts = tuple({one.peer: one for one in contacts if one.peer != self.peer_id}.values())
        lines: dict[PeerId, BootstrapLine] = {}
        limiter = trio.CapacityLimiter(LOOKUP_CONCURRENCY)
        async with trio.open_nursery() as nursery:
            for contact in self._bootstrap_contacts:
                nursery.start_soon(self._bootstrap_one, contact, limiter, lines)
        self.bootstrap_report = tuple(lines[one.peer] for one in self._bootstrap_contacts)
        reached = sum(line.reached for line in self.bootstrap_report)
        if reached:
            await self.find_closest(node_id_of(self.peer_id))
        return reached

    async def find_closest(self, target: bytes) -> list[Contact]:
        """The `BUCKET_SIZE` peers closest to an id, closest first, each of which has just answered."""

        async def ask(contact: Contact) -> Sequence[Contact]:
            return (await self._requester.request(contact, FindNode(request_id=0, target=target), Nodes)).contacts

        return await self._lookups.look_up(target, ask)

    async def ping(self, contact: Contact) -> str:
        """Why a contact does not answer, or "" when it does."""
        return await self._requester.ping(contact)

    async def store(self, key: bytes, envelope: Envelope) -> int:
        """Store a record at the peers closest to its key; how many keep it."""
        return (await self.place(key, envelope)).copies

    async def place(self, key: bytes, envelope: Envelope) -> Placement:
        """Like `store`, with the reasons of those who refused and the estimate of the key's total."""
        holders = await self.find_closest(key)
        replies: list[Stored] = []
        if self._is_holder(key, holders):
            replies.append(self._store_here(key, envelope))
        async with trio.open_nursery() as nursery:
            for contact in holders:
                nursery.start_soon(self._store_one, contact, Store(request_id=0, key=key, record=envelope), replies)
        reasons = sorted(reply.reason for reply in replies if not reply.accepted)
        return Placement(
            copies=sum(reply.accepted for reply in replies),
            refusals={reason: reasons.count(reason) for reason in reasons},
            total_estimate=agreed_estimate([reply.total_estimate for reply in replies]),
        )

    async def find_records(self, key: bytes, wanted: int) -> tuple[list[Envelope], int]:
        """Checked records under a key, at least `wanted` where there are as many, and an estimate of the total."""
        search = RecordSearch(key, wanted)
        now_unix_s = self._wall_clock()
        held_here = self._records.sample(key, now_unix_s, RECORDS_PER_KEY_MAX)
        search.add(held_here, self._records.total_estimate(key, now_unix_s), now_unix_s)

        async def ask(contact: Contact) -> Sequence[Contact]:
            reply = await self._requester.request(contact, FindRecords(request_id=0, key=key), Records)
            search.add(reply.records, reply.total_estimate, self._wall_clock())
            return reply.contacts

        await self._lookups.look_up(key, ask, search.is_enough)
        return search.records(), search.total_estimate()

    async def _bootstrap_one(
        self, contact: Contact, limiter: trio.CapacityLimiter, lines: dict[PeerId, BootstrapLine]
    ) -> None:
        async with limiter:
            self._table.forgive(contact.peer)
            self.host.add_addresses(contact.peer, contact.addresses)
            reason = await self._requester.ping(contact)
            lines[contact.peer] = BootstrapLine(contact, reached=not reason, reason=reason)

    async def _store_one(self, contact: Contact, message: Store, replies: list[Stored]) -> None:
        try:
            replies.append(await self._requester.request(contact, message, Stored))
        except RemoteError as error:
            self._requester.blame(contact.peer, error)
        except Unavailable:
            pass  # The requester has taken note.

    def _store_here(self, key: bytes, envelope: Envelope) -> Stored:
        try:
            kept = self._records.add(key, envelope, self._wall_clock())
        except RemoteError as error:
            raise LocalError(f"everybody would refuse this record: {error}") from error
        return Stored(request_id=0, accepted=kept.accepted, reason=kept.reason, total_estimate=kept.total_estimate)

    def _is_holder(self, key: bytes, others: Sequence[Contact]) -> bool:
        """Whether we are among the closest ourselves."""
        if not self.serving or len(others) < BUCKET_SIZE:
            return self.serving
        return distance(key, node_id_of(self.peer_id)) < distance(key, node_id_of(others[-1].peer))

    async def _serve_stream(self, stream: Stream) -> None:
        if self._nursery is None:
            await stream.reset()
        else:
            await self._server.serve_stream(stream)

    def _introduction(self) -> Contact | None:
        addresses = tuple(self.host.addresses())
        return Contact(peer=self.peer_id, addresses=addresses) if self.serving and addresses else None

    def _tell_remote_error(self, peer: PeerId, error: RemoteError) -> None:
        if self.on_remote_error is not None:
            self.on_remote_error(peer, error)

    async def _maintain(self) -> None:
        interval_s = MAINTENANCE_FIRST_S
        while True:
            await trio.sleep(interval_s * self._random.uniform(0.8, 1.2))
            joining = interval_s < MAINTENANCE_INTERVAL_S
            interval_s = min(MAINTENANCE_GROWTH * interval_s, MAINTENANCE_INTERVAL_S)
            self._records.expire(self._wall_clock())
            for contact in self._table.retries_due(trio.current_time()):
                self._requester.ping_soon(contact)
            if self.contact_count:
                await self._refresh(joining)
            elif self._bootstrap_contacts:
                await self.bootstrap(self._bootstrap_contacts)

    async def _refresh(self, joining: bool) -> None:
        """Look for ourselves while joining, and for somebody in a stale bucket."""
        if joining:
            await self.find_closest(node_id_of(self.peer_id))
        stale = self._table.stale_ranges(trio.current_time())
        if stale:
            low, high = self._random.choice(stale)
            await self.find_closest(self._random.randint(low, high).to_bytes(NODE_ID_BYTES))

    def _running(self) -> trio.Nursery:
        if self._nursery is None:
            raise LocalError("the DHT is not running: start `run()` first")
        return self._nursery
