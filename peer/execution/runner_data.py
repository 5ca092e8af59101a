"""Inside the sandbox: what a function gives back becomes data, or an error that names what is not.

Data are None, booleans, numbers, text, bytes, lists, tuples (which become lists), dicts with keys of text or whole
numbers (which become text), NumPy arrays and scalars, and paths of files, whose content goes along. They become
canonical CBOR, never a pickle.
"""

import io
import os
import sys
from collections.abc import Callable
from typing import Any, cast

import cbor2

from protocol import encoding
from protocol.errors import BadFrame

# Less than the decoder's limit: the outcome and the list of outcomes are around it, and arrays nest by three.
DEPTH_MAX = encoding.NESTING_DEPTH_MAX - 8
LIST_HEAD_BYTES_MAX = 9
KEY_BITS_MAX = 1024
"""Larger whole numbers as keys become text in base 16, since base 10 takes quadratic time."""
_SCALARS = frozenset((type(None), bool, int, float, str, bytes))


GiveFile = Callable[[str], object]
"""Takes the path of a file, gives what stands for it in the result; raises `OSError`."""


class NotData(TypeError):
    """A result, or a part of it, that is not data."""


def no_files(path: str) -> object:
    """The `GiveFile` of those who keep none."""
    raise NotData(f"the file {path} cannot be given: this runner keeps no files")


def encode_value(value: object, give: GiveFile = no_files) -> bytes:
    """Canonical CBOR of `[true, value]`; raises `NotData` naming the type and its place in the result."""
    if type(value) not in _SCALARS:
        value = _plain(value, "result", 0, give)
    return _dump([True, value])


def decode_items(payload: bytes) -> list[object]:
    """The items of a chunk; arrays in them become NumPy's (raises `ImportError` where there is none).

    Raises `BadFrame` for anything else than a list of data.
    """
    arrays: list[object] = []

    def on_tag(tag: cbor2.CBORTag, immutable: bool) -> object:
        from protocol.arrays import array_hook

        arrays.append(tag.tag)
        return array_hook(tag, immutable)

    items = encoding.decode(payload, on_tag)
    if not isinstance(items, list):
        raise BadFrame("a chunk must be a list of items")
    return [_with_arrays(item) for item in items] if arrays else items


def encode_item(item: object) -> bytes:
    """Canonical CBOR of an item, which came as such."""
    return _dump(item)


def join_outcomes(outcomes: list[bytes]) -> bytes:
    """Canonical CBOR of the list of outcomes that are encoded already (RFC 8949, section 3)."""
    length = len(outcomes)
    if length < 24:
        head = bytes([0x80 | length])
    else:
        width = next(exponent for exponent in range(4) if length < 1 << (8 << exponent))
        head = bytes([0x98 + width]) + length.to_bytes(1 << width, "big")
    return head + b"".join(outcomes)


def _dump(value: object) -> bytes:
    try:
        return cbor2.dumps(value, canonical=True, default=_encode_array)
    except UnicodeEncodeError as error:
        raise NotData(f"text in the result cannot be written as UTF-8: {error}") from error
    except (cbor2.CBOREncodeError, TypeError, OverflowError) as error:
        raise NotData(f"the result cannot be written as data: {error}") from error


def _encode_array(encoder: cbor2.CBOREncoder, value: object) -> None:
    from protocol.arrays import encode_array

    encode_array(encoder, value)


def _with_arrays(item: object) -> object:
    from protocol.arrays import TypedArray

    if isinstance(item, list):
        return [_with_arrays(each) for each in item]
    if isinstance(item, dict):
        return {key: _with_arrays(each) for key, each in item.items()}
    if isinstance(item, TypedArray):
        import numpy as np

        return np.frombuffer(item.data, item.dtype).reshape(item.shape).copy()
    return item


def _plain(value: Any, place: str, depth: int, give: GiveFile) -> object:
    kind = type(value)
    if kind in _SCALARS:
        return value
    if depth > DEPTH_MAX:
        raise NotData(f"{place[:80]}... is nested deeper than {DEPTH_MAX} levels")
    if kind is list or kind is tuple or (isinstance(value, tuple) and hasattr(value, "_fields")):
        return [
            each if type(each) in _SCALARS else _plain(each, f"{place}[{index}]", depth + 1, give)
            for index, each in enumerate(value)
        ]
    if kind is dict:
        named = {_key(key, place): each for key, each in value.items()}
        if len(named) < len(value):
            raise NotData(f"{place} has a key as text and the same as a whole number; use one kind of keys")
        return {name: _plain(each, f"{place}[{name!r:.40}]", depth + 1, give) for name, each in named.items()}
    return _from_library(value, place, give)


def _key(key: object, place: str) -> str:
    """Keys are text on the wire, where number keys could be made to collide; numbers become text, as in JSON."""
    if type(key) is str:
        return key
    if type(key) is int:
        return hex(key) if key.bit_length() > KEY_BITS_MAX else str(key)
    if isinstance(key, str):
        return str.__str__(key)
    raise NotData(f"a key of {place} is of type {_name(key)}; keys must be text or whole numbers")


def _from_library(value: Any, place: str, give: GiveFile) -> object:
    numpy = cast(Any, sys.modules.get("numpy"))
    if numpy is not None and isinstance(value, numpy.generic):
        item = value.item()
        if type(item) in _SCALARS:
            return item
    elif numpy is not None and type(value) in (numpy.ndarray, numpy.memmap):
        return _array(value, place)
    elif isinstance(value, bytearray | memoryview):
        return bytes(value)
    elif isinstance(value, os.PathLike):
        return give(os.fsdecode(value))
    raise NotData(f"{place} is of type {_name(value)}, which is not data; {_advice(value)}")


def _array(value: Any, place: str) -> object:
    array = value if value.dtype.isnative else value.astype(value.dtype.newbyteorder("="))
    try:
        # Tried here, where its place is known, and with a small piece, since only the type matters.
        cbor2.CBOREncoder(io.BytesIO(), default=_encode_array).encode(array[:0] if array.ndim else array)
    except (cbor2.CBOREncodeError, TypeError) as error:
        raise NotData(
            f"{place} is an array of {array.dtype}, which is not data; convert it to numbers first"
        ) from error
    return array


def _name(value: object) -> str:
    kind = type(value)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def _advice(value: object) -> str:
    if isinstance(value, set | frozenset):
        return "return sorted(...) of it"
    if hasattr(value, "send") or hasattr(value, "__next__"):
        return "return a list, and from a plain function (no async, no yield)"
    return "return numbers, text, bytes, lists, dicts or NumPy arrays"
