"""NumPy arrays inside results, as data: RFC 8746 typed arrays (tags 64 to 86) with tag 40 for shapes.

NumPy is needed to make an array, not to read one: a reader without it gets a `TypedArray`.
"""

import math
import sys
from dataclasses import dataclass
from typing import Any, cast

import cbor2

from protocol.errors import BadFrame

TAG_SHAPED = 40
DIMENSIONS_MAX = 16
# Little-endian typed arrays: RFC 8746, table 1 -> (NumPy name, struct format, bytes per element).
_TAGS: dict[int, tuple[str, str, int]] = {
    64: ("uint8", "B", 1),
    69: ("uint16", "H", 2),
    70: ("uint32", "I", 4),
    71: ("uint64", "Q", 8),
    72: ("int8", "b", 1),
    77: ("int16", "h", 2),
    78: ("int32", "i", 4),
    79: ("int64", "q", 8),
    85: ("float32", "f", 4),
    86: ("float64", "d", 8),
}
_TAG_OF = {name: tag for tag, (name, _, _) in _TAGS.items()}


@dataclass(frozen=True, slots=True)
class TypedArray:
    """An array of numbers, as it came over the wire: C order, little-endian."""

    dtype: str
    shape: tuple[int, ...]
    data: bytes

    @property
    def code(self) -> str:
        """The element type as `struct` names it."""
        return _TAGS[_TAG_OF[self.dtype]][1]

    def first(self) -> float:
        """The first number; there must be one."""
        return cast(float, memoryview(self.data).cast(self.code)[0])  # type: ignore[call-overload]

    @property
    def peak(self) -> float:
        """The largest value of a pixel: of whole numbers that of their type, of floats 1."""
        bits = 8 * _TAGS[_TAG_OF[self.dtype]][2]
        if self.dtype.startswith("float"):
            return 1.0
        return 2.0 ** (bits - self.dtype.startswith("int")) - 1

    def tolist(self) -> list[Any]:
        """Nested lists of numbers."""
        if 0 in self.shape:
            return []
        view = memoryview(self.data).cast(self.code, self.shape)  # type: ignore[call-overload]
        return cast(list[Any], view.tolist())


def array_tag(array: TypedArray) -> cbor2.CBORTag:
    """The CBOR tag that `array_hook` reads back as the same array."""
    return cbor2.CBORTag(TAG_SHAPED, [list(array.shape), cbor2.CBORTag(_TAG_OF[array.dtype], array.data)])


def encode_array(encoder: Any, array: Any) -> None:
    """cbor2 encoder hook for `numpy.ndarray`; raises TypeError for element types that are not data."""
    if sys.byteorder != "little":  # pragma: no cover - no such machine is supported
        array = array.astype(array.dtype.newbyteorder("<"))
    if str(array.dtype) in ("bool", "float16"):
        array = array.astype("uint8" if str(array.dtype) == "bool" else "float32")
    tag = _TAG_OF.get(str(array.dtype))
    if tag is None:
        raise TypeError(f"an array of {array.dtype} is not data; convert it to numbers first")
    encoder.encode(cbor2.CBORTag(TAG_SHAPED, [list(array.shape), cbor2.CBORTag(tag, array.tobytes())]))


def array_hook(tag: cbor2.CBORTag, _immutable: bool) -> object:
    """cbor2 tag hook: `TypedArray` for an array of numbers; raises `BadFrame` for any other tag."""
    if tag.tag in _TAGS and isinstance(tag.value, bytes):
        name, _, size = _TAGS[tag.tag]
        if len(tag.value) % size:
            raise BadFrame(f"an array of {name} with {len(tag.value)} bytes")
        return TypedArray(name, (len(tag.value) // size,), tag.value)
    if tag.tag == TAG_SHAPED:
        return _shaped(tag.value)
    raise BadFrame(f"CBOR tag {tag.tag} is not allowed here")


def _shaped(value: object) -> TypedArray:
    match value:
        case [[*shape], TypedArray() as flat] if len(shape) <= DIMENSIONS_MAX:
            lengths = tuple(length for length in shape if type(length) is int and length >= 0)
            if len(lengths) == len(shape) and math.prod(lengths) == flat.shape[0]:
                return TypedArray(flat.dtype, lengths, flat.data)
    raise BadFrame("an array whose shape and data do not agree")
