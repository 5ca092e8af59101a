"""Canonical CBOR: one byte string for one value (RFC 8949, section 4.2.1).

Keys are text throughout the protocol; for those cbor2's canonical order and core deterministic
order are the same. Tags are refused but for big integers and arrays: a tag can build cyclic
structures, dates or regular expressions, which no message needs.
"""

import io
from collections.abc import Callable
from typing import NoReturn, cast

import cbor2

from protocol.errors import BadFrame, LocalError

NESTING_DEPTH_MAX = 64
# The tags for which cbor2 has decoders of its own, less 2 and 3 (big integers).
_TAGS_REFUSED = (0, 1, 4, 5, 25, 28, 29, 30, 35, 36, 37, 52, 54, 100, 256, 258, 260, 261, 1004, 43000, 55799)
# First bytes of the simple values other than false, true and null, and of `undefined`; and all others.
_ODD_FIRST_BYTES = bytes((*range(0xE0, 0xF4), 0xF7, 0xF8))
_OTHER_BYTES = bytes(set(range(256)) - set(_ODD_FIRST_BYTES))


def _refuse(*_: object) -> NoReturn:
    raise BadFrame("CBOR tag that is not allowed here")


_DECODERS: dict[int, Callable[..., object]] = dict.fromkeys(_TAGS_REFUSED, _refuse)


def encode(value: object) -> bytes:
    """Canonical CBOR of plain data; raises `LocalError` for anything else."""
    try:
        return cbor2.dumps(value, canonical=True)
    except (cbor2.CBOREncodeError, UnicodeEncodeError, RecursionError) as error:
        raise LocalError(f"cannot be encoded as data: {error}") from error


def decode(data: bytes, tag_hook: Callable[..., object] = _refuse) -> object:
    """Plain data from exactly one CBOR item; raises `BadFrame` for anything hostile or malformed.

    `tag_hook(tag, immutable)` turns a tag that cbor2 does not know into a value; by default it is refused.
    """
    decoder = cbor2.CBORDecoder(
        io.BytesIO(data),
        tag_hook=tag_hook,
        semantic_decoders=_DECODERS,
        max_depth=NESTING_DEPTH_MAX,
        allow_indefinite=False,
        allow_duplicate_keys=False,
        strict_hashable_types=True,
    )
    try:
        value = decoder.decode()
    except (cbor2.CBORError, ValueError, OverflowError, RecursionError, MemoryError) as error:
        raise BadFrame(f"not valid CBOR: {str(error)[:200]}") from error
    _refuse_trailing_bytes(decoder)
    if data.translate(None, _OTHER_BYTES):
        _refuse_simple_values(value)
    return cast(object, value)


def _refuse_simple_values(value: object) -> None:
    """No data has these, and nothing after this can show them. The bytes may belong to text or numbers as well."""
    left = [value]
    while left:
        match left.pop():
            case dict() as found:
                left.extend(found.values())
            case list() as found:
                left.extend(found)
            case found if found is cbor2.undefined or isinstance(found, cbor2.CBORSimpleValue):
                raise BadFrame("CBOR simple value that is not allowed here")


def _refuse_trailing_bytes(decoder: cbor2.CBORDecoder) -> None:
    try:
        decoder.read(1)
    except cbor2.CBORDecodeEOF:
        return
    raise BadFrame("bytes after the end of the CBOR item")


def decode_canonical(data: bytes) -> object:
    """Like `decode`, and the bytes must be the canonical ones: a signed body has one encoding."""
    value = decode(data)
    if encode(value) != data:
        raise BadFrame("CBOR is not in canonical form")
    return value
