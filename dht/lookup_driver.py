"""Drives lookups: sends what the pure lookup wants asked, and feeds back what comes.

Requests run in the nursery of the service, not in that of the lookup: one that is still unanswered when
the lookup ends goes on to its time-out there, so that a dead contact is found dead once, and not asked by
the next lookup again.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

import trio

from dht.keys import check_peer_ids
from dht.lookup import Ask, Finished, Lookup
from dht.requester import Requester
from protocol.errors import RemoteError, Unavailable
from protocol.ids import PeerId
from protocol.limits import BUCKET_SIZE
from protocol.messages.dht import Contact

LOOKUPS_CONCURRENT_MAX = 16
SEEDS_MAX = 4 * BUCKET_SIZE
"""More than are looked for: where all of the nearest have left together, those behind them still help."""


@dataclass(frozen=True, slots=True)
class LookupReport:
    """One lookup that has ended: monotonic times, contacts asked, contacts found."""

    target: bytes
    started_at: float
    ended_at: float
    asked: int
    found: int


OnLookup = Callable[[LookupReport], None]
AskContact = Callable[[Contact], Awaitable[Sequence[Contact]]]


class LookupDriver:
    """Lookups of one peer, at most `LOOKUPS_CONCURRENT_MAX` at a time; more wait their turn."""

    def __init__(
        self,
        own: PeerId,
        requester: Requester,
        nursery: Callable[[], trio.Nursery],
        on_lookup: OnLookup | None = None,
    ) -> None:
        self._own = own
        self._requester = requester
        self._nursery = nursery
        self._on_lookup = on_lookup
        self._limiter = trio.CapacityLimiter(LOOKUPS_CONCURRENT_MAX)

    async def look_up(
        self, target: bytes, ask: AskContact, is_enough: Callable[[], bool] = lambda: False
    ) -> list[Contact]:
        """The closest contacts that answered, once there is no closer one, or once it is enough.

        `ask` sends one request and gives the contacts in its answer. Raises `LocalError` when the service
        does not run, and nothing for the faults of others.
        """
        async with self._limiter:
            # To get in is a moment in which we cannot be cancelled, and the service may end.
            await trio.lowlevel.checkpoint_if_cancelled()
            self._requester.counters.lookups += 1
            started_at = trio.current_time()
            lookup = Lookup(target, self._seeds(target), own=self._own, stall_s=self._requester.patience.stall_s)
            errand = _Errand(lookup, self._requester, self._nursery(), ask, is_enough)
            await errand.run()
            if errand.exhausted:
                self._requester.table.mark_refreshed(target, trio.current_time())
            closest = list(lookup.closest())
            if self._on_lookup is not None:
                report = LookupReport(target, started_at, trio.current_time(), lookup.requests, len(closest))
                self._on_lookup(report)
            return closest

    def _seeds(self, target: bytes) -> list[Contact]:
        return self._requester.usable(self._requester.table.closest(target, SEEDS_MAX))


class _Errand:
    """One lookup that goes on: each of its tasks asks one contact after another."""

    def __init__(
        self,
        lookup: Lookup,
        requester: Requester,
        nursery: trio.Nursery,
        ask: AskContact,
        is_enough: Callable[[], bool],
    ) -> None:
        self.exhausted = False
        """Whether the lookup ended by itself: there is nobody closer."""
        self._lookup = lookup
        self._requester = requester
        self._nursery = nursery
        self._ask = ask
        self._is_enough = is_enough
        self._ended = False
        self._end = trio.Event()
        self._look_again_at = trio.current_time()

    async def run(self) -> None:
        """Until there is nobody closer to ask, or it is enough."""
        try:
            while not self._ended:
                self._start(self._go_on())
                with trio.move_on_at(self._look_again_at):
                    await self._end.wait()
        finally:
            self._ended = True

    def _start(self, contact: Contact | None) -> None:
        if contact is not None:
            self._nursery.start_soon(self._ask_on, contact)

    async def _ask_on(self, contact: Contact | None) -> None:
        while contact is not None:
            await self._ask_one(contact)
            contact = self._go_on()

    def _go_on(self) -> Contact | None:
        """Start all requests that are due but the last, whose contact is given back for the caller's own task."""
        mine: Contact | None = None
        while not self._ended:
            step = None if self._is_enough() else self._lookup.next(trio.current_time())
            if isinstance(step, Ask):
                self._start(mine)
                mine = step.contact
            elif step is None or isinstance(step, Finished):
                self.exhausted = step is not None
                self._ended = True
                self._end.set()
            else:
                self._look_again_at = step.until
                break
        return mine

    async def _ask_one(self, contact: Contact) -> None:
        contacts: Sequence[Contact] | None = None
        try:
            answered = await self._ask(contact)
            check_peer_ids([one.peer for one in answered])
            contacts = self._requester.usable(answered)
        except RemoteError as error:
            self._requester.blame(contact.peer, error)
        except Unavailable:
            pass  # The requester has taken note.
        if self._ended:
            return
        if contacts is None:
            self._lookup.on_failure(contact.peer, trio.current_time())
        else:
            self._lookup.on_success(contact.peer, contacts, trio.current_time())
