"""The `kademlia` package's k-buckets and candidate heap, made pure and exact.

What differs from the package, and why:
- time is an argument (its `touch_last_updated` reads a clock);
- a full bucket gives back the contact to ping (its `add_contact` starts an asyncio task);
- ranges are `[low, high]` aligned to a bit prefix (its first bucket ends at 2**160, which shifts every
  later edge, and `get_bucket_for` puts an id that equals an upper edge into the wrong bucket);
- `find_neighbors` gives the exact closest (the package's stops after the first k that it happens to see);
- the heap finds a member in constant time and does not take back what was removed from it.
"""

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from heapq import nsmallest
from itertools import chain

from kademlia.node import Node, NodeHeap
from kademlia.routing import KBucket, RoutingTable

from protocol.ids import NODE_ID_BYTES, node_id_of
from protocol.messages.dht import Contact

ID_BITS = NODE_ID_BYTES * 8


class TableNode(Node):  # type: ignore[misc]
    """A contact with its place in the key space and when it was last heard of."""

    id: bytes
    long_id: int

    def __init__(self, contact: Contact, seen_at: float = 0.0) -> None:
        super().__init__(node_id_of(contact.peer))
        self.contact = contact
        self.seen_at = seen_at


class TimedBucket(KBucket):  # type: ignore[misc]
    """A k-bucket over an aligned range, with the time at which it was last looked up."""

    range: tuple[int, int]

    def __init__(self, low: int, high: int, size: int, refreshed_at: float) -> None:
        super().__init__(low, high, size)
        self.refreshed_at = refreshed_at

    def touch_last_updated(self) -> None:
        """Nothing: the package's reads a clock; `refreshed_at` takes its place."""

    def split(self) -> tuple["TimedBucket", "TimedBucket"]:
        """The two halves, with the contacts in the order in which they were last seen."""
        low, high = self.range
        middle = (low + high) // 2
        lower = TimedBucket(low, middle, self.ksize, self.refreshed_at)
        upper = TimedBucket(middle + 1, high, self.ksize, self.refreshed_at)
        for node in chain(self.nodes.values(), self.replacement_nodes.values()):
            (lower if node.long_id <= middle else upper).add_node(node)
        return lower, upper

    def depth(self) -> int:
        """How many leading bits the ids in the range share."""
        return ID_BITS - (self.range[1] - self.range[0]).bit_length()

    def nearest_distance(self, target: int) -> int:
        """The least distance that an id in the range can have; ranges of a table do not overlap in it."""
        width = self.range[1] - self.range[0]
        return (self.range[0] ^ target) & ~width


class BucketTable(RoutingTable):  # type: ignore[misc]
    """The package's routing table with its rule of splitting, without its clock, tasks and inexactness."""

    buckets: list[TimedBucket]

    def __init__(self, own: Node, size: int, now: float) -> None:
        self._created_at = now
        super().__init__(None, size, own)

    def flush(self) -> None:
        """Begin with one bucket over all ids."""
        self.buckets = [TimedBucket(0, 2**ID_BITS - 1, self.ksize, self._created_at)]

    def get_bucket_for(self, node: Node) -> int:
        """The index of the one bucket whose range has the id."""
        return bisect_left(self.buckets, node.long_id, key=lambda bucket: bucket.range[1])

    def add_contact(self, node: TableNode) -> TableNode | None:
        """Add or refresh; the least recently seen contact of a full bucket, which should be pinged, or None."""
        while True:
            index = self.get_bucket_for(node)
            bucket = self.buckets[index]
            if bucket.add_node(node):
                return None
            if not bucket.has_in_range(self.node) and bucket.depth() % 5 == 0:
                oldest: TableNode = bucket.head()
                return oldest
            self.split_bucket(index)

    def find_neighbors(self, node: Node, k: int | None = None, exclude: Node | None = None) -> list[TableNode]:
        """The exact k closest, closest first: buckets in the order of their distance until k are found."""
        wanted = self.ksize if k is None else k
        found: list[TableNode] = []
        for bucket in sorted(self.buckets, key=lambda bucket: bucket.nearest_distance(node.long_id)):
            found += sorted(bucket.get_nodes(), key=node.distance_to)
            if len(found) >= wanted:
                break
        return found[:wanted]

    def all_nodes(self) -> Iterator[TableNode]:
        """Every contact, by bucket."""
        for bucket in self.buckets:
            yield from bucket.get_nodes()


class CandidateHeap(NodeHeap):  # type: ignore[misc]
    """The package's heap of the closest candidates; what was once removed is not taken again."""

    contacted: set[bytes]

    def __init__(self, target: Node, size: int) -> None:
        super().__init__(target, size)
        self._known: set[bytes] = set()
        self._visible: list[TableNode] | None = None

    def __contains__(self, node: object) -> bool:
        return isinstance(node, TableNode) and node.id in self._known

    def __iter__(self) -> Iterator[TableNode]:
        if self._visible is None:
            self._visible = [node for _, node in nsmallest(self.maxsize, self.heap)]
        return iter(self._visible)

    def push(self, nodes: Iterable[TableNode]) -> None:
        """Add candidates that were never in the heap."""
        for node in nodes:
            if node not in self:
                super().push(node)
                self._known.add(node.id)
                self._visible = None

    def remove(self, ids: Sequence[bytes]) -> None:
        """Take candidates out for good."""
        super().remove(ids)
        self._visible = None

    def restore(self, node: TableNode) -> None:
        """Put a removed candidate back."""
        self._known.discard(node.id)
        self.push([node])

    def nearest(self) -> TableNode | None:
        """The closest candidate in the heap."""
        return next(iter(self), None)
