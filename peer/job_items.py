"""The inputs of a job, encoded once; any range of them is a chunk's payload without encoding again."""

from bisect import bisect_left
from collections.abc import Sequence

from protocol import encoding
from protocol.errors import LocalError
from protocol.job_events import Piece
from protocol.limits import ITEM_SIZE_BYTES_MAX, ITEMS_PER_JOB_MAX

_CBOR_ARRAY = 0x80


class JobItems:
    """Items in the order in which they were given; `numbers` are those in the job, where they are a part of it."""

    def __init__(self, numbers: Sequence[int] | None = None) -> None:
        self._encoded: list[bytes] = []
        self._numbers = numbers

    def __len__(self) -> int:
        return len(self._encoded)

    def add(self, items: Sequence[object]) -> tuple[int, ...]:
        """Take more items; returns the size of each in bytes. Raises `LocalError` naming the item."""
        if len(self) + len(items) > ITEMS_PER_JOB_MAX:
            raise LocalError(f"a job has at most {ITEMS_PER_JOB_MAX} items: split it into several jobs")
        first = len(self)
        encoded = [self._encode(first + place, item) for place, item in enumerate(items)]
        self._encoded += encoded
        return tuple(map(len, encoded))

    def _encode(self, number: int, item: object) -> bytes:
        try:
            data = encoding.encode(item)
        except LocalError as error:
            raise LocalError(f"item {number} {error}") from error
        if len(data) > ITEM_SIZE_BYTES_MAX:
            raise LocalError(f"item {number} takes {len(data)} bytes; at most {ITEM_SIZE_BYTES_MAX} are allowed")
        return data

    def number(self, place: int) -> int:
        """The number in the job of the item at this place."""
        return place if self._numbers is None else self._numbers[place]

    def in_words(self, piece: Piece) -> str:
        """`item 3`, `items 3-9`; where some in between are no part of this, how many."""
        count = piece.stop - piece.start
        first, last = self.number(piece.start), self.number(piece.stop - 1)
        if count == 1:
            return f"item {first}"
        return f"items {first}-{last}" if last - first == count - 1 else f"{count} of the items {first}-{last}"

    def span(self, piece: Piece) -> tuple[int, int, int]:
        """The numbers in the job of the piece's first and last item, and how many it has."""
        return self.number(piece.start), self.number(piece.stop - 1), piece.stop - piece.start

    def places(self, first: int, last: int, count: int) -> tuple[int, int] | None:
        """From where to where the items are that `span` says this of; None where these are not all here, or others."""
        numbers = range(len(self)) if self._numbers is None else self._numbers
        start = bisect_left(numbers, first)
        stop = start + count
        if stop > len(self) or (numbers[start], numbers[stop - 1]) != (first, last):
            return None
        return start, stop

    def payload(self, piece: Piece) -> bytes:
        """Canonical CBOR of the list of the piece's items."""
        return self.payload_of(piece.start, piece.stop)

    def payload_of(self, start: int, stop: int) -> bytes:
        """The same, of the items from one place to before another."""
        return array_head(stop - start) + b"".join(self._encoded[start:stop])

    def encoded(self, item: int) -> bytes:
        """Canonical CBOR of one item."""
        return self._encoded[item]


def array_head(length: int) -> bytes:
    """The head of a CBOR array in its shortest form (RFC 8949, section 3)."""
    if length < 24:
        return bytes([_CBOR_ARRAY | length])
    if length < 0x100:
        return bytes([_CBOR_ARRAY | 24, length])
    return bytes([_CBOR_ARRAY | 25]) + length.to_bytes(2, "big")
