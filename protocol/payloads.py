"""Inputs and results on the wire: inline when small, else as parts ahead of the message that names them.

On one stream the parts of a payload follow one another without another payload's parts between.
Equal payloads may be sent repeatedly; each is taken as often as it was sent.
"""

from collections.abc import Iterator

from protocol.errors import BadFrame, LocalError
from protocol.ids import digest as digest_of
from protocol.limits import INLINE_SIZE_BYTES_MAX, PART_SIZE_BYTES_MAX, PAYLOADS_WAITING_MAX
from protocol.messages.job import PayloadPart


def parts_of(data: bytes) -> Iterator[PayloadPart]:
    """The payload in parts of at most `PART_SIZE_BYTES_MAX`; raises `LocalError` for no data."""
    if not data:
        raise LocalError("an empty payload goes inline")
    digest = digest_of(data)
    for offset in range(0, len(data), PART_SIZE_BYTES_MAX):
        piece = data[offset : offset + PART_SIZE_BYTES_MAX]
        yield PayloadPart(digest=digest, offset=offset, size_bytes=len(data), data=piece)


def inline_or_parts(data: bytes) -> tuple[bytes | None, tuple[PayloadPart, ...]]:
    """What goes into the message, and the parts to send before it."""
    if len(data) <= INLINE_SIZE_BYTES_MAX:
        return data, ()
    return None, tuple(parts_of(data))


class PayloadCollector:
    """Puts parts together; holds at most `size_bytes_max_total` bytes and `PAYLOADS_WAITING_MAX` payloads."""

    def __init__(self, size_bytes_max_total: int) -> None:
        self.size_bytes = 0
        """Bytes of the payloads that wait to be taken, those announced by a first part included."""
        self._size_bytes_max_total = size_bytes_max_total
        self._whole: dict[bytes, list[bytes]] = {}
        self._count = 0
        self._current: tuple[bytes, int] | None = None
        self._buffer = bytearray()

    def feed(self, part: PayloadPart) -> None:
        """Add the next part. Raises `BadFrame` for a part out of order, or sizes or a digest that do not agree."""
        if self._current is None:
            self._begin(part)
        elif self._current != (part.digest, part.size_bytes):
            raise BadFrame("a part of another payload before the last one was whole")
        if part.offset != len(self._buffer) or not part.data:
            raise BadFrame(f"a part of {len(part.data)} bytes at {part.offset}; {len(self._buffer)} is due")
        self._buffer += part.data
        if len(self._buffer) >= part.size_bytes:
            self._finish(part)

    def take(self, digest: bytes) -> bytes:
        """A payload that is whole, given up by the collector; raises `BadFrame` when there is none."""
        waiting = self._whole.get(digest)
        if not waiting:
            raise BadFrame(f"no payload was sent for digest {digest.hex()[:16]}")
        data = waiting.pop()
        if not waiting:
            del self._whole[digest]
        self._count -= 1
        self.size_bytes -= len(data)
        return data

    def open(self, digest: bytes, inline: bytes | None) -> bytes:
        """The payload that a message names: its inline data, checked, or what came before in parts."""
        if inline is None:
            return self.take(digest)
        if digest_of(inline) != digest:
            raise BadFrame(f"inline data does not have the digest {digest.hex()[:16]}")
        return inline

    def _begin(self, part: PayloadPart) -> None:
        if self._count >= PAYLOADS_WAITING_MAX:
            raise BadFrame(f"more than {PAYLOADS_WAITING_MAX} payloads that no message has named")
        if self.size_bytes + part.size_bytes > self._size_bytes_max_total:
            raise BadFrame(f"a payload of {part.size_bytes} bytes goes over {self._size_bytes_max_total} in all")
        self._current = (part.digest, part.size_bytes)
        self._count += 1
        self.size_bytes += part.size_bytes

    def _finish(self, part: PayloadPart) -> None:
        data = bytes(self._buffer)
        if len(data) != part.size_bytes or digest_of(data) != part.digest:
            raise BadFrame(f"a payload of {len(data)} bytes does not have its announced size or digest")
        self._whole.setdefault(part.digest, []).append(data)
        self._current = None
        self._buffer = bytearray()
