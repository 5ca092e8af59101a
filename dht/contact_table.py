"""The contacts of one peer: pure, on the package's k-buckets. Time is an argument.

Only peers that serve the DHT may be added: the driver adds one when it has answered a request. A full
bucket keeps who it has (long-lived contacts live on) and remembers the newcomer as a replacement; the
least recently seen is given back to be pinged, and a failure lets the replacement in. One that failed
is not asked again before its back-off is over, however many others still recommend it.
"""

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass

from kademlia.node import Node

from dht.buckets import BucketTable, TableNode, TimedBucket
from protocol.errors import LocalError
from protocol.ids import PeerId, node_id_of
from protocol.limits import BUCKET_SIZE
from protocol.messages.dht import Contact

PING_FRESH_S = 60.0
"""A contact heard of within this time is not pinged before it could be replaced."""
BUCKET_REFRESH_S = 900.0
BACK_OFF_S = 30.0
BACK_OFF_GROWTH = 4
FAILURES_MAX = 3
FAILED_REMEMBERED_MAX = 1024


@dataclass(frozen=True, slots=True)
class _Failure:
    contact: Contact | None
    retry_at: float
    count: int


class ContactTable:
    """Contacts in k-buckets around `own`; see the module for the rules."""

    def __init__(self, own: PeerId, now: float, *, bucket_size: int = BUCKET_SIZE) -> None:
        self._own = own
        self._table = BucketTable(Node(node_id_of(own)), bucket_size, now)
        self._failures: OrderedDict[PeerId, _Failure] = OrderedDict()

    def __len__(self) -> int:
        return sum(len(bucket) for bucket in self._table.buckets)

    def __contains__(self, peer: PeerId) -> bool:
        return self.get(peer) is not None

    def __iter__(self) -> Iterator[Contact]:
        return (node.contact for node in self._table.all_nodes())

    def get(self, peer: PeerId) -> Contact | None:
        """The contact of a peer that is in a bucket (not one that waits to replace another)."""
        node = self._node(peer)
        return node.contact if node else None

    def add(self, contact: Contact, now: float) -> Contact | None:
        """Add or refresh a contact that was just heard of.

        Gives the least recently seen contact of the bucket when that is full and its word is old: the driver
        pings it and then calls `add` (it lives) or `fail` (the newcomer takes its place).
        """
        if contact.peer == self._own:
            return None
        self._failures.pop(contact.peer, None)
        oldest = self._table.add_contact(TableNode(self._with_known_addresses(contact), now))
        if oldest is None or now - oldest.seen_at < PING_FRESH_S:
            return None
        return oldest.contact

    def touch(self, peer: PeerId, now: float) -> None:
        """A contact was heard of; nothing happens when it is not in a bucket."""
        contact = self.get(peer)
        if contact is not None:
            self.add(contact, now)

    def has_room_for(self, peer: PeerId) -> bool:
        """Whether `add` would put a new peer straight into a bucket."""
        own_node, node = self._table.node, Node(node_id_of(peer))
        bucket = self._bucket(node)
        return len(bucket) < bucket.ksize or bucket.has_in_range(own_node) or bucket.depth() % 5 != 0

    def fail(self, peer: PeerId, now: float) -> None:
        """A contact did not answer or broke the protocol: out of its bucket, and not asked again for a while."""
        contact = self.get(peer)
        before = self._failures.pop(peer, None)
        count = before.count + 1 if before else 1
        retry_at = now + BACK_OFF_S * BACK_OFF_GROWTH ** (count - 1)
        self._failures[peer] = _Failure(contact or (before.contact if before else None), retry_at, count)
        while len(self._failures) > FAILED_REMEMBERED_MAX:
            self._failures.popitem(last=False)
        self._table.remove_contact(Node(node_id_of(peer)))

    def forgive(self, peer: PeerId) -> None:
        """Forget that a peer failed: somebody who should know says that it is there."""
        self._failures.pop(peer, None)

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
        return [node.contact for node in self._table.find_neighbors(Node(target), count)]

    def stale_ranges(self, now: float) -> list[tuple[int, int]]:
        """Ranges of ids in which nothing was looked up for `BUCKET_REFRESH_S`, lowest first."""
        return [bucket.range for bucket in self._table.buckets if now - bucket.refreshed_at >= BUCKET_REFRESH_S]

    def mark_refreshed(self, target: bytes, now: float) -> None:
        """A lookup of this id has ended: its bucket is fresh."""
        self._bucket(Node(target)).refreshed_at = now

    def check_invariants(self) -> None:
        """Raise `LocalError` when the buckets do not tile the id space or hold what they should not."""
        edge = 0
        for bucket in self._table.buckets:
            low, high = bucket.range
            inside = all(bucket.has_in_range(node) for node in bucket.get_nodes())
            if low != edge or not inside or len(bucket) > bucket.ksize:
                raise LocalError(f"the bucket over [{low:x}, {high:x}] is broken")
            if bucket.replacement_nodes and len(bucket) < bucket.ksize:
                raise LocalError(f"the bucket over [{low:x}, {high:x}] has room, and contacts that wait for it")
            edge = high + 1
        if edge != 2**160 or self._own in self:
            raise LocalError("the buckets do not cover the id space without our own id")

    def _with_known_addresses(self, contact: Contact) -> Contact:
        known = None if contact.addresses else self.get(contact.peer)
        return known or contact

    def _bucket(self, node: Node) -> TimedBucket:
        return self._table.buckets[self._table.get_bucket_for(node)]

    def _node(self, peer: PeerId) -> TableNode | None:
        node = Node(node_id_of(peer))
        found: TableNode | None = self._bucket(node)[node.id]
        return found
