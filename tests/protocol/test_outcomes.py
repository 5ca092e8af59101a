"""Outcomes: what a chunk gave, item by item, and when two workers said the same."""

import cbor2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from wire_strategies import plain_values

from protocol import encoding
from protocol.arrays import TypedArray, encode_array
from protocol.errors import BadFrame
from protocol.files import FileRef
from protocol.limits import RESULT_FILE_BYTES_MAX
from protocol.outcomes import Outcome, comparison_key, decode_outcomes, files_of

good = plain_values.map(lambda value: [True, value])
failed = st.tuples(st.just(False), st.text(max_size=5), st.text(max_size=5), st.text(max_size=5)).map(list)
outcomes = st.lists(good | failed, max_size=5)


@given(outcomes)
def test_round_trip(values: list[list[object]]) -> None:
    found = decode_outcomes(encoding.encode(values), len(values))
    assert found == [Outcome(True, one[1]) if one[0] else Outcome(False, None, *map(str, one[1:])) for one in values]


def test_arrays_in_results() -> None:
    data = cbor2.dumps([[True, {"w": np.arange(3)}]], canonical=True, default=encode_array)
    (found,) = decode_outcomes(data, 1)
    assert isinstance(found.value, dict) and isinstance(found.value["w"], TypedArray)
    assert comparison_key(data) == comparison_key(bytes(data))


@pytest.mark.parametrize(
    "value",
    [
        None,
        {},
        [],
        [[True, 1], [True, 1]],
        [[True]],
        [[True, 1, 2]],
        [[1, 5]],
        [[1.0, 5]],
        [["true", 5]],
        [[False, "E", "m"]],
        [[False, "E", "m", "t", "more"]],
        [[False, 1, "m", "t"]],
        [[False, "E", None, "t"]],
        [[None, 1]],
        [True],
        [5],
    ],
)
def test_what_is_no_list_of_one_outcome(value: object) -> None:
    with pytest.raises(BadFrame):
        decode_outcomes(encoding.encode(value), 1)


@given(outcomes, st.text(max_size=5), st.text(max_size=5))
def test_messages_and_tracebacks_do_not_count(values: list[list[object]], message: str, traceback: str) -> None:
    other = [one if one[0] else [*one[:2], message, traceback] for one in values]
    assert comparison_key(encoding.encode(values)) == comparison_key(encoding.encode(other))


@given(outcomes, outcomes)
def test_everything_else_counts(first: list[list[object]], second: list[list[object]]) -> None:
    key = lambda values: [one if one[0] else one[:2] for one in values]  # noqa: E731
    same = encoding.encode(key(first)) == encoding.encode(key(second))
    assert (comparison_key(encoding.encode(first)) == comparison_key(encoding.encode(second))) == same


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ([[True, 1]], [[True, 2]]),
        ([[True, 1]], [[True, 1.0]]),
        ([[True, 1]], [[True, True]]),
        ([[True, 0.0]], [[True, -0.0]]),
        ([[True, "1"]], [[True, b"1"]]),
        ([[True, 1], [True, 2]], [[True, 2], [True, 1]]),
        ([[True, 1]], [[True, 1], [True, 1]]),
        ([[True, None]], [[False, "E", "", ""]]),
        ([[False, "ValueError", "m", "t"]], [[False, "KeyError", "m", "t"]]),
        ([[False, "E", "m", "t"], [True, 1]], [[False, "E", "m", "t"], [True, 2]]),
    ],
)
def test_differences_that_count(first: object, second: object) -> None:
    assert comparison_key(encoding.encode(first)) != comparison_key(encoding.encode(second))


def test_arrays_that_differ_in_one_number() -> None:
    one, other = np.zeros(4), np.array([0, 0, 0, 5e-324])
    keys = {
        comparison_key(cbor2.dumps([[True, array]], canonical=True, default=encode_array)) for array in (one, other)
    }
    assert len(keys) == 2


@pytest.mark.parametrize("data", [b"", b"\x01", encoding.encode({}), b"\x9f\xff", encoding.encode("x")])
def test_a_key_of_what_is_no_result(data: bytes) -> None:
    with pytest.raises(BadFrame):
        comparison_key(data)


def test_a_value_that_nobody_can_show_is_no_result() -> None:
    with pytest.raises(BadFrame):
        decode_outcomes(cbor2.dumps([[True, cbor2.undefined]]), 1)
    with pytest.raises(BadFrame):
        comparison_key(cbor2.dumps([[True, cbor2.CBORSimpleValue(99)]]))


@pytest.mark.parametrize("sizes", [[RESULT_FILE_BYTES_MAX + 1], [RESULT_FILE_BYTES_MAX] * 5])
def test_files_of_a_result_are_bounded(sizes: list[int]) -> None:
    """A worker could fill the disk of whoever believes it."""
    files = [FileRef(name=f"{n}", blob="0f" * 32, size_bytes=size).plain() for n, size in enumerate(sizes)]
    data = encoding.encode([[True, files]])
    with pytest.raises(BadFrame, match="the files of a result have at most"):
        files_of(data, decode_outcomes(data, 1))
