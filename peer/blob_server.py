"""Giving blobs to others, over `/parallel-peer/blob/1`: whole ones and what has come of partial ones.

Anyone who knows an id may have the blob: the id is the only key to it. One piece is in memory for each stream; streams
are bounded, for each peer and in all; who neither asks nor reads for a while is cut off.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import trio

from peer.blob_file import BlobFile
from peer.blob_store import BlobStore
from protocol.blobs import blob_id
from protocol.channel import MessageChannel
from protocol.errors import BadFrame, LocalError, StreamClosed, Unavailable
from protocol.ids import PeerId
from protocol.limits import (
    BLOB_DIGESTS_PER_MESSAGE_MAX,
    BLOB_STREAMS_MAX,
    BLOB_STREAMS_PER_PEER_MAX,
    PART_SIZE_BYTES_MAX,
)
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
    pack_held,
)
from protocol.network import Stream

IDLE_S_MAX = 60.0
"""How long a stream may wait for its next request."""
SEND_STALL_S_MAX = 30.0
"""How long the other side may take to read one part, of 256 KiB at most."""

log = logging.getLogger(__name__)


class BlobServer:
    """The handler of all streams with which others ask for blobs."""

    def __init__(self, store: BlobStore) -> None:
        self._store = store
        self._open: dict[PeerId, int] = {}
        self.bytes_sent = 0
        """Of pieces."""

    async def handle(self, stream: Stream) -> None:
        """Answer until the other side has had enough; the stream is closed or reset then. A `StreamHandler`."""
        peer = stream.remote_peer
        self._open[peer] = self._open.get(peer, 0) + 1
        try:
            await self._answer_all(MessageChannel(stream, BLOB_CODEC))
            await stream.close()
        finally:
            self._open[peer] -= 1
            if not self._open[peer]:
                del self._open[peer]

    async def _answer_all(self, channel: MessageChannel[BlobMessage]) -> None:
        if self._open[channel.remote_peer] > BLOB_STREAMS_PER_PEER_MAX or sum(self._open.values()) > BLOB_STREAMS_MAX:
            await self._send(channel, Lacking(reason="too many streams for blobs are open"))
            return
        request = await self._next_request(channel)
        if not isinstance(request, Want):
            raise BadFrame(f"{channel.remote_peer} begins with {type(request).__name__} instead of naming a blob")
        blob = self._store.find(blob_id(request.blob))
        if blob is None or not (blob.whole or blob.held):
            await self._send(channel, Lacking(reason="the blob is not here"))
            return
        with self._store.using(blob):
            await self._give(channel, blob)
            while (request := await self._next_request(channel)) is not None:
                await self._answer(channel, blob, request)

    async def _answer(self, channel: MessageChannel[BlobMessage], blob: BlobFile, request: BlobMessage) -> None:
        match request:
            case Want(blob=name) if blob_id(name) == blob.id:
                await self._give(channel, blob)
            case WantDigests(first=first):
                some = blob.digests[first : first + BLOB_DIGESTS_PER_MESSAGE_MAX]
                await self._send(channel, Digests(first=first, packed=b"".join(some)))
            case WantPiece(piece=piece):
                await self._send_piece(channel, blob, piece)
            case _:
                raise BadFrame(f"{channel.remote_peer} sent {type(request).__name__} out of turn")

    async def _give(self, channel: MessageChannel[BlobMessage], blob: BlobFile) -> None:
        held = pack_held(blob.held, blob.descriptor.pieces)
        await self._send(channel, Have(descriptor=blob.descriptor, held=held))

    async def _send_piece(self, channel: MessageChannel[BlobMessage], blob: BlobFile, piece: int) -> None:
        try:
            data = blob.read(piece) if blob.held >> piece & 1 else b""
        except LocalError as error:
            log.warning("%s", error)
            data = b""
        if not data:
            await self._send(channel, Lacking(reason=f"piece {piece} is not here"))
            return
        await self._send(channel, PieceHead(piece=piece, size_bytes=len(data)))
        for offset in range(0, len(data), PART_SIZE_BYTES_MAX):
            with self._stalling(channel.remote_peer):
                await channel.send_raw(data[offset : offset + PART_SIZE_BYTES_MAX])
        self.bytes_sent += len(data)

    async def _next_request(self, channel: MessageChannel[BlobMessage]) -> BlobMessage | None:
        try:
            with trio.fail_after(IDLE_S_MAX):
                return await channel.receive()
        except StreamClosed:
            return None
        except trio.TooSlowError as error:
            raise Unavailable(f"{channel.remote_peer} asked for nothing within {IDLE_S_MAX:.0f} s") from error

    async def _send(self, channel: MessageChannel[BlobMessage], message: BlobMessage) -> None:
        with self._stalling(channel.remote_peer):
            await channel.send(message)

    @contextmanager
    def _stalling(self, peer: PeerId) -> Iterator[None]:
        try:
            with trio.fail_after(SEND_STALL_S_MAX):
                yield
        except trio.TooSlowError as error:
            raise Unavailable(f"{peer} did not read for {SEND_STALL_S_MAX:.0f} s") from error
