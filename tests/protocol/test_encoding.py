"""Canonical CBOR: what goes in comes out, one value has one encoding, and nothing hostile gets through."""

import math

import cbor2
import pytest
from hypothesis import given
from hypothesis import strategies as st
from wire_strategies import plain_values

from protocol import encoding
from protocol.errors import BadFrame, LocalError

HOSTILE = {
    "nothing": b"",
    "indefinite array": b"\x9f\x01\xff",
    "indefinite map": b"\xbf\x61a\x01\xff",
    "indefinite text": b"\x7f\x61a\xff",
    "indefinite bytes": b"\x5f\x41a\xff",
    "duplicate keys": b"\xa2\x61a\x01\x61a\x02",
    "arrays too deep": b"\x81" * 100_000 + b"\x01",
    "maps too deep": b"\xa1\x61a" * 1000 + b"\x01",
    "date": cbor2.dumps(cbor2.CBORTag(0, "2020-01-01T00:00:00Z")),
    "regular expression": cbor2.dumps(cbor2.CBORTag(35, "(a+)+$")),
    "decimal with a huge exponent": b"\xc4\x82\x1b\x7f\xff\xff\xff\xff\xff\xff\xff\x01",
    "bigfloat": b"\xc5\x82\x1b\x7f\xff\xff\xff\xff\xff\xff\xff\x01",
    "rational": b"\xd8\x1e\x82\x01\x02",
    "shared reference": b"\xd8\x1c\x81\xd8\x1d\x00",
    "string references": b"\xd9\x01\x00\x82\x63abc\xd8\x19\x00",
    "set": b"\xd9\x01\x02\x81\x01",
    "address": cbor2.dumps(cbor2.CBORTag(260, b"\x7f\x00\x00\x01")),
    "complex number": cbor2.dumps(cbor2.CBORTag(43000, [1.0, 2.0])),
    "self-described": cbor2.dumps(cbor2.CBORTag(55799, 1)),
    "typed array": cbor2.dumps(cbor2.CBORTag(64, b"abc")),
    "unknown tag": cbor2.dumps(cbor2.CBORTag(99_999, 1)),
    "largest tag": b"\xdb" + b"\xff" * 8 + b"\x01",
    "bytes after the item": b"\x01\x01",
    "text that is not UTF-8": b"\x61\xff",
    "undefined": b"\xf7",
    "simple value": b"\xe0",
    "simple value of two bytes": b"\xf8\xff",
    "simple value inside": cbor2.dumps({"a": [1, {"b": cbor2.undefined}]}),
    "bytes that do not come": b"\x5b\xff\xff\xff\xff\xff\xff\xff\xff",
    "text that does not come": b"\x7a\x7f\xff\xff\xff",
    "items that do not come": b"\x9b\x00\xff\xff\xff\xff\xff\xff\xff",
    "entries that do not come": b"\xba\x7f\xff\xff\xff",
    "reserved length": b"\x1c",
    "a break alone": b"\xff",
    "big integer of text": b"\xc2\x61a",
    "keys that are lists": b"\xa1\x80\x01",
    "keys that are maps": b"\xa1\xa0\x01",
    "keys that are numbers": b"\xa1\x01\x01",
    "a key of a megabyte twice": b"\xa2" + (b"\x7a\x00\x01\x00\x00" + b"k" * 65536 + b"\x01") * 2,
}


@given(plain_values)
def test_round_trip(value: object) -> None:
    assert encoding.decode_canonical(encoding.encode(value)) == value


@given(st.dictionaries(st.text(max_size=8), st.integers(), max_size=8))
def test_the_order_of_keys_does_not_matter(value: dict[str, int]) -> None:
    assert encoding.encode(dict(reversed(value.items()))) == encoding.encode(value)


@given(st.binary(max_size=200))
def test_any_bytes_give_a_value_or_bad_frame(data: bytes) -> None:
    try:
        encoding.decode(data)
    except BadFrame:
        return
    try:
        value = encoding.decode_canonical(data)
    except BadFrame:
        return
    assert encoding.encode(value) == data


@given(plain_values, st.data())
def test_any_cut_is_seen(value: object, data: st.DataObject) -> None:
    encoded = encoding.encode(value)
    length = data.draw(st.integers(0, len(encoded) - 1))
    with pytest.raises(BadFrame):
        encoding.decode(encoded[:length])


@pytest.mark.parametrize("data", HOSTILE.values(), ids=HOSTILE.keys())
def test_hostile_bytes(data: bytes) -> None:
    with pytest.raises(BadFrame) as caught:
        encoding.decode(data)
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize(
    "data",
    [
        b"\x18\x01",
        b"\x1b\x00\x00\x00\x00\x00\x00\x00\x01",
        b"\xa2\x61b\x01\x61a\x02",
        b"\xa2\x62aa\x01\x61b\x02",
        b"\xfb\x3f\xf8\x00\x00\x00\x00\x00\x00",
        b"\xc2\x41\x01",
        b"\x58\x01a",
    ],
    ids=[
        "long integer",
        "longer integer",
        "keys unsorted",
        "longer key first",
        "long float",
        "small bignum",
        "long length",
    ],
)
def test_a_second_way_to_say_it_is_refused_where_it_is_signed(data: bytes) -> None:
    encoding.decode(data)
    with pytest.raises(BadFrame, match="canonical"):
        encoding.decode_canonical(data)


def test_the_deepest_nesting_that_is_allowed() -> None:
    value: object = 1
    for _ in range(encoding.NESTING_DEPTH_MAX):
        value = [value]
    assert encoding.decode(encoding.encode(value)) == value
    with pytest.raises(BadFrame):
        encoding.decode(encoding.encode([value]))


def test_numbers_that_are_no_simple_values() -> None:
    """Bytes that look like simple values, inside of numbers, text and bytes."""
    value = [0xF7, 0xE0F8, "÷à", b"\xf7\xe0\xf8", 2.0**-1022, {"÷": None}, True, False, math.inf]
    assert encoding.decode(encoding.encode(value)) == value


def test_nan_is_data() -> None:
    decoded = encoding.decode_canonical(encoding.encode(math.nan))
    assert isinstance(decoded, float) and math.isnan(decoded)


def _cyclic() -> list[object]:
    value: list[object] = []
    value.append(value)
    return value


@pytest.mark.parametrize("value", [object(), "\ud800", _cyclic()], ids=["object", "half a character", "cycle"])
def test_what_is_not_data_is_our_own_fault(value: object) -> None:
    with pytest.raises(LocalError, match="cannot be encoded"):
        encoding.encode(value)
