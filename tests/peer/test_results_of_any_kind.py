"""Whatever a function may give back comes out in results.jsonl, by way of the runner and all checks."""

import json

import numpy as np
import pytest

from peer.execution.runner_data import NotData, encode_value
from peer.result_data import line_to_json, result_from_cbor, result_to_cbor
from peer.views import ResultLine
from protocol.outcomes import decode_outcomes


def shown(value: object) -> object:
    (outcome,) = decode_outcomes(b"\x81" + encode_value(value), 1)
    kept = result_from_cbor(result_to_cbor(outcome.value))
    return json.loads(line_to_json(ResultLine(item=0, ok=True, result=kept)))["result"]


@pytest.mark.parametrize("value", [None, True, -1, 2**64, 1.5, "ä\0", [1, [2]], {"a": {"b": []}}])
def test_json_as_it_is(value: object) -> None:
    assert shown(value) == value


def test_keys_that_are_whole_numbers_become_text() -> None:
    assert shown({1: 0.5, -2: {3: "x"}, 2**64: None}) == {"1": 0.5, "-2": {"3": "x"}, str(2**64): None}
    with pytest.raises(NotData, match="one kind of keys"):
        shown({"1": 0, 1: 0})


@pytest.mark.parametrize("number", [2**20_000, -(2**20_000), 2**100_000 + 1], ids=["20,000 bits", "negative", "more"])
def test_numbers_too_large_for_base_ten(number: int) -> None:
    found = shown({"n": [number]})
    assert isinstance(found, dict)
    assert int(found["n"][0]["hex"], 16) == number


def test_a_key_too_large_for_base_ten() -> None:
    assert shown({2**20_000: 1}) == {hex(2**20_000): 1}


def test_bytes_and_arrays() -> None:
    assert shown({"b": b"\xff", "a": np.eye(2), "s": np.float32(0.5)}) == {
        "b": {"base64": "/w=="},
        "a": [[1.0, 0.0], [0.0, 1.0]],
        "s": 0.5,
    }
