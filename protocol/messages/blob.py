"""Messages of `/parallel-peer/blob/1`: one stream per blob and holder; the fetcher asks, the holder answers in order.

A session: Want, then Have or Lacking; then WantDigests and WantPieces as often as needed, several under way. A piece
comes as a PieceHead and after it its bytes, in frames that are no messages (encoding them would take longer than
encrypting them), each of `PART_SIZE_BYTES_MAX` but the last; or as one Lacking when the holder has lost it.
"""

from typing import Annotated

from msgspec import Meta

from protocol.blobs import BlobDescriptor
from protocol.ids import DIGEST_BYTES
from protocol.limits import BLOB_DIGESTS_PER_MESSAGE_MAX, BLOB_PIECE_BYTES, BLOB_PIECES_MAX
from protocol.messages.base import Digest, Message, MessageCodec, ShortText

PieceNumber = Annotated[int, Meta(ge=0, le=BLOB_PIECES_MAX - 1)]


class BlobMessage(Message, frozen=True, kw_only=True):
    """Base of them all."""


class Want(BlobMessage, frozen=True, kw_only=True, tag="want"):
    """What do you have of this blob? May be asked again, for news of a blob that is not whole yet."""

    blob: Digest


class Have(BlobMessage, frozen=True, kw_only=True, tag="have"):
    """The blob's descriptor, and which pieces are here: a bit for each, the lowest first; empty when all are."""

    descriptor: BlobDescriptor
    held: Annotated[bytes, Meta(max_length=BLOB_PIECES_MAX // 8)] = b""


class Lacking(BlobMessage, frozen=True, kw_only=True, tag="lacking"):
    """Nothing of what was asked for is here, with the reason."""

    reason: ShortText


class WantDigests(BlobMessage, frozen=True, kw_only=True, tag="want_digests"):
    """The digests of the pieces from `first` on."""

    first: PieceNumber


class Digests(BlobMessage, frozen=True, kw_only=True, tag="digests"):
    """Digests of consecutive pieces, one after another: those to the end, or as many as a message takes."""

    first: PieceNumber
    packed: Annotated[bytes, Meta(max_length=BLOB_DIGESTS_PER_MESSAGE_MAX * DIGEST_BYTES)]


class WantPiece(BlobMessage, frozen=True, kw_only=True, tag="want_piece"):
    """One piece."""

    piece: PieceNumber


class PieceHead(BlobMessage, frozen=True, kw_only=True, tag="piece_head"):
    """The bytes of a piece follow."""

    piece: PieceNumber
    size_bytes: Annotated[int, Meta(ge=1, le=BLOB_PIECE_BYTES)]


BLOB_CODEC: MessageCodec[BlobMessage] = MessageCodec(Want, Have, Lacking, WantDigests, Digests, WantPiece, PieceHead)


def pack_held(held: int, pieces: int) -> bytes:
    """The set of pieces as it stands in `Have`; the set is a number with a bit for each."""
    return b"" if held == (1 << pieces) - 1 else held.to_bytes(-(-pieces // 8), "little")


def unpack_held(packed: bytes, pieces: int) -> int:
    """The set in a `Have`; bits beyond the pieces that there are say nothing."""
    everything = (1 << pieces) - 1
    return int.from_bytes(packed, "little") & everything if packed else everything
