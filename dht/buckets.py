"""The k-buckets of one peer as three sorted columns: pure, exact, and small enough for ten thousand peers a process.

A bucket is a range of ids: all that agree with our own in so many leading bits and differ in the next (Maymounkov and
Mazieres 2002). So buckets need no objects of their own: the contacts lie in one list sorted by id, and a bucket is a
slice of it. Ids, as numbers, and contacts are shared by all tables of a process.

As the paper demands (section 2.4), the `size` contacts nearest to our own id are kept in any case: where fewer are
nearer, a bucket takes up to twice its size, and then loses the one that is farthest from us.
"""

from array import array
from bisect import bisect_left
from collections.abc import Iterator

from protocol.ids import NODE_ID_BYTES, PeerId, node_number_of
from protocol.messages.dht import Contact

ID_BITS = NODE_ID_BYTES * 8


class Buckets:
    """Contacts by id, at most `size` in each bucket. Times are monotonic seconds."""

    def __init__(self, own: PeerId, size: int) -> None:
        self.own = node_number_of(own)
        self.size = size
        self._ids: list[int] = []
        self._contacts: list[Contact] = []
        self._seen_at = array("d")

    def __len__(self) -> int:
        return len(self._ids)

    def __iter__(self) -> Iterator[Contact]:
        return iter(self._contacts)

    def find(self, peer: PeerId) -> int:
        """The place of a peer in the columns, or -1."""
        number = node_number_of(peer)
        place = bisect_left(self._ids, number)
        return place if place < len(self._ids) and self._ids[place] == number else -1

    def contact_at(self, place: int) -> Contact:
        """The contact at a place that `find` gave."""
        return self._contacts[place]

    def seen_at(self, place: int) -> float:
        """When the contact at a place was last heard of."""
        return self._seen_at[place]

    def update(self, place: int, contact: Contact, now: float) -> None:
        """The contact at a place was heard of."""
        self._contacts[place] = contact
        self._seen_at[place] = now

    def touch(self, place: int, now: float) -> None:
        """As `update`, with the same contact."""
        self._seen_at[place] = now

    def has_room_for(self, number: int, size: int | None = None) -> bool:
        """Whether a contact of this id, that is not here, would be added, were buckets of this size."""
        low, high = self.slice_of(self.range_of(number))
        return high - low < (self.size if size is None else size) or self._is_neighbour(number, low, high)

    def insert(self, contact: Contact, now: float) -> bool:
        """Add a contact that is not here; False where there is no room for it."""
        number = node_number_of(contact.peer)
        if not self.has_room_for(number):
            return False
        place = bisect_left(self._ids, number)
        self._ids.insert(place, number)
        self._contacts.insert(place, contact)
        self._seen_at.insert(place, now)
        low, high = self.slice_of(self.range_of(number))
        if high - low > 2 * self.size:
            self.remove(max(range(low, high), key=lambda one: self._ids[one] ^ self.own))
        return True

    def remove(self, place: int) -> None:
        """Take the contact at a place out."""
        del self._ids[place], self._contacts[place], self._seen_at[place]

    def range_of(self, number: int) -> tuple[int, int]:
        """The lowest id of the bucket of an id, and the number of its free bits; our own id has none of either."""
        free_bits = max(0, (number ^ self.own).bit_length() - 1)
        return number >> free_bits << free_bits, free_bits

    def slice_of(self, bucket: tuple[int, int]) -> tuple[int, int]:
        """The places of the contacts with ids from the lowest one on that differ in the free bits alone."""
        lowest, free_bits = bucket
        low = bisect_left(self._ids, lowest)
        return low, bisect_left(self._ids, lowest + (1 << free_bits), low)

    def oldest(self, number: int) -> int:
        """The place of the least recently seen contact in the bucket of an id, which must not be empty."""
        return min(range(*self.slice_of(self.range_of(number))), key=self._seen_at.__getitem__)

    def closest(self, target: int, count: int) -> list[Contact]:
        """Exactly the closest contacts, closest first."""
        low, high = self._block_around(target, count)
        # Ids differ, so distances do, and contacts are never compared.
        nearest = sorted(zip(map(target.__xor__, self._ids[low:high]), self._contacts[low:high], strict=True))
        return [contact for _, contact in nearest[:count]]

    def depth(self) -> int:
        """How many leading bits the nearest contact shares with our own id; 0 without contacts."""
        place = bisect_left(self._ids, self.own)
        neighbours = self._ids[max(0, place - 1) : place + 1]
        return max((ID_BITS - (number ^ self.own).bit_length() for number in neighbours), default=0)

    def _is_neighbour(self, number: int, low: int, high: int) -> bool:
        """Whether an id, whose bucket has these places, is nearer to ours than all but `size` of the others."""
        free_bits = (number ^ self.own).bit_length() - 1
        if free_bits < 0:
            return False
        first, last = self.slice_of((self.own >> free_bits << free_bits, free_bits))
        if last - first >= self.size:
            return False
        mine = number ^ self.own
        return last - first + sum(one ^ self.own < mine for one in self._ids[low:high]) < self.size

    def _block_around(self, target: int, count: int) -> tuple[int, int]:
        """The places of the smallest aligned block of ids around the target that has `count` contacts, or all."""
        low, high = 0, len(self._ids)
        free_bits = ID_BITS
        while high - low > count:
            free_bits -= 1
            inner = self._narrowed(target >> free_bits << free_bits, free_bits, low, high)
            if inner[1] - inner[0] < count:
                break
            low, high = inner
        return low, high

    def _narrowed(self, lowest: int, free_bits: int, low: int, high: int) -> tuple[int, int]:
        inner = bisect_left(self._ids, lowest, low, high)
        return inner, bisect_left(self._ids, lowest + (1 << free_bits), inner, high)
