"""Blobs for tests: content without entropy, stores that write at once."""

from pathlib import Path
from random import Random

from peer.blob_store import BlobStore
from protocol.blobs import BlobDescriptor, describe
from protocol.ids import digest
from protocol.limits import BLOB_PIECE_BYTES


async def no_sync(path: Path) -> None:
    """Threads would let virtual time run ahead."""


def store_in(folder: Path, **options: int) -> BlobStore:
    store = BlobStore(folder, sync=no_sync, **options)
    store.open()
    return store


def content(size: int, seed: int = 1) -> bytes:
    return Random(seed).randbytes(size)


def pieces_of(data: bytes) -> list[bytes]:
    return [data[at : at + BLOB_PIECE_BYTES] for at in range(0, len(data), BLOB_PIECE_BYTES)]


def described(data: bytes) -> tuple[BlobDescriptor, tuple[bytes, ...]]:
    digests = tuple(digest(piece) for piece in pieces_of(data))
    return describe(len(data), digests), digests


def file_with(folder: Path, data: bytes, name: str = "data.bin") -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_bytes(data)
    return path
