"""Picture files made the same for everyone who renders the same pixels: what tells of the rendering is taken out.

Blender writes how long a frame took into each file. Without that, equal pixels of one version of it are equal bytes, so
frames can be compared by their digest. Formats: PNG (ISO/IEC 15948, section 5) and OpenEXR (file layout, version 2).
"""

import struct
from pathlib import Path

_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_PNG_DROPPED = frozenset((b"tEXt", b"zTXt", b"iTXt", b"tIME", b"eXIf"))
_EXR_MAGIC = b"v/1\x01"
_EXR_TILED, _EXR_DEEP, _EXR_PARTS = 0x200, 0x800, 0x1000


def clean(path: Path) -> None:
    """Rewrite the file in place; one of another kind is left as it is. Raises `ValueError` for a damaged one."""
    data = path.read_bytes()
    try:
        if data.startswith(_PNG_SIGNATURE):
            path.write_bytes(without_png_text(data))
        elif data.startswith(_EXR_MAGIC):
            path.write_bytes(without_exr_times(data))
    except (struct.error, IndexError) as error:
        raise ValueError(f"{path.name} is cut short") from error


def without_png_text(data: bytes) -> bytes:
    """The picture without its texts and times."""
    kept, at = [_PNG_SIGNATURE], len(_PNG_SIGNATURE)
    while at < len(data):
        if at + 12 > len(data):
            raise ValueError("the PNG is cut short")
        (length,) = struct.unpack_from(">I", data, at)
        if data[at + 4 : at + 8] not in _PNG_DROPPED:
            kept.append(data[at : at + 12 + length])
        at += 12 + length
    return b"".join(kept)


def without_exr_times(data: bytes) -> bytes:
    """The picture without the attributes of type `string`; the offsets of its lines move with them."""
    (flags,) = struct.unpack_from("<I", data, 4)
    if flags & (_EXR_DEEP | _EXR_PARTS):
        return data
    header, at, dropped = [data[:8]], 8, 0
    while data[at]:
        start = at
        name_end = data.index(0, at)
        type_end = data.index(0, name_end + 1)
        (size,) = struct.unpack_from("<i", data, type_end + 1)
        at = type_end + 5 + size
        if data[name_end + 1 : type_end] == b"string" or size < 0:
            dropped += at - start
        else:
            header.append(data[start:at])
    at += 1
    (first,) = struct.unpack_from("<Q", data, at)
    count = (first - at) // 8
    if not 0 < count <= (len(data) - at) // 8:
        raise ValueError("the EXR has no table of offsets")
    offsets = struct.unpack_from(f"<{count}Q", data, at)
    moved = struct.pack(f"<{count}Q", *(offset - dropped for offset in offsets))
    return b"".join((*header, b"\0", moved, data[at + 8 * count :]))
