"""Turns a chunk's result into another one that is well-formed, plausible and wrong: what liars send."""

import struct
from random import Random
from typing import Any

import cbor2

from protocol import encoding
from protocol.arrays import TAG_SHAPED

_FLOAT_FORMATS = {85: "<f", 86: "<d"}
_DRIFT_MIN, _DRIFT_MAX = 0.01, 0.2


def falsify(data: bytes, random: Random) -> bytes:
    """Other outcomes for the same items; at least one of them differs (unless there are none)."""
    outcomes: Any = encoding.decode(data, lambda tag, _: tag)
    if not outcomes:
        return data
    chosen = [index for index in range(len(outcomes)) if random.random() < 0.5]
    for index in chosen or [random.randrange(len(outcomes))]:
        outcome = outcomes[index]
        outcomes[index] = [True, _other(outcome[1], random) if outcome[0] else 0]
    return encoding.encode(outcomes)


def _other(value: Any, random: Random) -> Any:
    match value:
        case bool():
            return not value
        case int():
            return value + random.choice((-1, 1)) * max(1, abs(value) * random.randrange(10, 200) // 1000)
        case float():
            return _drifted(value, random)
        case str():
            return _other_text(value, random)
        case bytes():
            return bytes([value[0] ^ 1]) + value[1:] if value else b"\0"
        case [*_] if value:
            return _other_inside(value, random.randrange(len(value)), random)
        case dict() if value:
            return _other_inside(value, random.choice(list(value)), random)
        case cbor2.CBORTag():
            return _other_array(value, random)
    return 0 if value is None else None


def _other_inside(value: Any, place: Any, random: Random) -> Any:
    changed = value.copy()
    changed[place] = _other(value[place], random)
    return changed


def _drifted(value: float, random: Random) -> float:
    """Far enough that no tolerance forgives it, near enough to be believed."""
    drift = random.choice((-1, 1)) * random.uniform(_DRIFT_MIN, _DRIFT_MAX)
    drifted = value * (1 + drift)
    return drifted if drifted not in (0.0, value) and abs(drifted) < float("inf") else drift


def _other_text(value: str, random: Random) -> str:
    if not value:
        return "x"
    place = random.randrange(len(value))
    return value[:place] + ("y" if value[place] == "x" else "x") + value[place + 1 :]


def _other_array(tag: cbor2.CBORTag, random: Random) -> cbor2.CBORTag:
    if tag.tag == TAG_SHAPED:
        shape, flat = tag.value
        return cbor2.CBORTag(TAG_SHAPED, [shape, _other_array(flat, random)])
    data = bytearray(tag.value)
    form = _FLOAT_FORMATS.get(tag.tag)
    if form is None or not data:
        return cbor2.CBORTag(tag.tag, _other(bytes(data), random) if data else b"")
    place = random.randrange(len(data) // struct.calcsize(form)) * struct.calcsize(form)
    struct.pack_into(form, data, place, _drifted(struct.unpack_from(form, data, place)[0], random))
    return cbor2.CBORTag(tag.tag, bytes(data))
