"""How far the pictures of two results are apart, for frames that machines of different kinds have rendered.

A view is canonical CBOR of one entry for each picture of a result: `[width, height, channels, float?, pixels]`, pixels
as bytes or as 32-bit little-endian floats. The measure is the mean square error over the square of the peak, of the
worst block of the picture: an alteration of a small part must not drown in the rest of the frame.
"""

import math
from collections.abc import Iterator

from protocol import encoding
from protocol.array_numbers import noise
from protocol.arrays import TypedArray
from protocol.errors import BadFrame

BLOCK_PIXELS = 16
"""Width and height of a block."""


def apart(one: bytes, other: bytes) -> float:
    """The worst noise between two views; infinity where they are not of the same pictures, or there is no view."""
    if not one or not other:
        return math.inf
    first, second = _pictures(one), _pictures(other)
    if len(first) != len(second):
        return math.inf
    return max((_between(a, b) for a, b in zip(first, second, strict=True)), default=0.0)


def _pictures(view: bytes) -> list[list[object]]:
    value = encoding.decode(view)
    if not isinstance(value, list):
        raise BadFrame("a view must be a list of pictures")
    return value


def _between(one: list[object], other: list[object]) -> float:
    if one == other:
        return 0.0
    match one, other:
        case (
            [int(width), int(height), int(channels), bool(is_float), bytes(first)],
            [int(w), int(h), int(c), bool(f), bytes(second)],
        ) if (width, height, channels, is_float, len(first)) == (w, h, c, f, len(second)):
            bytes_each = channels * (4 if is_float else 1)
            if len(first) != width * height * bytes_each:
                return math.inf
            blocks = _blocks(width, height, bytes_each, first, second)
            return max((_noise(a, b, is_float) for a, b in blocks), default=0.0)
    return math.inf


def _blocks(width: int, height: int, bytes_each: int, one: bytes, other: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Those that differ."""
    line, step = width * bytes_each, BLOCK_PIXELS * bytes_each
    for top in range(0, height, BLOCK_PIXELS):
        rows = range(top, min(top + BLOCK_PIXELS, height))
        band = slice(top * line, (rows[-1] + 1) * line)
        if one[band] == other[band]:
            continue
        for left in range(0, line, step):
            pair = (
                b"".join(one[row * line + left : row * line + min(left + step, line)] for row in rows),
                b"".join(other[row * line + left : row * line + min(left + step, line)] for row in rows),
            )
            if pair[0] != pair[1]:
                yield pair


def _noise(one: bytes, other: bytes, is_float: bool) -> float:
    if not is_float:
        return noise(_array("uint8", one), _array("uint8", other), 255.0)
    first, second = _array("float32", one), _array("float32", other)
    peak = max(1.0, *(abs(number) for number in first.tolist() if math.isfinite(number)))
    return noise(first, second, peak)


def _array(dtype: str, data: bytes) -> TypedArray:
    return TypedArray(dtype, (len(data) // (4 if dtype == "float32" else 1),), data)
