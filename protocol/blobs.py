"""Blobs: large data by its digest, in pieces of one size under a Merkle root, so that each piece is checked alone.

The id of a blob is `sha256("parallel-peer/blob/1\\0" + canonical CBOR of its descriptor)`; the descriptor has size,
piece size and the root over the digests of the pieces. One content has one id, as the piece size is fixed. Whoever
has the id can check the descriptor, with it the list of digests, and with that every piece, from whomever they come.
"""

from collections.abc import Sequence
from typing import Annotated, NewType

from msgspec import Meta

from protocol import encoding
from protocol.errors import BadRecord, LocalError
from protocol.ids import DIGEST_BYTES, digest
from protocol.limits import BLOB_PIECE_BYTES, BLOB_PIECES_MAX
from protocol.merkle import merkle_root
from protocol.messages.base import Digest, Part, to_plain

BlobId = NewType("BlobId", str)
"""64 hexadecimal digits in lower case."""

BLOB_ID_DOMAIN = b"parallel-peer/blob/1\0"
BLOB_BYTES_MAX = BLOB_PIECES_MAX * BLOB_PIECE_BYTES
_HEX = frozenset("0123456789abcdef")


class BlobDescriptor(Part, frozen=True, kw_only=True):
    """What the id of a blob stands for."""

    size_bytes: Annotated[int, Meta(ge=0, le=BLOB_BYTES_MAX)]
    piece_bytes: Annotated[int, Meta(ge=BLOB_PIECE_BYTES, le=BLOB_PIECE_BYTES)] = BLOB_PIECE_BYTES
    root: Digest

    @property
    def id(self) -> BlobId:
        """The blob's name everywhere."""
        return BlobId(digest(BLOB_ID_DOMAIN + encoding.encode(to_plain(self))).hex())

    @property
    def pieces(self) -> int:
        """How many there are; none of an empty blob."""
        return -(-self.size_bytes // self.piece_bytes)

    def extent(self, piece: int) -> tuple[int, int]:
        """Where a piece begins, and its size; raises `LocalError` for a piece that there is not."""
        if not 0 <= piece < self.pieces:
            raise LocalError(f"no piece {piece} among {self.pieces}")
        start = piece * self.piece_bytes
        return start, min(self.piece_bytes, self.size_bytes - start)


def describe(size_bytes: int, digests: Sequence[bytes]) -> BlobDescriptor:
    """The descriptor of content with pieces of these digests; raises `LocalError` when it is too large."""
    if size_bytes > BLOB_BYTES_MAX:
        raise LocalError(f"{size_bytes} bytes; a blob has at most {BLOB_BYTES_MAX}: split it")
    descriptor = BlobDescriptor(size_bytes=size_bytes, root=merkle_root(digests))
    if len(digests) != descriptor.pieces:
        raise LocalError(f"{len(digests)} digests for {descriptor.pieces} pieces")
    return descriptor


def check_descriptor(blob: BlobId, descriptor: BlobDescriptor) -> None:
    """Raise `BadRecord` when another blob is described."""
    if descriptor.id != blob:
        raise BadRecord(f"the descriptor is that of {descriptor.id[:16]}, not of {blob[:16]}")


def check_digests(descriptor: BlobDescriptor, packed: bytes) -> tuple[bytes, ...]:
    """The digests of the pieces, from their concatenation; raises `BadRecord` when they are not those of the blob."""
    if len(packed) != descriptor.pieces * DIGEST_BYTES:
        raise BadRecord(f"{len(packed)} bytes of digests for {descriptor.pieces} pieces")
    digests = tuple(packed[at : at + DIGEST_BYTES] for at in range(0, len(packed), DIGEST_BYTES))
    if merkle_root(digests) != descriptor.root:
        raise BadRecord("the digests of the pieces are not those under the blob's root")
    return digests


def parse_blob_id(text: str) -> BlobId:
    """The id in what a person typed; raises `LocalError`."""
    found = text.strip().lower()
    if len(found) != 2 * DIGEST_BYTES or not _HEX.issuperset(found):
        shown = text[:80] + ("…" if len(text) > 80 else "")
        raise LocalError(f"{shown!r} is no blob id: that has 64 hexadecimal digits, as `peer put` prints it")
    return BlobId(found)


def blob_digest(blob: BlobId) -> bytes:
    """The id as it stands in messages and records."""
    return bytes.fromhex(blob)


def blob_id(name: bytes) -> BlobId:
    """The id of what stands in messages and records."""
    return BlobId(name.hex())
