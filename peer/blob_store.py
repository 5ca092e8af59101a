"""The blobs of this machine: files in the cache folder, found by id, bounded in bytes.

What was used longest ago goes first when room is needed. Pinned blobs stay and do not count against the bound: they
are what the owner put here. A blob that is in use stays as well. Folders of the same name belong to one process.
"""

import itertools
import shutil
import stat
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import trio

from peer.blob_file import NEW_SUFFIX, PIECES_SUFFIX, BlobFile, load_blob
from peer.disk import Sync, disk_errors, sync_to_disk
from protocol.blobs import BLOB_BYTES_MAX, BlobDescriptor, BlobId, describe
from protocol.errors import LocalError
from protocol.ids import digest
from protocol.limits import BLOB_CACHE_BYTES_DEFAULT, BLOB_PIECE_BYTES, MIB

Progress = Callable[[int, int], None]
"""Told, without waiting, how many bytes of how many are done."""


class NoRoom(LocalError):
    """The blob does not fit into the cache beside what must stay."""


class BlobStore:
    """See the module. `open` it before use; `bytes_max` bounds what is not pinned."""

    def __init__(self, folder: Path, *, bytes_max: int = BLOB_CACHE_BYTES_DEFAULT, sync: Sync = sync_to_disk) -> None:
        self.folder = folder
        self.inputs = folder.with_name(f"{folder.name}.inputs")
        """Beside it: folders with links to blobs, for sandboxes to see."""
        self.bytes_max = bytes_max
        self.changed = trio.Event()
        """Set, and replaced, when a blob has become whole or has gone."""
        self._sync = sync
        self._numbers = itertools.count()
        self._blobs: OrderedDict[BlobId, BlobFile] = OrderedDict()
        """The one used last is last."""

    def open(self) -> None:
        """Look at what is in the folder; what was never finished goes, but for partial downloads."""
        shutil.rmtree(self.inputs, ignore_errors=True)
        with disk_errors("use the blob cache", self.folder):
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            for leftover in self.folder.glob(f"*{NEW_SUFFIX}"):
                leftover.unlink()
            known = sorted(self.folder.glob(f"*{PIECES_SUFFIX}"), key=lambda path: path.stat().st_mtime_ns)
        for path in known:
            blob = BlobId(path.name.removesuffix(PIECES_SUFFIX))
            try:
                self._blobs[blob] = load_blob(self.folder, blob)
            except LocalError:
                path.unlink(missing_ok=True)
        for path in self.folder.iterdir():
            if BlobId(path.name.partition(".")[0]) not in self._blobs:
                path.unlink(missing_ok=True)

    def blobs(self) -> list[BlobFile]:
        """All of them, partial ones too; the one used last is first."""
        return list(reversed(self._blobs.values()))

    def find(self, blob: BlobId) -> BlobFile | None:
        """A blob of which something is here."""
        return self._blobs.get(blob)

    @property
    def size_bytes(self) -> int:
        """What counts against the bound: blobs that are not pinned, partial ones as if they were whole."""
        return sum(one.size_bytes for one in self._blobs.values() if not one.pinned)

    @contextmanager
    def using(self, blob: BlobFile) -> Iterator[None]:
        """Within it the blob is not evicted; it counts as used now."""
        blob.users += 1
        self._blobs.move_to_end(blob.id)
        try:
            blob.touch()
            yield
        finally:
            blob.users -= 1

    async def begin(self, descriptor: BlobDescriptor, digests: tuple[bytes, ...], *, bounded: bool = True) -> BlobFile:
        """The blob to write the pieces of; what has come of it earlier is checked and kept.

        Makes room first; raises `NoRoom` when it cannot, `LocalError` for what the disk says. What is not `bounded`,
        because the owner asked for it, may take more than the cache's share for as long as it is used.
        """
        known = self._blobs.get(descriptor.id)
        if known is None:
            self.make_room(descriptor.size_bytes, bounded=bounded)
            known = BlobFile(self.folder, descriptor, digests)
            known.save_pieces()
            self._blobs[known.id] = known
        elif not known.held:
            await known.look_again()
        return known

    async def finish(self, blob: BlobFile) -> None:
        """The blob is complete: it gets its last name, and others may have it."""
        await blob.finish(self._sync)
        self._tell()

    async def keep(self, read: Callable[[int], bytes], size_bytes: int, name: str) -> BlobFile:
        """So many bytes that `read` reads, as a blob that is not pinned. Makes room first; raises `LocalError`.

        Not synced: what is lost with the power can be computed again, and is found out when it is read.
        """
        self.make_room(size_bytes)
        new = self.folder / f"keep-{next(self._numbers)}{NEW_SUFFIX}"
        try:
            size, digests = await self._copy_open(_at_most(read, size_bytes), new, name, lambda done: None)
            if size != size_bytes:
                raise LocalError(f"{name} has become shorter while it was read")
            blob = self._taken(new, describe(size, digests), digests)
        finally:
            new.unlink(missing_ok=True)
        self._tell()
        return blob

    async def put(self, source: Path, progress: Progress = lambda done, total: None) -> BlobFile:
        """Copy a file into the cache and pin it. Raises `LocalError` naming what is wrong with it."""
        total = _size_of(source)
        new = self.folder / f"put-{next(self._numbers)}{NEW_SUFFIX}"
        try:
            size, digests = await self._copy(source, new, lambda done: progress(done, max(done, total)))
            return await self._adopt(new, describe(size, digests), digests)
        finally:
            new.unlink(missing_ok=True)

    def make_room(self, size_bytes: int, *, bounded: bool = True) -> None:
        """Evict until so many bytes more are within the bound; raises `NoRoom`, evicting nothing."""
        evictable = [one for one in self._blobs.values() if not one.pinned and not one.users]
        stays = self.size_bytes - sum(one.size_bytes for one in evictable)
        if bounded and stays + size_bytes > self.bytes_max:
            used = f", of which {stays // MIB} MiB are in use" if stays else ""
            raise NoRoom(f"a blob of {-(-size_bytes // MIB)} MiB; the cache has {self.bytes_max // MIB} MiB{used}")
        for one in evictable:
            if self.size_bytes + size_bytes <= self.bytes_max:
                break
            self._delete(one)

    def prune(self, *, everything: bool) -> list[BlobFile]:
        """Delete what is not pinned, or `everything`, but nothing that is in use; what went."""
        gone = [one for one in self._blobs.values() if not one.users and (everything or not one.pinned)]
        for one in gone:
            self._delete(one)
        return gone

    async def _copy(self, source: Path, new: Path, progress: Callable[[int], None]) -> tuple[int, tuple[bytes, ...]]:
        """In one pass; the size and the digests of what was copied, whatever becomes of the source meanwhile."""
        with disk_errors(f"read {source}", source), source.open("rb", buffering=0) as file:
            return await self._copy_open(file.read, new, str(source), progress)

    async def _copy_open(
        self, read: Callable[[int], bytes | None], new: Path, name: str, progress: Callable[[int], None]
    ) -> tuple[int, tuple[bytes, ...]]:
        digests: list[bytes] = []
        size = 0
        with disk_errors(f"write {new.name}", self.folder), new.open("wb", buffering=0) as out:
            while piece := _read_whole(read, BLOB_PIECE_BYTES):
                size += len(piece)
                if size > BLOB_BYTES_MAX:
                    raise LocalError(f"{name} has more than {BLOB_BYTES_MAX // MIB} MiB: split it")
                _write_whole(out.write, piece)
                digests.append(digest(piece))
                progress(size)
                await trio.lowlevel.checkpoint()
        return size, tuple(digests)

    async def _adopt(self, new: Path, descriptor: BlobDescriptor, digests: tuple[bytes, ...]) -> BlobFile:
        if (known := self._blobs.get(descriptor.id)) is None or not known.whole:
            with disk_errors("put a blob into the cache", self.folder):
                await self._sync(new)
        blob = self._taken(new, descriptor, digests)
        blob.pin(pinned=True)
        self._tell()
        return blob

    def _taken(self, new: Path, descriptor: BlobDescriptor, digests: tuple[bytes, ...]) -> BlobFile:
        """The blob with this content, which is at `new` where it is not known yet; used last."""
        blob = self._blobs.get(descriptor.id) or BlobFile(self.folder, descriptor, digests)
        if not blob.whole:
            blob.take_over(new)
        self._blobs[blob.id] = blob
        self._blobs.move_to_end(blob.id)
        return blob

    def _delete(self, blob: BlobFile) -> None:
        blob.delete()
        del self._blobs[blob.id]
        self._tell()

    def _tell(self) -> None:
        self.changed.set()
        self.changed = trio.Event()


def _at_most(read: Callable[[int], bytes], size_bytes: int) -> Callable[[int], bytes]:
    """Reads on until so many bytes were read, whatever the file grows to."""
    left = size_bytes

    def read_some(size: int) -> bytes:
        nonlocal left
        data = read(min(size, left))
        left -= len(data)
        return data

    return read_some


def _size_of(source: Path) -> int:
    """Of a file; anything else could block for ever, or never end."""
    with disk_errors(f"read {source}", source):
        status = source.stat()
    if not stat.S_ISREG(status.st_mode):
        raise LocalError(f"{source} is no file: a blob is one file; make an archive of a folder first")
    return status.st_size


def _read_whole(read: Callable[[int], bytes | None], size: int) -> bytes:
    """So many bytes, or as many as there are."""
    data = read(size) or b""
    while len(data) < size and (more := read(size - len(data))):
        data += more
    return data


def _write_whole(write: Callable[[memoryview], int | None], data: bytes) -> None:
    left = memoryview(data)
    while left:
        left = left[write(left) or 0 :]
