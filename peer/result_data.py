"""Results as they are kept and as they are shown.

Kept: CBOR, which loses nothing (big integers, NaN, bytes, arrays). Shown: JSON as Python's `json`
module writes it, so NaN and the infinities stay what they are.
"""

import base64
import json
from typing import Any

import cbor2

from peer.views import ResultLine
from protocol import encoding
from protocol.arrays import TypedArray, array_hook, array_tag

DECIMAL_BITS_MAX = 14_000
"""Python refuses to write whole numbers of more than 4,300 digits in base 10, since it takes quadratic time."""


def result_to_cbor(value: object) -> bytes:
    """A result as bytes for the journal; raises `TypeError` for what is not data."""
    return cbor2.dumps(value, default=_encode_array)


def result_from_cbor(data: bytes) -> object:
    """The result behind `result_to_cbor`; raises `BadFrame` for anything else."""
    return encoding.decode(data, array_hook)


def line_to_json(line: ResultLine) -> str:
    """One line of results.jsonl, without the newline: the fields that say something, the item first."""
    shown: dict[str, object] = {"item": line.item, "ok": line.ok}
    if line.ok:
        shown["result"] = json_value(line.result)
    for name in ("error", "traceback", "worker"):
        if (text := getattr(line, name)) is not None:
            shown[name] = text
    return json.dumps(shown, ensure_ascii=False)


def json_value(value: object) -> object:
    """Data that JSON can say: arrays become nested lists, bytes `{"base64": ...}`, keys text.

    A whole number that Python does not write in base 10 becomes `{"hex": "0x..."}`.
    """
    match value:
        case TypedArray():
            return value.tolist()
        case bytes():
            return {"base64": base64.b64encode(value).decode()}
        case int() if value.bit_length() > DECIMAL_BITS_MAX:
            return {"hex": hex(value)}
        case list() | tuple():
            return [json_value(one) for one in value]
        case dict():
            return {key if isinstance(key, str) else str(key): json_value(one) for key, one in value.items()}
    return value


def _encode_array(encoder: Any, value: object) -> None:
    if not isinstance(value, TypedArray):
        raise TypeError(f"{type(value).__name__} is not data")
    encoder.encode(array_tag(value))
