"""A static Kademlia network of any size, whose tables are made only for the peers that are asked.

Tables and lookups are the shipped ones. The tables are full: each bucket holds as many contacts as exist or fit, drawn
at random. Time is virtual; a peer's answer takes what the caller says.
"""

import heapq
import math
from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from random import Random

from dht.buckets import ID_BITS
from dht.contact_table import ContactTable
from dht.keys import distance
from dht.lookup import Ask, Finished, Lookup, Wait
from protocol.errors import LocalError
from protocol.ids import NODE_ID_BYTES, PeerId, node_id_of
from protocol.messages.dht import Contact

TABLES_KEPT_MAX = 4096


@dataclass(frozen=True, slots=True)
class Walk:
    """What one lookup did."""

    closest: tuple[Contact, ...]
    hops: dict[PeerId, int]
    """Of each peer that was heard of: how many requests in a row reach it, itself among them."""
    requests: int
    elapsed_s: float
    failures: int


Answer = Callable[[Contact], Sequence[Contact] | None]
"""The contacts that a peer answers with, or None when it cannot be reached."""


def contact_named(name: str) -> Contact:
    """A contact whose id is the hash of a name."""
    return Contact(peer=PeerId(name), addresses=("/memory/1",))


class StaticNetwork:
    """See the module. Peers are numbered; their ids are hashes, as in the real network."""

    def __init__(self, size: int, bucket_size: int, random: Random, *, extra: Sequence[Contact] = ()) -> None:
        self.bucket_size = bucket_size
        self._random = random
        contacts = [*(contact_named(f"peer-{number}") for number in range(size)), *extra]
        self.size = len(contacts)
        self.contacts = sorted(contacts, key=lambda contact: node_id_of(contact.peer))
        self._ids = [int.from_bytes(node_id_of(contact.peer)) for contact in self.contacts]
        self._nearest = lru_cache(TABLES_KEPT_MAX)(self._full_table)

    def known_to(self, contact: Contact, target: bytes, count: int) -> list[Contact]:
        """The closest contacts in a peer's table."""
        return self._nearest(contact.peer)(target, count)

    def true_closest(self, target: bytes, count: int) -> list[Contact]:
        """The closest of all peers, closest first."""
        wanted = int.from_bytes(target)
        for depth in range(self._depth_with(count), -1, -1):
            shift = ID_BITS - depth
            inside = self._range(wanted >> shift << shift, shift)
            if len(inside) >= count or depth == 0:
                return heapq.nsmallest(count, inside, key=lambda one: distance(target, node_id_of(one.peer)))
        return []

    def random_target(self) -> bytes:
        """An id drawn uniformly."""
        return self._random.randbytes(NODE_ID_BYTES)

    def random_peer(self) -> Contact:
        """A peer drawn uniformly."""
        return self._random.choice(self.contacts)

    def _depth_with(self, count: int) -> int:
        return max(0, int(math.log2(max(1.0, self.size / count))) + 2)

    def _range(self, low: int, bits: int) -> Sequence[Contact]:
        """The peers whose ids begin at `low` and differ in the last `bits` bits."""
        return self.contacts[bisect_left(self._ids, low) : bisect_left(self._ids, low + (1 << bits))]

    def _some(self, low: int, bits: int) -> list[Contact]:
        inside = self._range(low, bits)
        return self._random.sample(inside, min(self.bucket_size, len(inside)))

    def _full_table(self, peer: PeerId) -> "Nearest":
        own = int.from_bytes(node_id_of(peer))
        table = ContactTable(peer, 0.0, bucket_size=self.bucket_size)
        for shift in range(ID_BITS - 1, -1, -1):
            for contact in self._some((own >> shift ^ 1) << shift, shift):
                table.add(contact, 0.0)
            if len(self._range(own >> shift << shift, shift)) == 1:
                break
        return table.closest


Nearest = Callable[[bytes, int], list[Contact]]


def walk(lookup: Lookup, seeds: Sequence[Contact], answer: Answer, delay: Callable[[Contact], float]) -> Walk:
    """Drive a shipped lookup to its end in virtual time.

    Raises `LocalError` should the lookup wait for nobody, which would be a fault of its rules.
    """
    hops = {contact.peer: 1 for contact in seeds}
    waiting: list[tuple[float, int, Contact]] = []
    now, number, failures = 0.0, 0, 0
    while not isinstance(step := lookup.next(now), Finished):
        if isinstance(step, Ask):
            number += 1
            heapq.heappush(waiting, (now + delay(step.contact), number, step.contact))
            continue
        if not waiting:
            raise LocalError(f"a lookup waits until {step.until} for nobody")
        now, arrived = _advance(step, waiting, now)
        if arrived is None:
            continue
        contacts = answer(arrived)
        if contacts is None:
            failures += 1
            lookup.on_failure(arrived.peer, now)
        else:
            for contact in contacts:
                hops.setdefault(contact.peer, hops[arrived.peer] + 1)
            lookup.on_success(arrived.peer, contacts, now)
    return Walk(step.closest, hops, lookup.requests, now, failures)


def _advance(step: Wait, waiting: list[tuple[float, int, Contact]], now: float) -> tuple[float, Contact | None]:
    if waiting[0][0] <= step.until:
        at, _, contact = heapq.heappop(waiting)
        return max(now, at), contact
    return max(now, step.until), None
