"""The inputs of a job, encoded once; any range of them is a chunk's payload without encoding again."""

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

    def payload(self, piece: Piece) -> bytes:
        """Canonical CBOR of the list of the piece's items."""
        return array_head(piece.stop - piece.start) + b"".join(self._encoded[piece.start : piece.stop])

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
