"""The blobs of a job where its code is about to run: fetched if need be, and kept for as long as it runs.

All code runs through one door, `Executor.open_runner`, so workers, the submitter's own slots, audits and replays of
proofs get their blobs alike, before the first chunk and outside of its time limit.
"""

from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, ExitStack, asynccontextmanager
from pathlib import Path

from peer.blobs import Blobs
from protocol.blobs import blob_id
from protocol.bodies import JobBlob, Manifest
from protocol.errors import LocalError, Unavailable


class JobBlobs:
    """A `BlobFiles` (peer/seam.py) over the blobs of this peer."""

    def __init__(self, blobs: Blobs) -> None:
        self._blobs = blobs

    def open(self, manifest: Manifest) -> AbstractAsyncContextManager[Mapping[str, Path]]:
        """See `BlobFiles.open`."""
        return self._open(manifest)

    @asynccontextmanager
    async def _open(self, manifest: Manifest) -> AsyncIterator[Mapping[str, Path]]:
        with ExitStack() as using:
            files: dict[str, Path] = {}
            for one in manifest.blobs:
                files[one.name] = await self._file(one, manifest, using)
            yield files

    async def _file(self, one: JobBlob, manifest: Manifest, using: ExitStack) -> Path:
        hints = [manifest.blob_holder] if manifest.blob_holder else []
        try:
            file = await self._blobs.fetch(blob_id(one.blob), hints=hints, size_bytes_max=one.size_bytes)
        except (LocalError, Unavailable) as error:
            raise LocalError(f"the job's blob {one.name} cannot be had on this machine: {error}") from error
        using.enter_context(self._blobs.store.using(file))
        return file.path
