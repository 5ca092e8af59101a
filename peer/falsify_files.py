"""Files of results made into others that look right: what liars among renderers send."""

import os
import struct
import tempfile
import zlib
from pathlib import Path
from random import Random
from typing import cast

from peer.seam import BlobFiles
from protocol import encoding
from protocol.arrays import array_hook
from protocol.bodies import Manifest
from protocol.files import FileRef, files_in, with_files
from protocol.ids import JobId

_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_NO_JOB = Manifest(job=JobId("lie"), runtime="", code=b"")


async def falsify_files(data: bytes, source: BlobFiles, random: Random) -> bytes:
    """The same result with other content in each of its files. `data` has files and no arrays."""
    value = encoding.decode(data, array_hook)
    others = [await _other(file, source, random) for file in files_in(value)]
    return encoding.encode(with_files(value, lambda _: others.pop(0).plain()))


async def _other(file: FileRef, source: BlobFiles, random: Random) -> FileRef:
    with tempfile.TemporaryDirectory(prefix="peer-lie-") as folder, source.folder() as beside:
        await source.place(file, _NO_JOB, beside / file.name)
        changed = Path(folder) / file.name
        changed.write_bytes(altered((beside / file.name).read_bytes(), random))
        descriptor = os.open(changed, os.O_RDONLY | os.O_CLOEXEC)
        try:
            return await source.keep(descriptor, changed.stat().st_size, file.name)
        finally:
            os.close(descriptor)


def altered(data: bytes, random: Random) -> bytes:
    """Of a PNG some pixels, by a little; of another file its last byte."""
    if data.startswith(_PNG_SIGNATURE):
        return _altered_png(data, random)
    return data[:-1] + bytes([data[-1] ^ 1]) if data else b"\0"


def _altered_png(data: bytes, random: Random) -> bytes:
    chunks = _png_chunks(data)
    pixels = bytearray(zlib.decompress(b"".join(body for kind, body in chunks if kind == b"IDAT")))
    place = random.randrange(len(pixels) // 2, len(pixels))
    height = cast("tuple[int, int]", struct.unpack_from(">II", chunks[0][1]))[1]
    if place % (len(pixels) // height) == 0:  # how the line is filtered, not a pixel
        place += 1
    pixels[place] = (pixels[place] + random.randint(2, 9)) % 256
    others = [(kind, body) for kind, body in chunks if kind != b"IDAT"]
    others.insert(len(others) - 1, (b"IDAT", zlib.compress(bytes(pixels))))
    return _PNG_SIGNATURE + b"".join(_png_chunk(kind, body) for kind, body in others)


def _png_chunks(data: bytes) -> list[tuple[bytes, bytes]]:
    found, at = [], len(_PNG_SIGNATURE)
    while at < len(data):
        (length,) = struct.unpack_from(">I", data, at)
        found.append((data[at + 4 : at + 8], data[at + 8 : at + 8 + length]))
        at += 12 + length
    return found


def _png_chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
