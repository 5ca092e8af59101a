"""Pictures without what tells of their rendering: equal pixels are equal bytes, and nothing of the picture is lost."""

import struct
import zlib
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from peer.falsify_files import altered
from peer.runtimes.inside.pictures import clean, without_exr_times, without_png_text

SIGNATURE = b"\x89PNG\r\n\x1a\n"


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(*texts: bytes, width: int = 3, height: int = 2) -> bytes:
    lines = b"".join(b"\0" + bytes(range(3 * width)) for _ in range(height))
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    told = b"".join(chunk(b"tEXt", text) for text in texts)
    return SIGNATURE + chunk(b"IHDR", head) + told + chunk(b"IDAT", zlib.compress(lines)) + chunk(b"IEND", b"")


def exr(time: bytes, *, pixels: bytes = b"pixels") -> bytes:
    """As Blender writes it: a header with a time, a table of two offsets, two blocks of lines."""
    attributes = b"compression\0compression\0" + struct.pack("<i", 1) + b"\x03"
    attributes += b"cycles.time\0string\0" + struct.pack("<i", len(time)) + time
    attributes += b"lineOrder\0lineOrder\0" + struct.pack("<i", 1) + b"\0"
    head = b"v/1\x01" + struct.pack("<I", 2) + attributes + b"\0"
    first = len(head) + 16
    blocks = struct.pack("<ii", 0, len(pixels)) + pixels
    return head + struct.pack("<QQ", first, first + len(blocks)) + blocks + blocks


def test_png_texts_go_and_the_rest_stays() -> None:
    assert without_png_text(png(b"Time\x0001:02", b"Date\x00today")) == png()


@given(st.binary(min_size=1, max_size=30))
def test_exr_times_go_and_the_offsets_follow(time: bytes) -> None:
    cleaned = without_exr_times(exr(time))
    assert cleaned == without_exr_times(exr(b"00:01.00")) and b"cycles.time" not in cleaned
    at = cleaned.index(b"lineOrder\0lineOrder\0") + 25 + 1
    for offset in struct.unpack_from("<QQ", cleaned, at):
        assert cleaned[offset + 8 : offset + 14] == b"pixels"
    assert without_exr_times(cleaned) == cleaned


@pytest.mark.parametrize("data", [png()[:-8], exr(b"1")[:60]])
def test_damaged_pictures_are_refused(tmp_path, data: bytes) -> None:
    path = tmp_path / "picture"
    path.write_bytes(data)
    with pytest.raises(ValueError, match=r"cut short|subsection not found"):
        clean(path)


def test_other_files_stay_as_they_are(tmp_path) -> None:
    path = tmp_path / "notes.txt"
    path.write_bytes(b"text")
    clean(path)
    assert path.read_bytes() == b"text"


@given(st.integers(0, 2**32))
def test_an_altered_png_is_a_png_with_other_pixels(seed: int) -> None:
    """Else a liar would be found out by the form of what it gives."""
    other = altered(png(), Random(seed))
    assert other != png() and other.startswith(SIGNATURE)
    at, pixels = len(SIGNATURE), b""
    while at < len(other):
        (length,) = struct.unpack_from(">I", other, at)
        kind, body = other[at + 4 : at + 8], other[at + 8 : at + 8 + length]
        assert other[at + 8 + length : at + 12 + length] == struct.pack(">I", zlib.crc32(kind + body))
        pixels += zlib.decompress(body) if kind == b"IDAT" else b""
        at += 12 + length
    assert len(pixels) == 20 and pixels[0] == pixels[10] == 0
