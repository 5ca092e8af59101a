"""The contacts of one peer: pure, on k-buckets. Time is an argument.

Only peers that serve the DHT may be added: the driver adds one when it has answered a request. A full
bucket keeps who it has (long-lived contacts live on) and remembers the newcomer as a replacement; the
least recently seen is given back to be pinged, and a failure lets the replacement in. One that failed
is not asked again before its back-off is over, however many others still recommend it.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

from dht.buckets import ID_BITS, Buckets
from protocol.errors import LocalError
from protocol.ids import PeerId, node_number_of
from protocol.limits import BUCKET_SIZE
from protocol.messages.dht import Contact

PING_FRESH_S = 60.0
"""A contact heard of within this time is not pinged before it could be replaced."""
BUCKET_REFRESH_S = 900.0
BACK_OFF_S = 30.0
BACK_OFF_GROWTH = 4
FAILURES_MAX = 3
FAILED_REMEMBERED_MAX = 1024
REPLACEMENTS_PER_BUCKET_MAX = 5
WANTED_SHARE = 0.25
"""A bucket less full than this takes who introduces itself; beyond that it fills with those who answer lookups."""
BUCKET_FILL_S = 300.0
"""After so long, a bucket that is still empty is looked into on purpose; until then lookups fill it for nothing."""


@dataclass(frozen=True, slots=True)
class _Failure:
    contact: Contact | None
    retry_at: float
    count: int


class ContactTable:
    """Contacts in k-buckets around `own`; see the module for the rules."""

    def __init__(self, own: PeerId, now: float, *, bucket_size: int = BUCKET_SIZE) -> None:
        self._own = own
        self._buckets = Buckets(own, bucket_size)
        self._wanted = math.ceil(WANTED_SHARE * bucket_size)
        self._replacements: dict[tuple[int, int], dict[PeerId, tuple[Contact, float]]] = {}
        """By bucket: newcomers that found it full, with the time at which they were heard of, the last one last."""
        self._failures: dict[PeerId, _Failure] = {}
        self._made_at = now
        self._refreshed_at: dict[int, float] = {}
        """By the number of leading bits that a target shared with our id: when it was last looked up."""

    def __len__(self) -> int:
        return len(self._buckets)

    def __contains__(self, peer: PeerId) -> bool:
        return self._buckets.find(peer) >= 0

    def __iter__(self) -> Iterator[Contact]:
        return iter(self._buckets)

    def get(self, peer: PeerId) -> Contact | None:
        """The contact of a peer that is in a bucket (not one that waits to replace another)."""
        place = self._buckets.find(peer)
        return self._buckets.contact_at(place) if place >= 0 else None

    def heard_since(self, peer: PeerId, time: float) -> bool:
        """Whether a contact in a bucket was heard of at this time or later."""
        place = self._buckets.find(peer)
        return place >= 0 and self._buckets.seen_at(place) >= time

    def add(self, contact: Contact, now: float) -> Contact | None:
        """Add or refresh a contact that was just heard of.

        Gives the least recently seen contact of the bucket when that is full and its word is old: the driver
        pings it and then calls `add` (it lives) or `fail` (the newcomer takes its place).
        """
        if contact.peer == self._own:
            return None
        self._failures.pop(contact.peer, None)
        place = self._buckets.find(contact.peer)
        if place >= 0:
            known = self._buckets.contact_at(place)
            self._buckets.update(place, contact if contact.addresses else known, now)
            return None
        if self._buckets.insert(contact, now):
            self._forget_replacement(contact.peer)
            return None
        self._keep_replacement(contact, now)
        oldest = self._buckets.oldest(node_number_of(contact.peer))
        return None if now - self._buckets.seen_at(oldest) < PING_FRESH_S else self._buckets.contact_at(oldest)

    def touch(self, peer: PeerId, now: float) -> None:
        """A contact was heard of; nothing happens when it is not in a bucket."""
        place = self._buckets.find(peer)
        if place >= 0:
            self._buckets.touch(place, now)

    def wants(self, peer: PeerId) -> bool:
        """Whether a peer that says that it serves the DHT is worth a ping: a neighbour, or for a bucket with few."""
        return self._buckets.has_room_for(node_number_of(peer), self._wanted)

    def radius(self) -> int:
        """How far the last of the bucketful of peers nearest to an id is, as those near ours tell; 0 if unknown."""
        own = self._buckets.own
        nearest = self._buckets.closest(own, self._buckets.size)
        return node_number_of(nearest[-1].peer) ^ own if len(nearest) == self._buckets.size else 0

    def fail(self, peer: PeerId, now: float) -> None:
        """A contact did not answer or broke the protocol: out of its bucket, and not asked again for a while."""
        before = self._failures.pop(peer, None)
        count = before.count + 1 if before else 1
        retry_at = now + BACK_OFF_S * BACK_OFF_GROWTH ** (count - 1)
        self._failures[peer] = _Failure(self._take_out(peer) or (before.contact if before else None), retry_at, count)
        while len(self._failures) > FAILED_REMEMBERED_MAX:
            del self._failures[next(iter(self._failures))]

    def forgive(self, peer: PeerId) -> None:
        """Forget that a peer failed: somebody who should know says that it is there."""
        self._failures.pop(peer, None)

    @property
    def has_failures(self) -> bool:
        """Whether any peer has failed and is remembered for it."""
        return bool(self._failures)

    def is_backed_off(self, peer: PeerId, now: float) -> bool:
        """Whether a peer failed so recently that it should not be asked."""
        failure = self._failures.get(peer)
        return failure is not None and now < failure.retry_at

    def retries_due(self, now: float) -> list[Contact]:
        """Former contacts to ping again: when their back-off is over, `FAILURES_MAX` times in all.

        Where more have failed than live, it is probably we who were cut off: then all of them, and none is
        given up.
        """
        if len(self._failures) > len(self):
            return [failure.contact for failure in self._failures.values() if failure.contact]
        due = [(peer, failure) for peer, failure in self._failures.items() if failure.retry_at <= now]
        for peer, failure in due:
            if failure.contact is None or failure.count >= FAILURES_MAX:
                del self._failures[peer]
        return [failure.contact for _, failure in due if failure.contact and failure.count < FAILURES_MAX]

    def closest(self, target: bytes, count: int) -> list[Contact]:
        """Exactly the closest contacts to an id, closest first."""
        return self._buckets.closest(int.from_bytes(target), count)

    def stale_ranges(self, now: float) -> list[tuple[int, int]]:
        """Ranges of ids to look into, nearest to our id last.

        One in which nothing was looked up for `BUCKET_REFRESH_S`; and, after `BUCKET_FILL_S`, one that is empty and was
        never looked into, since there may be others to know.
        """
        return [self._range(shared) for shared in range(self._buckets.depth() + 1) if self._is_stale(shared, now)]

    def sparse_ranges(self) -> list[tuple[int, int]]:
        """Ranges of ids, farther than our neighbours, of which we know so few that a lookup may not find the way in."""
        neighbours = self._buckets.closest(self._buckets.own, self._buckets.size)
        reach = self._shared_bits(node_number_of(neighbours[-1].peer)) if neighbours else 0
        return [self._range(shared) for shared in range(reach) if self._count(shared) < self._wanted]

    def mark_refreshed(self, target: bytes, now: float) -> None:
        """A lookup of this id has ended: its bucket is fresh. One of our own id has found all who are near."""
        number = int.from_bytes(target)
        shared = self._shared_bits(number)
        self._refreshed_at[shared] = now
        if number == self._buckets.own:
            for level in range(self._buckets.depth(), -1, -1):
                free_bits = ID_BITS - level
                low, high = self._buckets.slice_of((number >> free_bits << free_bits, free_bits))
                if high - low > self._buckets.size:
                    break
                self._refreshed_at[level] = now

    def check_invariants(self) -> None:
        """Raise `LocalError` when the columns are out of order or a bucket holds what it should not."""
        numbers = [node_number_of(contact.peer) for contact in self]
        if numbers != sorted(set(numbers)) or node_number_of(self._own) in numbers:
            raise LocalError("the contacts are out of order, or our own id is among them")
        for number in numbers:
            bucket = self._buckets.range_of(number)
            low, high = self._buckets.slice_of(bucket)
            if not 0 < high - low <= 2 * self._buckets.size:
                raise LocalError(f"the bucket from {bucket[0]:x} on has {high - low} contacts")
        for bucket in self._replacements:
            low, high = self._buckets.slice_of(bucket)
            if high - low < self._buckets.size:
                raise LocalError(f"the bucket from {bucket[0]:x} on has room, and contacts that wait for it")

    def _keep_replacement(self, contact: Contact, now: float) -> None:
        waiting = self._replacements.setdefault(self._bucket_of(contact.peer), {})
        waiting.pop(contact.peer, None)
        waiting[contact.peer] = contact, now
        if len(waiting) > REPLACEMENTS_PER_BUCKET_MAX:
            del waiting[next(iter(waiting))]

    def _forget_replacement(self, peer: PeerId) -> None:
        waiting = self._replacements.get(self._bucket_of(peer))
        if waiting is not None:
            waiting.pop(peer, None)
            if not waiting:
                del self._replacements[self._bucket_of(peer)]

    def _take_out(self, peer: PeerId) -> Contact | None:
        """The contact that was in a bucket, where the newest replacement now takes its place."""
        self._forget_replacement(peer)
        place = self._buckets.find(peer)
        if place < 0:
            return None
        taken = self._buckets.contact_at(place)
        self._buckets.remove(place)
        waiting = self._replacements.get(self._bucket_of(peer))
        if waiting and self._buckets.insert(*next(reversed(waiting.values()))):
            self._forget_replacement(next(reversed(waiting)))
        return taken

    def _bucket_of(self, peer: PeerId) -> tuple[int, int]:
        return self._buckets.range_of(node_number_of(peer))

    def _shared_bits(self, number: int) -> int:
        return min(ID_BITS - (number ^ self._buckets.own).bit_length(), ID_BITS - 1)

    def _range(self, shared: int) -> tuple[int, int]:
        """The ids that share exactly so many leading bits with ours."""
        free_bits = ID_BITS - 1 - shared
        lowest = (self._buckets.own >> free_bits ^ 1) << free_bits
        return lowest, lowest + (1 << free_bits) - 1

    def _count(self, shared: int) -> int:
        """How many contacts share exactly so many leading bits with our id."""
        low, high = self._buckets.slice_of((self._range(shared)[0], ID_BITS - 1 - shared))
        return high - low

    def _is_stale(self, shared: int, now: float) -> bool:
        refreshed_at = self._refreshed_at.get(shared)
        if refreshed_at is not None:
            return now - refreshed_at >= BUCKET_REFRESH_S
        return now - self._made_at >= (BUCKET_REFRESH_S if self._count(shared) else BUCKET_FILL_S)
