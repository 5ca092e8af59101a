"""NumPy arrays as data: all types and shapes there and back; bytes that lie about their shape are refused."""

import cbor2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol import encoding
from protocol.arrays import TypedArray, array_hook, array_tag, encode_array
from protocol.errors import BadFrame

TYPES = ("uint8", "uint16", "uint32", "uint64", "int8", "int16", "int32", "int64", "float32", "float64")


def over_the_wire(array: object) -> TypedArray:
    decoded = encoding.decode(cbor2.dumps(array, canonical=True, default=encode_array), array_hook)
    assert isinstance(decoded, TypedArray)
    return decoded


def to_numpy(array: TypedArray) -> np.ndarray:
    return np.frombuffer(array.data, dtype=array.dtype).reshape(array.shape)


@pytest.mark.parametrize("dtype", TYPES)
@given(shape=st.lists(st.integers(0, 4), max_size=5), seed=st.integers(0, 2**32 - 1))
def test_round_trip(dtype: str, shape: list[int], seed: int) -> None:
    draw = np.random.default_rng(seed)
    array = np.frombuffer(draw.bytes(int(np.prod(shape)) * np.dtype(dtype).itemsize), dtype=dtype).reshape(shape)
    found = over_the_wire(array)
    assert (found.dtype, found.shape) == (dtype, tuple(shape))
    assert to_numpy(found).tobytes() == array.tobytes()
    if array.size and not np.isnan(array).any():
        assert found.tolist() == array.tolist()


def test_array_tag_gives_the_same_bytes() -> None:
    array = np.arange(6, dtype="int32").reshape(2, 3)
    encoded = cbor2.dumps(array, canonical=True, default=encode_array)
    assert cbor2.dumps(array_tag(over_the_wire(array)), canonical=True) == encoded


@pytest.mark.parametrize(
    "array",
    [
        np.arange(12, dtype="int64").reshape(3, 4).T,
        np.asfortranarray(np.arange(12, dtype="float64").reshape(3, 4)),
        np.arange(12, dtype="int16")[::-2],
        np.broadcast_to(np.float32(1.5), (2, 3)),
    ],
    ids=["transposed", "Fortran order", "every other, backwards", "broadcast"],
)
def test_any_layout_arrives_in_c_order(array: np.ndarray) -> None:
    assert np.array_equal(to_numpy(over_the_wire(array)), array)


def test_a_number_in_an_array() -> None:
    found = over_the_wire(np.array(2.5))
    assert found.shape == () and found.tolist() == 2.5


def test_booleans_and_half_precision_become_wider() -> None:
    assert over_the_wire(np.array([True, False])).tolist() == [1, 0]
    assert over_the_wire(np.array([1.5], dtype="float16")).dtype == "float32"


@pytest.mark.parametrize(
    "array",
    [
        np.array(["a"]),
        np.array([object()]),
        np.array([1j]),
        np.array(["2020-01-01"], dtype="datetime64[D]"),
        np.array([(1, 2)], dtype=[("a", "i4"), ("b", "i4")]),
    ],
    ids=lambda array: str(array.dtype),
)
def test_what_is_no_number_is_not_data(array: np.ndarray) -> None:
    with pytest.raises((TypeError, cbor2.CBOREncodeError), match="not data"):
        over_the_wire(array)


def tagged(tag: int, value: object) -> bytes:
    return cbor2.dumps(cbor2.CBORTag(tag, value))


BYTES = cbor2.CBORTag(64, b"abcdef")


@pytest.mark.parametrize(
    "data",
    [
        tagged(40, [[2, 2], BYTES]),
        tagged(40, [[-2, -3], BYTES]),
        tagged(40, [[6.0], BYTES]),
        tagged(40, [[True, 6], BYTES]),
        tagged(40, [["6"], BYTES]),
        tagged(40, [[6]]),
        tagged(40, [[6], BYTES, 1]),
        tagged(40, [6, BYTES]),
        tagged(40, [[6], b"abcdef"]),
        tagged(40, [[6], [1, 2, 3, 4, 5, 6]]),
        tagged(40, [[6], cbor2.CBORTag(40, [[2], BYTES])]),
        tagged(40, [[1] * 17 + [6], BYTES]),
        tagged(40, [[2**64, 2**64], BYTES]),
        tagged(40, "abc"),
        tagged(86, b"1234567"),
        tagged(64, [1, 2]),
        tagged(64, "abc"),
        tagged(66, b"abcd"),
        tagged(84, b"abcd"),
        tagged(41, [1, 2]),
        tagged(1040, [[6], BYTES]),
    ],
)
def test_arrays_that_lie(data: bytes) -> None:
    with pytest.raises(BadFrame):
        encoding.decode(data, array_hook)


def test_an_empty_array_of_a_huge_shape_costs_nothing() -> None:
    decoded = encoding.decode(tagged(40, [[2**50, 0], cbor2.CBORTag(64, b"")]), array_hook)
    assert isinstance(decoded, TypedArray) and decoded.tolist() == []


def test_arrays_are_refused_where_no_message_needs_them() -> None:
    with pytest.raises(BadFrame):
        encoding.decode(tagged(64, b"abc"))
