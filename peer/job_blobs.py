"""The blobs of a job where its code is about to run: fetched if need be, and kept for as long as it runs.

All code runs through one door, `Executor.open_runner`, so workers, the submitter's own slots, audits and replays of
proofs get their blobs alike, before the first chunk and outside of its time limit. Files of items and of results are
blobs as well: the ones are linked into a folder that the sandbox sees, the others copied out of it.
"""

import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import (
    AbstractAsyncContextManager,
    AbstractContextManager,
    ExitStack,
    asynccontextmanager,
    contextmanager,
)
from functools import partial
from pathlib import Path

from peer.blob_download import LargerThanSaid
from peer.blob_file import BlobFile
from peer.blobs import Blobs
from peer.disk import disk_errors
from protocol.blobs import BlobId, blob_id
from protocol.bodies import JobBlob, Manifest
from protocol.errors import LocalError, Unavailable
from protocol.files import FileRef
from protocol.ids import PeerId


class JobBlobs:
    """A `BlobFiles` (peer/seam.py) and `Shelf` (peer/result_files.py) over the blobs of this peer."""

    def __init__(self, blobs: Blobs) -> None:
        self._blobs = blobs

    def open(self, manifest: Manifest) -> AbstractAsyncContextManager[Mapping[str, Path]]:
        """See `BlobFiles.open`."""
        return self._open(manifest)

    def folder(self) -> AbstractContextManager[Path]:
        """See `BlobFiles.folder`. On the disk of the blobs, so that links to them can be made."""
        return self._folder()

    async def place(self, file: FileRef, manifest: Manifest, at: Path) -> None:
        """See `BlobFiles.place`."""
        found = await self._fetched(BlobId(file.blob), file.size_bytes, manifest, f"the file {file.name}")
        with disk_errors(f"place {file.name}", at.parent), self._blobs.store.using(found):
            os.link(found.path, at)

    async def keep(self, descriptor: int, size_bytes: int, name: str) -> FileRef:
        """See `BlobFiles.keep`."""
        blob = await self._blobs.store.keep(partial(os.read, descriptor), size_bytes, name)
        return FileRef(name=name, blob=blob.id, size_bytes=size_bytes)

    async def fetch_file(self, file: FileRef, holder: PeerId) -> bool:
        """See `Shelf.fetch_file` (peer/result_files.py)."""
        blob, size = BlobId(file.blob), file.size_bytes
        try:
            found = await self._blobs.fetch(blob, hints=[holder], bounded=False, size_bytes_max=size)
        except LargerThanSaid as error:
            # It is not ours: else a worker that names a wrong size could end the job.
            raise Unavailable(str(error)) from error
        if found.size_bytes != size:
            raise Unavailable(f"it has {found.size_bytes} bytes, and was said to have {size}")
        return _pinned(found)

    def hold_file(self, file: FileRef) -> bool:
        """See `Shelf.hold_file`."""
        found = self._blobs.store.find(BlobId(file.blob))
        if found is None or not found.whole:
            raise LocalError(f"the file {file.name} of a result has gone from the cache, which is too small for it")
        return _pinned(found)

    def release_file(self, file: FileRef) -> None:
        """See `Shelf.release_file`."""
        if (found := self._blobs.store.find(BlobId(file.blob))) is not None:
            found.pin(pinned=False)

    @contextmanager
    def _folder(self) -> Iterator[Path]:
        inputs = self._blobs.store.inputs
        with disk_errors("make a folder for files of chunks", inputs):
            inputs.mkdir(mode=0o700, parents=True, exist_ok=True)
            folder = Path(tempfile.mkdtemp(dir=inputs))
            folder.chmod(0o755)
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    @asynccontextmanager
    async def _open(self, manifest: Manifest) -> AsyncIterator[Mapping[str, Path]]:
        with ExitStack() as using:
            files: dict[str, Path] = {}
            for one in manifest.blobs:
                files[one.name] = await self._file(one, manifest, using)
            yield files

    async def _file(self, one: JobBlob, manifest: Manifest, using: ExitStack) -> Path:
        file = await self._fetched(blob_id(one.blob), one.size_bytes, manifest, f"the job's blob {one.name}")
        using.enter_context(self._blobs.store.using(file))
        return file.path

    async def _fetched(self, blob: BlobId, size_bytes: int, manifest: Manifest, what: str) -> BlobFile:
        hints = [manifest.blob_holder] if manifest.blob_holder else []
        try:
            return await self._blobs.fetch(blob, hints=hints, size_bytes_max=size_bytes)
        except (LocalError, Unavailable) as error:
            raise LocalError(f"{what} cannot be had on this machine: {error}") from error


def _pinned(blob: BlobFile) -> bool:
    """Pin it; whether it was not before."""
    was_pinned = blob.pinned
    if not was_pinned:
        blob.pin(pinned=True)
    return not was_pinned
