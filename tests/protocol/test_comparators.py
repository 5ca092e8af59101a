"""Comparators: what counts as the same result, and what hostile results cost."""

import math
import time

import cbor2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from wire_strategies import plain_values

from protocol import array_numbers, encoding, result_values
from protocol.arrays import TypedArray, encode_array
from protocol.comparators import Comparator, parse_comparator
from protocol.errors import BadFrame, LocalError
from protocol.limits import CHUNK_RESULT_BYTES_MAX

EXACT, CANONICAL = parse_comparator("exact"), parse_comparator("canonical")
ZERO = parse_comparator("tolerance:0,0")
LOOSE = parse_comparator("tolerance:1e-6,1e-9")
IMAGE = parse_comparator("image:40")
EVERY = [EXACT, CANONICAL, ZERO, LOOSE, IMAGE]
DTYPES = ["uint8", "uint16", "uint32", "uint64", "int8", "int16", "int32", "int64", "float32", "float64"]

numbers = st.one_of(st.integers(-3, 3), st.integers(), st.floats(), st.sampled_from([0.0, -0.0, 1.0, math.inf, 2**53]))
arrays = st.sampled_from(DTYPES).flatmap(
    lambda dtype: npst.arrays(dtype, npst.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=3))
)
values = st.recursive(
    numbers | arrays | plain_values,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=2), inner, max_size=3),
    max_leaves=6,
)
failures = st.tuples(st.just(False), st.sampled_from("EF"), st.text(max_size=3), st.text(max_size=3)).map(list)
outcomes = st.lists(values.map(lambda value: [True, value]) | failures, min_size=1, max_size=3)


def result(*of: object) -> bytes:
    return outcome_bytes([[True, one] for one in of])


def outcome_bytes(of: list[list[object]]) -> bytes:
    return cbor2.dumps(of, canonical=True, default=encode_array)


def disguised(value: object) -> object:
    """Another way to say the same."""
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return int(value)
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**53:
        return float(value) or -0.0
    if isinstance(value, list):
        return [disguised(one) for one in value]
    if isinstance(value, dict):
        return {key: disguised(one) for key, one in reversed(value.items())}
    if isinstance(value, np.ndarray) and value.dtype.kind != "f" and (np.abs(value.astype(float)) < 2**53).all():
        return value.astype("float64")
    return value


@given(outcomes)
def test_every_result_agrees_with_itself_and_with_another_way_to_say_it(given_outcomes: list[list[object]]) -> None:
    data = outcome_bytes(given_outcomes)
    for comparator in EVERY:
        assert comparator.same(data, data) and comparator.key(data) == comparator.key(bytes(data))
    other = outcome_bytes([[True, disguised(one[1])] if one[0] else [*one[:2], "m", "t"] for one in given_outcomes])
    for comparator in (CANONICAL, ZERO, LOOSE):
        assert comparator.same(data, other) and comparator.same(other, data), comparator
        assert comparator.is_pairwise or comparator.key(data) == comparator.key(other)


@given(outcomes, outcomes)
def test_comparators_are_symmetric_and_ordered_by_strictness(
    one: list[list[object]], other: list[list[object]]
) -> None:
    first, second = outcome_bytes(one), outcome_bytes(other)
    said = []
    for comparator in EVERY:
        said.append(comparator.same(first, second))
        assert comparator.same(second, first) == said[-1], comparator
        if comparator.is_pairwise:
            assert comparator.difference(first, second) == comparator.difference(second, first)
    exact, canonical, zero, loose, _ = said
    assert exact <= canonical <= zero <= loose


@given(npst.arrays("float64", 4), npst.arrays("float64", 4), st.floats(0, 0.5), st.floats(0, 10))
def test_tolerance_is_numpys_isclose_with_the_larger_one_as_the_reference(
    one: np.ndarray, other: np.ndarray, rtol: float, atol: float
) -> None:
    with np.errstate(all="ignore"):
        tight, wide = (
            np.isclose(one, other, rtol * by, atol * by, equal_nan=True)
            | np.isclose(other, one, rtol * by, atol * by, equal_nan=True)
            for by in (1 - 1e-9, 1 + 1e-9)
        )
    found = Comparator(ZERO.kind, rtol, atol).same(result(one), result(other))
    assert bool(tight.all()) <= found <= bool(wide.all())
    assert Comparator(ZERO.kind, rtol, atol).same(result(one.tolist()), result(other.tolist())) == found


@given(arrays, arrays, st.floats(0, 1))
def test_without_numpy_the_answers_are_the_same(one: np.ndarray, other: np.ndarray, atol: float) -> None:
    def answers() -> list[object]:
        first, second = (typed(array) for array in (one, other))
        found: list[object] = [array_numbers.canonical(first)]
        if one.shape == other.shape:
            found.append(array_numbers.needed_rtol(first, second, atol))
            found.append(pytest.approx(array_numbers.noise(first, second, 255.0), nan_ok=True))
        return found

    with pytest.MonkeyPatch.context() as patch:
        fast = answers()
        patch.setattr(array_numbers, "numpy_if_any", lambda: None)
        assert fast == answers()


def typed(array: np.ndarray) -> TypedArray:
    return TypedArray(str(array.dtype), array.shape, array.tobytes())


def test_blocks_are_joined() -> None:
    one = np.arange(array_numbers.NUMBERS_PER_BLOCK * 2 + 5, dtype="float64")
    other = one.copy()
    other[-1] *= 1 + 1e-8
    assert LOOSE.same(result(one), result(other)) and not ZERO.same(result(one), result(other))
    assert LOOSE.difference(result(one), result(other)) == pytest.approx(1e-8)
    other[-1] *= 1.1
    assert not LOOSE.same(result(one), result(other))
    assert CANONICAL.same(result(one), result(one.astype("int64")))


NAN_WITH_PAYLOAD = np.frombuffer(b"\x01\0\0\0\0\0\xf8\xff")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (1, 1.0),
        (0.0, -0.0),
        (10**20, 1e20),
        ({"a": 1, "b": 2}, {"b": 2.0, "a": 1}),
        ([1, [2.0]], [1.0, [2]]),
        (np.array(2.5), 2.5),
        ([1] * 99, [1.0] * 99),
        ([1, 2.0] * 99, [1.0, 2] * 99),
        ([0.5, -0.0] * 99, [0.5, 0] * 99),
        (np.arange(3), np.arange(3.0)),
        (np.arange(3, dtype="uint8"), np.arange(3, dtype="int64")),
        (np.array([0.5], dtype="float32"), np.array([0.5])),
        (np.array([2**63 - 1]), np.array([2**63 - 1], dtype="uint64")),
        (np.array([0.0, math.nan]), np.array([-0.0, NAN_WITH_PAYLOAD[0]])),
    ],
)
def test_what_does_not_matter_to_canonical(one: object, other: object) -> None:
    assert CANONICAL.same(result(one), result(other)) and ZERO.same(result(one), result(other))
    assert not EXACT.same(result(one), result(other))


def test_the_width_of_a_float_and_the_order_of_keys_do_not_matter_either() -> None:
    wide = cbor2.dumps([[True, {"b": 1.5, "a": math.nan}]])
    assert not EXACT.same(wide, result({"b": 1.5, "a": math.nan}))
    assert CANONICAL.same(wide, result({"b": 1.5, "a": math.nan}))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (1, True),
        (0, None),
        (1, "1"),
        ("a", b"a"),
        (1.0, 1.1),
        (1.0, math.nan),
        (1e308, math.inf),
        (math.inf, -math.inf),
        (1e308, -1e308),
        (10**400, math.inf),
        (10**400, 10**399),
        ([1], [1, 1]),
        ([1], 1),
        ({"a": 1}, {"b": 1}),
        ({"a": 1}, {"a": 1, "b": 1}),
        ([1.0, 2.0], np.array([1.0, 2.0])),
        (np.zeros((2, 3)), np.zeros((3, 2))),
        (np.zeros(2), np.zeros(3)),
        (np.array([1.0, math.nan]), np.array([1.0, 2.0])),
        (np.array([1.0, math.inf]), np.array([1.0, 1e308])),
    ],
)
def test_differences_that_count(one: object, other: object) -> None:
    for comparator in (EXACT, CANONICAL, ZERO, LOOSE, IMAGE):
        assert not comparator.same(result(one), result(other)), comparator


@pytest.mark.parametrize(("one", "other"), [(2**53 + 1, 2**53 + 3), ([2**53 + 1] * 99, [2**53 + 3] * 99)])
def test_large_whole_numbers_are_told_apart(one: object, other: object) -> None:
    for comparator in (EXACT, CANONICAL, ZERO, IMAGE):
        assert not comparator.same(result(one), result(other)), comparator
    assert LOOSE.same(result(one), result(other))


def test_long_lists_of_numbers_are_compared_like_short_ones() -> None:
    for n in (5, 500):
        one = [0.5] * n
        for other in ([*one[1:], 0.6], [*one[1:], math.nan], [*one[1:], math.inf], [*one[1:], "x"], [*one[1:], True]):
            assert not any(comparator.same(result(one), result(other)) for comparator in EVERY)
        assert LOOSE.same(result(one), result([0.5 + 1e-8] * n)) and not IMAGE.same(
            result(one), result([0.5 + 1e-8] * n)
        )
        for alike in ([1.0] * n, [1.0, 1] * (n // 2) + [1] * (n % 2)):
            assert all(one.same(result([1] * n), result(alike)) for one in (CANONICAL, ZERO, IMAGE))


def test_results_of_other_lengths_and_failures() -> None:
    failed = [False, "ValueError", "at 0x7f01", "Traceback 1"]
    again = [False, "ValueError", "at 0x7f02", "Traceback 2"]
    other = [False, "KeyError", "at 0x7f01", "Traceback 1"]
    for comparator in EVERY:
        assert comparator.same(outcome_bytes([failed, [True, 1]]), outcome_bytes([again, [True, 1]]))
        assert not comparator.same(outcome_bytes([failed]), outcome_bytes([other]))
        assert not comparator.same(outcome_bytes([failed]), outcome_bytes([[True, None]]))
        assert not comparator.same(result(1), result(1, 1))


def test_images_are_compared_by_psnr_with_the_peak_of_their_type() -> None:
    dark = np.full((8, 8, 3), 10, "uint8")
    near, far = dark.copy(), dark.copy()
    near[0, 0, 0] += 10  # 10 squared over 192 numbers: 50.95 dB
    far[:] += 4  # 36.09 dB
    assert IMAGE.same(result({"frame": dark, "n": 1}), result({"frame": near, "n": 1.0}))
    assert not IMAGE.same(result({"frame": dark, "n": 1}), result({"frame": near, "n": 2}))
    assert not IMAGE.same(result(dark), result(far))
    assert not IMAGE.same(result(dark), result(dark.astype("uint16")))
    assert IMAGE.same(result(dark.astype("uint16")), result(far.astype("uint16")))
    assert IMAGE.difference_in_words(IMAGE.difference(result(dark), result(near))) == "PSNR 51.0 dB"
    light = np.full((4, 4), 0.5)
    assert IMAGE.same(result(light), result(light + 0.009)) and not IMAGE.same(result(light), result(light + 0.011))
    hole = light.copy()
    hole[1, 1] = math.nan
    assert IMAGE.same(result(hole), result(hole + 0.001)) and not IMAGE.same(result(hole), result(light))


@pytest.mark.parametrize(
    "text",
    ["", "exakt", "exact:1", "canonical:", "tolerance", "tolerance:", "tolerance:x", "tolerance:-1e-6", "tolerance:1",
     "tolerance:nan", "tolerance:1e-6,inf", "tolerance:1e-6,-1", "tolerance:1e-6,1,2", "image", "image:0", "image:inf",
     "image:nan", "image:-5", "verify:f", "tolerance:1e-6;1e-9"],
)  # fmt: skip
def test_a_comparator_that_cannot_be_meant_is_refused_with_the_known_ones(text: str) -> None:
    with pytest.raises(LocalError, match=r"is not known: use exact, canonical, tolerance:RTOL,ATOL .*image:40.*verify"):
        parse_comparator(text)


def test_forms_that_are_understood() -> None:
    assert parse_comparator(" tolerance:1e-6 ") == Comparator(ZERO.kind, 1e-6)
    assert parse_comparator("tolerance:1e-6,1e-9") == LOOSE
    assert parse_comparator("image:20").limit == pytest.approx(0.01)
    assert not parse_comparator("verify").is_pairwise
    assert parse_comparator("tolerance:auto,1e-9") == Comparator(ZERO.kind, 1e-6, 1e-9, calibrates=True)


@pytest.mark.parametrize(("largest", "limit"), [(0.0, 1e-12), (3e-13, 3e-11), (1e-7, 1e-6)])
def test_a_calibrated_tolerance_stays_within_its_bounds(largest: float, limit: float) -> None:
    calibrated = parse_comparator("tolerance:auto").calibrated(largest)
    assert calibrated.limit == pytest.approx(limit) and not calibrated.calibrates


@pytest.mark.parametrize(
    "data", [b"", b"\x01", encoding.encode({}), b"\x9f\xff", encoding.encode([1]), encoding.encode([[]])]
)
def test_what_is_no_result(data: bytes) -> None:
    for comparator in (CANONICAL, LOOSE, IMAGE):
        with pytest.raises(BadFrame):
            comparator.same(data, result(1))


def nest(depth: int) -> bytes:
    return b"\x81\x82\xf5" + b"\x81" * depth + b"\x01"


HOSTILE = {
    "deepest nest": (nest(60), nest(60)[:-1] + b"\xf9\x3c\x00"),
    "giant shape": tuple(
        cbor2.dumps([[True, cbor2.CBORTag(40, [[0, 2**62, n], cbor2.CBORTag(86, b"")])]]) for n in (1, 2)
    ),
    "giant numbers": (result(1 << 8 * 10**6), result((1 << 8 * 10**6) + 1)),
    "all NaN": (result(np.full(10**6, math.nan)), result(np.zeros(10**6))),
    "many kinds": (result([1, "a", b"a", None, True, {}, [], 1.0]), result([True, b"a", "a", 0, 1, [], {}, "1"])),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_results_cost_little_and_raise_nothing(name: str) -> None:
    one, other = HOSTILE[name]
    started_at = time.process_time()
    for comparator in EVERY:
        comparator.same(one, other)
        comparator.key(one)
    assert time.process_time() - started_at < 5.0


def test_deeper_nests_are_no_results() -> None:
    with pytest.raises(BadFrame):
        LOOSE.same(nest(100_000), nest(100_001))


def test_a_result_of_very_many_parts_is_compared_exactly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(result_values, "PARTS_COMPARED_MAX", 2000)
    many = [[n] for n in range(1001)]
    one, other = result(many, 1), result(many, 1.0)
    assert not any(comparator.same(one, other) for comparator in EVERY)
    assert all(comparator.same(one, bytes(one)) for comparator in EVERY)
    assert CANONICAL.key(one) == EXACT.key(one)
    assert CANONICAL.same(result(many[:-5], 1), result(many[:-5], 1.0))


def fill(part: bytes, parts: int) -> bytes:
    return b"\x81\x82\xf5\x9a" + parts.to_bytes(4, "big") + part * parts


@pytest.mark.slow
def test_the_largest_results_take_seconds_at_most() -> None:
    one, other = (fill(part, CHUNK_RESULT_BYTES_MAX // 3 - 10) for part in (b"\xf9\x3c\x00", b"\xf9\x3c\x01"))
    for comparator in (CANONICAL, Comparator(ZERO.kind, 0.5)):
        started_at = time.process_time()
        comparator.same(one, other)
        assert time.process_time() - started_at < 30.0
