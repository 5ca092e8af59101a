"""All that a peer does with blobs: keeps them, gives them to others, announces them, fetches what is missing."""

import logging
from collections.abc import Callable, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import trio

from dht.keys import blob_key
from dht.sequence_numbers import SequenceNumbers
from dht.service import DhtService
from peer.blob_download import BlobDownload, Fetched
from peer.blob_file import BlobFile
from peer.blob_server import BlobServer
from peer.blob_store import BlobStore
from peer.seam import Seam
from protocol.blob_record import BlobProvider, verified_blob_provider
from protocol.blobs import BlobId, blob_digest
from protocol.errors import Unavailable
from protocol.ids import PeerId
from protocol.limits import BLOBS_PROVIDED_MAX, RECORD_LIFETIME_S
from protocol.network import BLOB_PROTOCOL

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from trio_typing import TaskStatus

PUBLISH_INTERVAL_S = RECORD_LIFETIME_S / 2
PROVIDERS_WANTED = 16

log = logging.getLogger(__name__)


class Blobs:
    """One per peer. `run` owns what goes on by itself: serving, announcing."""

    def __init__(self, seam: Seam, dht: DhtService, store: BlobStore) -> None:
        self.store = store
        self.server = BlobServer(store)
        self._seam = seam
        self._dht = dht
        self._fetching: dict[BlobId, trio.Lock] = {}
        self._sequence = SequenceNumbers(seam.wall_clock)

    async def run(self, *, task_status: "TaskStatus[None]" = trio.TASK_STATUS_IGNORED) -> None:
        """Serve and announce until cancelled; raises `LocalError` when the cache cannot be used."""
        self.store.open()
        self._seam.host.serve(BLOB_PROTOCOL, self.server.handle)
        task_status.started()
        announced: dict[BlobId, float] = {}
        while True:
            changed = self.store.changed
            await self._announce_due(announced)
            with trio.move_on_at(min(announced.values(), default=trio.current_time()) + PUBLISH_INTERVAL_S):
                await changed.wait()

    async def fetch(
        self,
        blob: BlobId,
        *,
        hints: Sequence[PeerId] = (),
        bounded: bool = True,
        size_bytes_max: int | None = None,
        progress: Callable[[Fetched], None] = lambda fetched: None,
    ) -> BlobFile:
        """The whole blob, from here or from others; one download at a time of the same one.

        Cancelling keeps what has come. Raises `Unavailable` when nobody has it, `LocalError` when it cannot be kept.
        """
        async with self._alone(blob):
            known = self.store.find(blob)
            if known is not None and known.whole:
                progress(Fetched(known.size_bytes, known.size_bytes, 0))
                return known
            download = BlobDownload(
                self._seam.host,
                self.store,
                self.providers,
                blob,
                hints=hints,
                bounded=bounded,
                size_bytes_max=size_bytes_max,
                progress=progress,
            )
            return await download.run()

    async def providers(self, blob: BlobId) -> list[PeerId]:
        """Those who say in the DHT that they have it; their addresses are remembered. Raises `Unavailable`."""
        name = blob_digest(blob)
        envelopes, _ = await self._dht.find_records(blob_key(name), PROVIDERS_WANTED)
        for envelope in envelopes:
            self._seam.host.add_addresses(envelope.signer, verified_blob_provider(envelope).addresses)
        return sorted(envelope.signer for envelope in envelopes)

    @asynccontextmanager
    async def _alone(self, blob: BlobId) -> "AsyncIterator[None]":
        lock = self._fetching.setdefault(blob, trio.Lock())
        try:
            async with lock:
                yield
        finally:
            if not lock.statistics().tasks_waiting and not lock.locked():
                self._fetching.pop(blob, None)

    async def _announce_due(self, announced: dict[BlobId, float]) -> None:
        """Those used last that are whole, each once in half the life of a record."""
        whole = [one.id for one in self.store.blobs() if one.whole][:BLOBS_PROVIDED_MAX]
        for blob in announced.keys() - set(whole):
            del announced[blob]
        for blob in whole:
            now = trio.current_time()
            if now < announced.get(blob, -PUBLISH_INTERVAL_S) + PUBLISH_INTERVAL_S:
                continue
            announced[blob] = now
            try:
                await self._dht.store(blob_key(blob_digest(blob)), self._seam.identity.sign(self._record(blob)))
            except Unavailable as error:
                log.info("blob %s could not be announced: %s", blob[:16], error)

    def _record(self, blob: BlobId) -> BlobProvider:
        now = self._seam.wall_clock()
        return BlobProvider(
            provided_blob=blob_digest(blob),
            sequence=self._sequence.next(),
            expires_at_unix_s=now + RECORD_LIFETIME_S,
            addresses=tuple(self._seam.host.addresses()),
        )
