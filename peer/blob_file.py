"""One blob on the disk: its pieces are read, and written only when their digest is right.

`ID.pieces` has descriptor and digests, `ID.part` what has come so far, `ID` the whole blob, read-only. A file gets its
last name when it is complete and on the disk, so that a crash leaves a partial blob or a whole one. Which pieces of a
partial one are good is told by their digests alone, after any kind of end. Pieces are read, hashed and written within
the event loop: a mebibyte takes about a millisecond, and the next one waits for the others' turn.
"""

import os
from contextlib import suppress
from pathlib import Path

import trio

from peer.disk import Sync, disk_errors, write_all
from protocol import encoding
from protocol.blobs import BlobDescriptor, BlobId, check_descriptor, check_digests
from protocol.errors import BadRecord, LocalError, RemoteError
from protocol.ids import digest
from protocol.messages.base import Part, from_plain, to_plain

PART_SUFFIX = ".part"
PIECES_SUFFIX = ".pieces"
NEW_SUFFIX = ".new"
PIN_SUFFIX = ".pin"


class _PiecesFile(Part, frozen=True, kw_only=True):
    descriptor: BlobDescriptor
    packed: bytes


class BlobFile:
    """A blob in a folder. `held` is the set of pieces that are here, a number with a bit for each."""

    def __init__(self, folder: Path, descriptor: BlobDescriptor, digests: tuple[bytes, ...]) -> None:
        self.id = descriptor.id
        self.descriptor = descriptor
        self.digests = digests
        self.held = 0
        self.pinned = (folder / f"{self.id}{PIN_SUFFIX}").exists()
        self.users = 0
        """How many read or write it now: it is not evicted meanwhile."""
        self._folder = folder
        self._part = folder / f"{self.id}{PART_SUFFIX}"
        self.path = folder / self.id
        if self.path.exists():
            self.held = self.everything

    @property
    def everything(self) -> int:
        """The set of all pieces."""
        return (1 << self.descriptor.pieces) - 1

    @property
    def whole(self) -> bool:
        """Whether the blob has its last name: only then may it be used."""
        return self.path.exists()

    @property
    def size_bytes(self) -> int:
        """What it takes on the disk once it is whole."""
        return self.descriptor.size_bytes

    @property
    def held_bytes(self) -> int:
        """Of the pieces that are here."""
        full = self.held.bit_count() * self.descriptor.piece_bytes
        last = self.descriptor.pieces - 1
        short = self.descriptor.piece_bytes - self.descriptor.extent(last)[1] if last >= 0 else 0
        return full - (short if last >= 0 and self.held >> last & 1 else 0)

    def save_pieces(self) -> None:
        """Write down descriptor and digests, so that the download can go on after a restart."""
        content = _PiecesFile(descriptor=self.descriptor, packed=b"".join(self.digests))
        path = self._folder / f"{self.id}{PIECES_SUFFIX}"
        with disk_errors(f"keep blob {self.id[:16]}", self._folder):
            new = path.with_name(path.name + NEW_SUFFIX)
            new.write_bytes(encoding.encode(to_plain(content)))
            new.replace(path)

    async def look_again(self) -> None:
        """Find out which pieces of a partial blob are good, by reading them."""
        if self.whole or not self._part.exists():
            return
        held = 0
        for piece in range(self.descriptor.pieces):
            if self._is_good(piece, self._read(self._part, *self.descriptor.extent(piece))):
                held |= 1 << piece
            await trio.lowlevel.checkpoint()
        self.held = held

    def read(self, piece: int) -> bytes:
        """A piece that is held; raises `LocalError` when the file has been changed or cannot be read."""
        data = self._read(self.path if self.whole else self._part, *self.descriptor.extent(piece))
        if len(data) != self.descriptor.extent(piece)[1]:
            raise LocalError(f"blob {self.id[:16]} is cut short on the disk; `peer cache prune --all` and get it again")
        return data

    def write(self, piece: int, data: bytes) -> None:
        """Keep a piece; raises `BadRecord` when it is a wrong one, `LocalError` when the disk does not take it."""
        if not self._is_good(piece, data):
            raise BadRecord(f"piece {piece} of blob {self.id[:16]} has the wrong digest")
        with disk_errors(f"keep blob {self.id[:16]}", self._folder):
            descriptor = os.open(self._part, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                write_all(descriptor, data, self.descriptor.extent(piece)[0])
            finally:
                os.close(descriptor)
        self.held |= 1 << piece

    async def finish(self, sync: Sync) -> None:
        """Give a complete blob its last name, once it is safely on the disk."""
        if self.whole:
            self.drop_part()
            return
        if self.held != self.everything:
            raise LocalError(f"blob {self.id[:16]} is not complete")
        with disk_errors(f"keep blob {self.id[:16]}", self._folder):
            self._part.touch(0o600)
            with suppress(
                FileNotFoundError
            ):  # The same content may be put here meanwhile, and what came goes with that.
                await sync(self._part)
            if self.path.exists():
                self.drop_part()
                return
            self._part.chmod(0o444)
            self._part.replace(self.path)

    def take_over(self, new: Path) -> None:
        """Make a file that has the whole content, safely on the disk, the blob's own."""
        with disk_errors(f"keep blob {self.id[:16]}", self._folder):
            self.save_pieces()
            new.chmod(0o444)
            new.replace(self.path)
        self.held = self.everything
        self.drop_part()

    def drop_part(self) -> None:
        """Remove what came of a download that is no longer needed."""
        self._part.unlink(missing_ok=True)

    def pin(self, *, pinned: bool) -> None:
        """Keep it whatever the cache's bound says, or no more."""
        marker = self._folder / f"{self.id}{PIN_SUFFIX}"
        with disk_errors(f"pin blob {self.id[:16]}", self._folder):
            if pinned:
                marker.touch(0o600)
            else:
                marker.unlink(missing_ok=True)
        self.pinned = pinned

    def touch(self) -> None:
        """Note, for the next start, that it was used now."""
        path = self._folder / f"{self.id}{PIECES_SUFFIX}"
        with disk_errors(f"use blob {self.id[:16]}", self._folder):
            os.utime(path)

    def delete(self) -> None:
        """Remove all its files; the digests go last, so that nothing is left that nobody knows of."""
        with disk_errors(f"delete blob {self.id[:16]}", self._folder):
            for path in (self.path, self._part):
                path.unlink(missing_ok=True)
            for suffix in (PIN_SUFFIX, PIECES_SUFFIX):
                (self._folder / f"{self.id}{suffix}").unlink(missing_ok=True)
        self.held = 0

    def _is_good(self, piece: int, data: bytes) -> bool:
        return len(data) == self.descriptor.extent(piece)[1] and digest(data) == self.digests[piece]

    def _read(self, path: Path, start: int, size: int) -> bytes:
        with disk_errors(f"read blob {self.id[:16]}", self._folder), path.open("rb", buffering=0) as file:
            return os.pread(file.fileno(), size, start)


def load_blob(folder: Path, blob: BlobId) -> BlobFile:
    """The blob whose digests were written down; raises `LocalError` when those are damaged."""
    path = folder / f"{blob}{PIECES_SUFFIX}"
    with disk_errors(f"read {path.name}", folder):
        data = path.read_bytes()
    try:
        content = from_plain(encoding.decode_canonical(data), _PiecesFile)
        check_descriptor(blob, content.descriptor)
        digests = check_digests(content.descriptor, content.packed)
    except RemoteError as error:
        raise LocalError(f"{path} is damaged: {error}") from error
    return BlobFile(folder, content.descriptor, digests)
