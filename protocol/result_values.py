"""Results as values, for comparators: decoded, in their canonical form, long lists of numbers in one piece."""

from array import array
from typing import cast

import cbor2

from protocol import array_numbers, encoding
from protocol.array_numbers import EXACT_INT_MAX
from protocol.arrays import TypedArray, array_hook, array_tag
from protocol.errors import BadFrame

PARTS_COMPARED_MAX = 250_000
"""Numbers, texts, lists and so on in one result, those in arrays and in long lists of numbers left out.

Results with more are compared as by `exact`: hostile ones must not keep the coordinator busy.
"""
TAG_LIST = 41
"""Of a long list of numbers in its canonical form, to tell it from an array."""


def decode_result(data: bytes) -> list[list[object]]:
    """The outcomes of a chunk, arrays as `TypedArray`; raises `BadFrame`."""
    value = encoding.decode(data, array_hook)
    if not isinstance(value, list) or not all(isinstance(one, list) and len(one) > 1 for one in value):
        raise BadFrame("a result must be a list of outcomes")
    return value


def canonical_outcome(outcome: list[object]) -> list[object]:
    """One value for all outcomes that say the same."""
    return [True, _canonical(outcome[1])] if outcome[0] is True else outcome[:2]


def _canonical(value: object) -> object:
    """One value for all that say the same; encoding it does the rest (order of keys, width of floats, NaN)."""
    match plain_number(value):
        case bool() as truth:
            return truth
        case int() | float() as number:
            return _as_float(number)
        case list() as found:
            return _canonical_list(found)
        case dict() as found:
            return {key: _canonical(one) for key, one in found.items()}
        case TypedArray() as found:
            return array_tag(array_numbers.canonical(found))
    return value


def _canonical_list(found: list[object]) -> object:
    """Long ones of numbers in one piece, tagged as what they are: to write millions one by one takes seconds."""
    packed = as_array(found)
    if packed is None:
        found = [_canonical(one) for one in found]
        packed = as_array(found)
    return found if packed is None else cbor2.CBORTag(TAG_LIST, array_tag(array_numbers.canonical(packed)))


def _as_float(number: float) -> float:
    """Without the sign of zero; a whole number that no float is equal to stays what it is."""
    try:
        return float(number) + 0.0 if number != number or float(number) == number else number
    except OverflowError:
        return number


def as_array(found: list[object]) -> TypedArray | None:
    """A long list of floats alone, or of whole numbers that are floats as well: it needs no look at each."""
    kinds = set(map(type, found)) if len(found) >= array_numbers.FEW else set()
    if kinds == {float}:
        return TypedArray("float64", (len(found),), array("d", cast(list[float], found)).tobytes())
    whole = cast(list[int], found)
    if kinds == {int} and min(whole) >= -EXACT_INT_MAX and max(whole) <= EXACT_INT_MAX:
        return TypedArray("int64", (len(found),), array("q", whole).tobytes())
    return None


def is_too_large(data: bytes, outcomes: list[list[object]]) -> bool:
    """Whether it has more parts than are compared one by one; a part takes at least a byte."""
    left: list[object] = [outcomes] if len(data) > PARTS_COMPARED_MAX else []
    count = 0
    while left and count <= PARTS_COMPARED_MAX:
        found = left.pop()
        if isinstance(found, list) and as_array(found) is not None:
            continue
        inner = cast(list[object], list(found.values()) if isinstance(found, dict) else found)
        count += len(inner)
        left.extend(one for one in inner if type(one) in (list, dict))
    return count > PARTS_COMPARED_MAX


def plain_number(value: object) -> object:
    """Whether a library gives a number or an array without dimensions depends on its version."""
    if isinstance(value, TypedArray) and not value.shape:
        return value.first()
    return value
