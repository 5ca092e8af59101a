"""Arithmetic on the arrays in results: their canonical form, and how far two of them are apart.

NumPy does it where it is installed; without it the same is done number by number, with the same answers.
All of it works through a block at a time, so that an array of many bytes costs no multiple of them.
"""

import importlib
import math
import struct
from array import array
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any, cast

from protocol.arrays import TypedArray

NUMBERS_PER_BLOCK = 1 << 16
FEW = 64
"""Fewer numbers than this are done sooner by hand than NumPy can be asked."""
EXACT_INT_MAX = 2**53
"""Up to here every whole number is a 64-bit float."""
_SIGNED_MAX = 2**63

Numbers = Any
"""One block: a NumPy array where there is NumPy, else a memoryview."""
Pair = tuple[Numbers, Numbers]


@lru_cache(maxsize=1)
def numpy_if_any() -> Any:
    """The module, or None where it is not installed."""
    try:
        return importlib.import_module("numpy")
    except ImportError:
        return None


def canonical(given: TypedArray) -> TypedArray:
    """One form for the same numbers: 64-bit floats with one zero and one NaN, wherever whole numbers fit into them.

    An array of whole numbers with one beyond `EXACT_INT_MAX` stays whole: int64, or uint64 if one needs it.
    """
    numpy = _numpy_for(given)
    lowest, highest = (0, 0) if given.dtype.startswith("float") else _extremes(given, numpy)
    blocks = _blocks(given, numpy)
    if lowest >= -EXACT_INT_MAX and highest <= EXACT_INT_MAX:
        return TypedArray("float64", given.shape, b"".join(_as_floats(block, numpy) for block in blocks))
    name, code = ("int64", "q") if highest < _SIGNED_MAX else ("uint64", "Q")
    return TypedArray(name, given.shape, b"".join(struct.pack(f"<{len(block)}{code}", *block) for block in blocks))


def needed_rtol(one: TypedArray, other: TypedArray, atol: float) -> float:
    """The least relative tolerance with which the numbers of two arrays of one shape are all close.

    0 where they are equal or within `atol`, infinity where one is not finite and the other is something else.
    """
    numpy = _numpy_for(one)
    measure = _needed_by_hand if numpy is None else _needed_by_numpy
    return max((measure(pair, atol, numpy) for pair in _pairs(one, other, numpy)), default=0.0)


def needed_between(one: float, other: float, atol: float) -> float:
    """As `needed_rtol`, for two numbers; whole numbers of any size are told apart exactly."""
    if one == other or (one != one and other != other):
        return 0.0
    try:
        gap, scale = abs(one - other), max(abs(one), abs(other))
        excess = gap - atol
        if not (math.isfinite(gap) and math.isfinite(scale)):
            return math.inf
        return 0.0 if excess <= 0.0 else float(excess / scale)
    except OverflowError:
        return math.inf


def noise(one: TypedArray, other: TypedArray, peak: float) -> float:
    """The mean square of the differences over the square of the peak; infinity where what is not finite differs."""
    numpy = _numpy_for(one)
    measure: Callable[[Pair, Any], float] = _squares_by_hand if numpy is None else _squares_by_numpy
    total = sum(measure(pair, numpy) for pair in _pairs(one, other, numpy))
    return total / max(1, math.prod(one.shape)) / peak**2


# Blocks.


def _numpy_for(given: TypedArray) -> Any:
    return numpy_if_any() if math.prod(given.shape) >= FEW else None


def _blocks(given: TypedArray, numpy: Any) -> Iterator[Numbers]:
    numbers = numpy.frombuffer(given.data, given.dtype) if numpy is not None else _view(given)
    for first in range(0, len(numbers), NUMBERS_PER_BLOCK):
        yield numbers[first : first + NUMBERS_PER_BLOCK]


def _extremes(given: TypedArray, numpy: Any) -> tuple[int, int]:
    ends = [
        (min(block), max(block)) if numpy is None else (block.min(), block.max()) for block in _blocks(given, numpy)
    ]
    return min((int(low) for low, _ in ends), default=0), max((int(high) for _, high in ends), default=0)


def _view(given: TypedArray) -> memoryview:
    return memoryview(given.data).cast(cast(Any, given.code))


def _pairs(one: TypedArray, other: TypedArray, numpy: Any) -> Iterator[Pair]:
    return zip(_blocks(one, numpy), _blocks(other, numpy), strict=True)


def _as_floats(block: Numbers, numpy: Any) -> bytes:
    if numpy is None:
        return array("d", (math.nan if number != number else number + 0.0 for number in block)).tobytes()
    floats = block.astype("float64") + 0.0
    floats[numpy.isnan(floats)] = math.nan
    return cast(bytes, floats.tobytes())


# Measures. Overflow gives infinity, which is the answer that is wanted.


def _needed_by_hand(pair: Pair, atol: float, _: object) -> float:
    return max(needed_between(float(one), float(other), atol) for one, other in zip(*pair, strict=True))


def _needed_by_numpy(pair: Pair, atol: float, numpy: Any) -> float:
    with numpy.errstate(all="ignore"):
        one, other = (block.astype("float64") for block in pair)
        unequal = ~((one == other) | (numpy.isnan(one) & numpy.isnan(other)))
        one, other = one[unequal], other[unequal]
        if not (numpy.isfinite(one).all() and numpy.isfinite(other).all()):
            return math.inf
        gap, scale = abs(one - other), numpy.maximum(abs(one), abs(other))
        excess = numpy.maximum(gap - atol, 0.0)
        return float((excess / scale).max(initial=0.0))


def _squares_by_hand(pair: Pair, _: object) -> float:
    total = 0.0
    for one, other in zip(*pair, strict=True):
        if one == other or (one != one and other != other):
            continue
        if not (math.isfinite(one) and math.isfinite(other)):
            return math.inf
        gap = float(one) - float(other)
        total += gap * gap
    return total


def _squares_by_numpy(pair: Pair, numpy: Any) -> float:
    with numpy.errstate(all="ignore"):
        one, other = (block.astype("float64") for block in pair)
        same = (one == other) | (numpy.isnan(one) & numpy.isnan(other))
        gap = numpy.where(same, 0.0, one - other)
        squares = float((gap * gap).sum())
    return squares if squares == squares else math.inf
