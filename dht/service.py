"""The DHT of one peer over its host: serves others, looks up, stores and finds records.

Decisions are in the contact table, the record store, the lookup and the search; here are the tasks.
"""

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
from dht.requester import Prepared, Requester
from dht.search import RecordSearch, agreed_estimate
from dht.server import REASON_LENGTH_MAX, DhtServer
from dht.settling import Settling
from protocol.errors import BadRecord, LocalError, RemoteError, Unavailable
from protocol.ids import NODE_ID_BYTES, PeerId, node_id_of, node_number_of
from protocol.limits import BUCKET_SIZE, LOOKUP_CONCURRENCY, RECORDS_PER_KEY_MAX
from protocol.messages.dht import Contact, FindNode, FindRecords, Nodes, Records, Store, Stored
from protocol.network import DHT_PROTOCOL, Caller, Host
from protocol.signing import Envelope, Identity

if TYPE_CHECKING:
    from trio_typing import TaskStatus

CONTACTS_WELL_JOINED = 2 * BUCKET_SIZE
"""With so many contacts there were others before us, and newcomers nearby have introduced themselves."""
NEWCOMERS_TOLERATED = BUCKET_SIZE // 4
"""In one interval, among the neighbours of a peer with that many contacts."""


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
        self.on_settled: Callable[[], None] = lambda: None
        """Called when the neighbourhood has come to rest, if it had moved since we joined; must not block."""
        self._random = random
        self._wall_clock = wall_clock
        self._table = ContactTable(self.peer_id, trio.current_time())
        self._records = RecordStore(self.peer_id, random)
        self._settling = Settling()
        self._introduced_as: Contact | None = None
        self._requester = Requester(
            host, self._table, self.counters, self._introduction, self._tell_remote_error, lambda: self._nursery
        )
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
                if self.serving:
                    self.host.answer(DHT_PROTOCOL, self)
                task_status.started()
                await self._maintain()
        finally:
            self._nursery = None

    def answer(self, caller: Caller, request: bytes) -> bytes:
        """See `protocol.network.Answerer`."""
        if self._nursery is None:
            raise Unavailable("the DHT of this peer has ended")
        return self._server.answer(caller, request)

    def on_breach(self, peer: PeerId, error: RemoteError) -> None:
        """See `protocol.network.Answerer`."""
        self._requester.blame(peer, error)

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
            self._settling.joined(self._neighbours())
        return reached

    async def find_closest(self, target: bytes) -> list[Contact]:
        """The `BUCKET_SIZE` peers closest to an id, closest first, each of which has just answered."""

        request = self._requester.prepare(FindNode(request_id=0, target=target), Nodes)

        async def ask(contact: Contact) -> Sequence[Contact]:
            return (await self._requester.request(contact, request)).contacts

        return await self._lookups.look_up(target, ask)

    async def ping(self, contact: Contact) -> str:
        """Why a contact does not answer, or "" when it does."""
        return await self._requester.ping(contact)

    async def store(self, key: bytes, envelope: Envelope) -> int:
        """Store a record at the peers closest to its key; how many keep it."""
        return (await self.place(key, envelope)).copies

    async def place(self, key: bytes, envelope: Envelope) -> Placement:
        """Like `store`, with the reasons of those who refused and the estimate of the key's total.

        Whoever is near enough to the key to be a holder, as far as the density of peers tells, is asked to store at
        once instead of being found first (after "optimistic provide" of IPFS, Trautwein et al.).
        """
        replies: dict[PeerId, Stored] = {}
        radius, target = self._table.radius(), int.from_bytes(key)
        find = self._requester.prepare(FindNode(request_id=0, target=key), Nodes)
        find_and_store = self._requester.prepare(Store(request_id=0, key=key, record=envelope, looking=True), Stored)

        async def ask(contact: Contact) -> Sequence[Contact]:
            if node_number_of(contact.peer) ^ target > radius:
                return (await self._requester.request(contact, find)).contacts
            reply = replies[contact.peer] = await self._requester.request(contact, find_and_store)
            return reply.contacts

        holders = await self._lookups.look_up(key, ask)
        store = self._requester.prepare(Store(request_id=0, key=key, record=envelope), Stored)
        async with trio.open_nursery() as nursery:
            for contact in holders:
                if contact.peer not in replies:
                    nursery.start_soon(self._store_one, contact, store, replies)
        if self._is_holder(key, holders):
            replies[self.peer_id] = self._store_here(key, envelope)
        reasons = sorted(reply.reason for reply in replies.values() if not reply.accepted)
        return Placement(
            copies=sum(reply.accepted for reply in replies.values()),
            refusals={reason: reasons.count(reason) for reason in reasons},
            total_estimate=agreed_estimate([reply.total_estimate for reply in replies.values()]),
        )

    async def find_records(self, key: bytes, wanted: int) -> tuple[list[Envelope], int]:
        """Checked records under a key, at least `wanted` where there are as many, and an estimate of the total."""
        search = RecordSearch(key, wanted)
        now_unix_s = self._wall_clock()
        held_here = self._records.sample(key, now_unix_s, RECORDS_PER_KEY_MAX)
        search.add_held(held_here, self._records.total_estimate(key, now_unix_s), now_unix_s)

        request = self._requester.prepare(FindRecords(request_id=0, key=key), Records)

        async def ask(contact: Contact) -> Sequence[Contact]:
            reply = await self._requester.request(contact, request)
            search.add(reply.records, reply.total_estimate, self._wall_clock())
            return reply.contacts

        await self._lookups.look_up(key, ask, search.is_enough)
        return search.records(), search.total_estimate()

    async def _bootstrap_one(
        self, contact: Contact, limiter: trio.CapacityLimiter, lines: dict[PeerId, BootstrapLine]
    ) -> None:
        async with limiter:
            self._table.forgive(contact.peer)
            reason = await self._requester.ping(contact)
            lines[contact.peer] = BootstrapLine(contact, reached=not reason, reason=reason)

    async def _store_one(self, contact: Contact, store: Prepared[Stored], replies: dict[PeerId, Stored]) -> None:
        try:
            replies[contact.peer] = await self._requester.request(contact, store)
        except RemoteError as error:
            self._requester.blame(contact.peer, error)
        except Unavailable:
            pass  # The requester has taken note.

    def _store_here(self, key: bytes, envelope: Envelope) -> Stored:
        try:
            kept = self._records.add(key, envelope, self._wall_clock())
        except BadRecord as error:
            # Our clock may have been stepped since it was signed: that is no reason to fall over.
            return Stored(request_id=0, accepted=False, reason=str(error)[:REASON_LENGTH_MAX], total_estimate=0)
        except RemoteError as error:
            raise LocalError(f"everybody would refuse this record: {error}") from error
        return Stored(request_id=0, accepted=kept.accepted, reason=kept.reason, total_estimate=kept.total_estimate)

    def _is_holder(self, key: bytes, others: Sequence[Contact]) -> bool:
        """Whether we are among the closest ourselves."""
        if not self.serving or len(others) < BUCKET_SIZE:
            return self.serving
        return distance(key, node_id_of(self.peer_id)) < distance(key, node_id_of(others[-1].peer))

    def _introduction(self) -> Contact | None:
        addresses = tuple(self.host.addresses()) if self.serving else ()
        if not addresses:
            return None
        if self._introduced_as is None or self._introduced_as.addresses != addresses:
            self._introduced_as = Contact(peer=self.peer_id, addresses=addresses)
        return self._introduced_as

    def _tell_remote_error(self, peer: PeerId, error: RemoteError) -> None:
        if self.on_remote_error is not None:
            self.on_remote_error(peer, error)

    async def _maintain(self) -> None:
        while True:
            await trio.sleep(self._settling.interval_s * self._random.uniform(0.8, 1.2))
            self._records.expire(self._wall_clock())
            for contact in self._table.retries_due(trio.current_time()):
                self._requester.ping_soon(contact)
            if not self.contact_count:
                self._settling.unsettle()
                await self.bootstrap(self._bootstrap_contacts)
            if self._settling.is_settled:
                await self._refresh()
            else:
                await self._look_around()

    async def _look_around(self) -> None:
        """Look for ourselves; with many contacts only see who has introduced themselves meanwhile."""
        failed, tolerated = self.counters.unavailable, NEWCOMERS_TOLERATED
        if self.contact_count < CONTACTS_WELL_JOINED:
            tolerated = 0
            await self.find_closest(node_id_of(self.peer_id))
            for low, high in self._table.sparse_ranges():
                await self._look_into(low, high)
        all_answered = bool(tolerated) or self.counters.unavailable == failed
        if self._settling.looked(self._neighbours(), all_answered=all_answered, tolerated=tolerated):
            self.on_settled()

    def _neighbours(self) -> list[PeerId]:
        return [contact.peer for contact in self._table.closest(node_id_of(self.peer_id), BUCKET_SIZE)]

    async def _refresh(self) -> None:
        """Look for somebody in a stale bucket."""
        stale = self._table.stale_ranges(trio.current_time())
        if stale:
            await self._look_into(*self._random.choice(stale))

    async def _look_into(self, low: int, high: int) -> None:
        await self.find_closest(self._random.randint(low, high).to_bytes(NODE_ID_BYTES))

    def _running(self) -> trio.Nursery:
        if self._nursery is None:
            raise LocalError("the DHT is not running: start `run()` first")
        return self._nursery
