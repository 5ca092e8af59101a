"""The fetcher's end of one stream to one holder of a blob: asks, and checks the form of what comes."""

from collections.abc import Iterator
from contextlib import contextmanager

import trio

from protocol.blobs import BlobDescriptor, BlobId, blob_digest, check_descriptor, check_digests
from protocol.channel import MessageChannel
from protocol.errors import BadFrame, StreamClosed, Unavailable
from protocol.ids import DIGEST_BYTES, PeerId
from protocol.limits import PART_SIZE_BYTES_MAX
from protocol.messages.blob import (
    BLOB_CODEC,
    BlobMessage,
    Digests,
    Have,
    Lacking,
    PieceHead,
    Want,
    WantDigests,
    WantPiece,
    unpack_held,
)
from protocol.network import Stream

ANSWER_TIMEOUT_S = 30.0
"""For one message, of 256 KiB of a piece at most: slower holders are left."""


class HolderLink:
    """One open stream. Every method raises `Unavailable` or, for a breach of the protocol, a `RemoteError`."""

    def __init__(self, stream: Stream, blob: BlobId) -> None:
        self._stream = stream
        self._blob = blob
        self._channel: MessageChannel[BlobMessage] = MessageChannel(stream, BLOB_CODEC)

    @property
    def peer(self) -> PeerId:
        """Who it is."""
        return self._stream.remote_peer

    async def ask(self) -> tuple[BlobDescriptor, int]:
        """The blob's descriptor, which is checked, and the set of pieces that are there."""
        await self._send(Want(blob=blob_digest(self._blob)))
        reply = await self._receive()
        match reply:
            case Have(descriptor=descriptor, held=held):
                check_descriptor(self._blob, descriptor)
                return descriptor, unpack_held(held, descriptor.pieces)
            case Lacking(reason=reason):
                raise Unavailable(reason)
        raise self._out_of_turn(reply)

    async def digests(self, descriptor: BlobDescriptor) -> tuple[bytes, ...]:
        """The digests of all pieces, checked."""
        packed = bytearray()
        while len(packed) < descriptor.pieces * DIGEST_BYTES:
            first = len(packed) // DIGEST_BYTES
            await self._send(WantDigests(first=first))
            reply = await self._receive()
            if not isinstance(reply, Digests) or reply.first != first or not reply.packed:
                raise self._out_of_turn(reply)
            packed += reply.packed
        return check_digests(descriptor, bytes(packed))

    async def want(self, piece: int) -> None:
        """Ask for a piece, without waiting for it."""
        await self._send(WantPiece(piece=piece))

    async def piece(self, piece: int, size: int) -> bytes | None:
        """The piece that was asked for longest ago, unchecked; None when the holder does not have it any more."""
        head = await self._receive()
        if isinstance(head, Lacking):
            return None
        if not isinstance(head, PieceHead) or (head.piece, head.size_bytes) != (piece, size):
            raise self._out_of_turn(head)
        parts: list[bytes] = []
        for offset in range(0, size, PART_SIZE_BYTES_MAX):
            with _in_time():
                parts.append(await self._channel.receive_raw())
            if len(parts[-1]) != min(PART_SIZE_BYTES_MAX, size - offset):
                raise BadFrame(f"{self.peer} sent a part of {len(parts[-1])} bytes of piece {piece}")
        return b"".join(parts)

    async def _send(self, message: BlobMessage) -> None:
        try:
            with trio.fail_after(ANSWER_TIMEOUT_S):
                await self._channel.send(message)
        except trio.TooSlowError as error:
            raise Unavailable(f"it did not read for {ANSWER_TIMEOUT_S:.0f} s") from error

    async def _receive(self) -> BlobMessage:
        with _in_time():
            return await self._channel.receive()

    def _out_of_turn(self, reply: BlobMessage) -> BadFrame:
        return BadFrame(f"{self.peer} sent {type(reply).__name__} out of turn")


@contextmanager
def _in_time() -> Iterator[None]:
    try:
        with trio.fail_after(ANSWER_TIMEOUT_S):
            yield
    except trio.TooSlowError as error:
        raise Unavailable(f"it sent no whole message within {ANSWER_TIMEOUT_S:.0f} s") from error
    except StreamClosed as error:
        raise Unavailable("it ended the stream") from error
