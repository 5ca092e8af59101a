"""Drives lookups: sends what the pure lookup wants asked, and feeds back what comes.

Requests run in the nursery of the service, not in that of the lookup: one that is still unanswered when
the lookup ends goes on to its time-out there, so that a dead contact is found dead once, and not asked by
the next lookup again.
"""

from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

import trio

from dht.keys import check_peer_ids
from dht.lookup import REQUESTS_PER_LOOKUP_MAX, Ask, Finished, Lookup, Wait
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
_Answer = tuple[PeerId, Sequence[Contact] | None]


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
            self._requester.counters.lookups += 1
            started_at, asked = trio.current_time(), 0
            lookup = Lookup(target, self._seeds(target), own=self._own)
            send, receive = trio.open_memory_channel[_Answer](REQUESTS_PER_LOOKUP_MAX)
            with send, receive:
                while not is_enough():
                    step = lookup.next(trio.current_time())
                    if isinstance(step, Finished):
                        self._requester.table.mark_refreshed(target, trio.current_time())
                        break
                    if isinstance(step, Ask):
                        asked += 1
                        self._nursery().start_soon(self._ask_one, step.contact, ask, send.clone())
                    else:
                        await self._await_answer(lookup, step, receive)
            closest = list(lookup.closest())
            if self._on_lookup is not None:
                self._on_lookup(LookupReport(target, started_at, trio.current_time(), asked, len(closest)))
            return closest

    def _seeds(self, target: bytes) -> list[Contact]:
        nearest = self._requester.table.closest(target, SEEDS_MAX)
        return [contact for contact in nearest if self._requester.is_usable(contact)]

    async def _await_answer(self, lookup: Lookup, step: Wait, receive: "trio.MemoryReceiveChannel[_Answer]") -> None:
        with trio.move_on_at(step.until):
            peer, contacts = await receive.receive()
            if contacts is None:
                lookup.on_failure(peer, trio.current_time())
            else:
                lookup.on_success(peer, contacts, trio.current_time())

    async def _ask_one(self, contact: Contact, ask: AskContact, send: "trio.MemorySendChannel[_Answer]") -> None:
        contacts: Sequence[Contact] | None = None
        try:
            answered = await ask(contact)
            check_peer_ids([one.peer for one in answered])
            contacts = [one for one in answered if self._requester.is_usable(one)]
        except RemoteError as error:
            self._requester.blame(contact.peer, error)
        except Unavailable:
            pass  # The requester has taken note.
        with send, suppress(trio.BrokenResourceError):  # Broken: the lookup has ended without this answer.
            send.send_nowait((contact.peer, contacts))
