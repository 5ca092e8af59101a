"""How two results of a chunk are compared (DESIGN section 8, point 6). Pure functions of encoded results.

| comparator | two results are equal when |
|---|---|
| `exact` | their bytes are: the runner writes canonical CBOR, so this is equality of types and values |
| `canonical` | they say the same: 1 and 1.0, 0.0 and -0.0, any two NaN, a number and an array \
without dimensions, arrays of one shape and equal numbers of other types, floats of other widths do not differ |
| `tolerance:RTOL,ATOL` | numbers x and y, wherever they are, satisfy abs(x - y) <= ATOL + RTOL * max(abs(x), abs(y)): \
`numpy.isclose` with the larger one as the reference, so that the order does not matter; all else is canonical |
| `tolerance:auto,ATOL` | the same with RTOL 1e-6 at first; once 16 pairs of results agree, RTOL is a hundred \
times the largest difference among them, from 1e-12 to 1e-6. Others who judge a dispute know 1e-6 alone |
| `image:DB` | arrays have one type and shape and a PSNR of DB or more; all else is canonical |
| `render:DB` | their files are: machines of one kind render to the byte. Those of machines of different kinds are \
when the pictures in them have a PSNR of DB or more in each block (`protocol/pictures.py`) |
| `verify` | the job's own `verify(item, result)` says so of each, see `peer/result_checks.py` |

Whichever it is: truth values are no numbers, text is no bytes, lists are no arrays, and an item whose function raised
agrees with one that raised the same type of error, whatever its message.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import StrEnum

from protocol import array_numbers, encoding
from protocol.arrays import TypedArray
from protocol.errors import LocalError
from protocol.ids import digest
from protocol.outcomes import comparison_key
from protocol.pictures import apart
from protocol.result_values import as_array, canonical_outcome, decode_result, is_too_large, plain_number

CALIBRATION_PAIRS = 16
AUTO_MARGIN = 100.0
AUTO_RTOL_MIN, AUTO_RTOL_MAX = 1e-12, 1e-6
"""Until it is calibrated, `tolerance:auto` is as lax as it may ever be: a liar cannot stretch it beyond that."""
ATOL_MAX = 1e300
PSNR_DB_MIN, PSNR_DB_MAX = 1.0, 200.0
_WAYS = (
    "exact, canonical, tolerance:RTOL,ATOL (RTOL auto or from 0 to below 1, for example tolerance:1e-6,1e-9), "
    f"image:DB (PSNR from {PSNR_DB_MIN:g} to below {PSNR_DB_MAX:g}, for example image:40), render:DB or verify"
)


_NUMBERS = frozenset((int, float))


class Kind(StrEnum):
    """The ways to compare."""

    EXACT = "exact"
    CANONICAL = "canonical"
    TOLERANCE = "tolerance"
    IMAGE = "image"
    RENDER = "render"
    VERIFY = "verify"


@dataclass(frozen=True, slots=True)
class Look:
    """Besides its bytes, what a result is compared by where those of different machines may differ honestly."""

    environment: bytes = b""
    """Of who gave it."""
    view: bytes = b""
    """Of its pictures (`protocol/pictures.py`)."""


NO_LOOK = Look()


@dataclass(frozen=True, slots=True)
class Comparator:
    """One way to compare. Results must have passed `decode_outcomes`; others raise `BadFrame`.

    A comparison costs time in proportion to the bytes of the two results, and stops at the first difference that is
    too large.
    """

    kind: Kind = Kind.EXACT
    limit: float = 0.0
    """The largest `difference` that does not count."""
    atol: float = 0.0
    calibrates: bool = False
    """`tolerance:auto`: the limit is to be replaced once it was seen how far honest results are apart."""

    def calibrated(self, largest: float) -> "Comparator":
        """For results of which so many as `CALIBRATION_PAIRS` pairs were at most this far apart."""
        limit = min(AUTO_RTOL_MAX, max(AUTO_RTOL_MIN, AUTO_MARGIN * largest))
        return replace(self, limit=limit, calibrates=False)

    @property
    def is_pairwise(self) -> bool:
        """Whether agreement is no equivalence, so that results must be held against one another, not their keys."""
        return self.kind in (Kind.TOLERANCE, Kind.IMAGE, Kind.RENDER)

    def key(self, data: bytes) -> bytes:
        """The same for two results that agree, unless the comparator is pairwise: then for equal ones.

        `verify`: for all that pass, since there may be several right ones.
        """
        if self.kind is Kind.CANONICAL:
            outcomes = decode_result(data)
            if not is_too_large(data, outcomes):
                return digest(encoding.encode([canonical_outcome(one) for one in outcomes]))
        if self.kind is Kind.VERIFY:
            return digest(encoding.encode([one[:1] if one[0] is True else one[:2] for one in decode_result(data)]))
        return comparison_key(data)

    def same(self, one: bytes, other: bytes) -> bool:
        """Whether two results of one chunk agree. Symmetric, and true of a result and itself."""
        if self.is_pairwise:
            return self.difference(one, other) <= self.limit
        return one == other or self.key(one) == self.key(other)

    def difference(self, one: bytes, other: bytes, look: Look = NO_LOOK, other_look: Look = NO_LOOK) -> float:
        """How far two results are apart: 0 for equal ones, above `limit` when they do not agree.

        `tolerance`: the least RTOL with which they would agree. `image`: mean square error over the square of the peak.
        `render`: as `image` measures it, of the pictures' worst block; infinity between machines of one environment.
        """
        if one == other:
            return 0.0
        if self.kind is Kind.RENDER:
            return math.inf if look.environment == other_look.environment else apart(look.view, other_look.view)
        first, second = decode_result(one), decode_result(other)
        if len(first) != len(second):
            return math.inf
        if is_too_large(one, first) or is_too_large(other, second):
            return 0.0 if comparison_key(one) == comparison_key(other) else math.inf
        return self._largest(self._between_outcomes(a, b) for a, b in zip(first, second, strict=True))

    def difference_in_words(self, difference: float) -> str:
        """A difference as people see it."""
        if difference == 0:
            return "none above the absolute tolerance" if self.atol else "none"
        if self.kind in (Kind.IMAGE, Kind.RENDER):
            return f"PSNR {-10 * math.log10(difference):.1f} dB"
        return f"{difference:.2g} relative"

    def _largest(self, differences: Iterable[float]) -> float:
        worst = 0.0
        for one in differences:
            worst = max(worst, one)
            if worst > self.limit:
                break
        return worst

    def _between_outcomes(self, one: list[object], other: list[object]) -> float:
        if one[0] is not True or other[0] is not True:
            return 0.0 if one[:2] == other[:2] else math.inf
        return self._between(one[1], other[1])

    def _between(self, one: object, other: object) -> float:
        """By recursion: the decoder bounds the depth."""
        if one is other:
            return 0.0
        one, other = plain_number(one), plain_number(other)
        if type(one) in _NUMBERS and type(other) in _NUMBERS:
            return self._between_numbers(one, other)  # type: ignore[arg-type]
        match one, other:
            case list(), list() if len(one) == len(other):
                return self._between_lists(one, other)
            case dict(), dict() if one.keys() == other.keys():
                return self._largest(self._between(value, other[key]) for key, value in one.items())
            case TypedArray(), TypedArray():
                return self._between_arrays(one, other) if one.shape == other.shape else math.inf
        return 0.0 if type(one) is type(other) and one == other else math.inf

    def _between_lists(self, one: list[object], other: list[object]) -> float:
        first, second = as_array(one), as_array(other)
        if first is None or second is None:
            return self._largest(map(self._between, one, other))
        needed = array_numbers.needed_rtol(first, second, self.atol)
        return needed if self.kind is Kind.TOLERANCE or not needed else math.inf

    def _between_numbers(self, one: float, other: float) -> float:
        if self.kind is Kind.TOLERANCE:
            return array_numbers.needed_between(one, other, self.atol)
        return 0.0 if one == other or (one != one and other != other) else math.inf

    def _between_arrays(self, one: TypedArray, other: TypedArray) -> float:
        if self.kind is Kind.TOLERANCE:
            return array_numbers.needed_rtol(one, other, self.atol)
        return array_numbers.noise(one, other, one.peak) if one.dtype == other.dtype else math.inf


_WITH_VALUE = (Kind.TOLERANCE, Kind.IMAGE, Kind.RENDER)
EXACT = Comparator()


def parse_comparator(text: str) -> Comparator:
    """The comparator that `text` names; raises `LocalError` with the known forms."""
    name, colon, value = text.strip().partition(":")
    try:
        kind = Kind(name)
        if bool(colon) == (kind in _WITH_VALUE):
            return _of_kind(kind, value)
    except ValueError:
        pass
    raise LocalError(f"comparator {text!r} is not known: use {_WAYS}")


def _of_kind(kind: Kind, value: str) -> Comparator:
    """Raises ValueError for a value that cannot be meant."""
    if kind is Kind.TOLERANCE:
        rtol, _, atol = value.partition(",")
        if rtol == "auto":
            return Comparator(kind, AUTO_RTOL_MAX, _in_range(float(atol or 0.0), 0.0, ATOL_MAX), calibrates=True)
        return Comparator(kind, _in_range(float(rtol), 0.0, 1.0), _in_range(float(atol or 0.0), 0.0, ATOL_MAX))
    if kind in (Kind.IMAGE, Kind.RENDER):
        return Comparator(kind, 10 ** (-_in_range(float(value), PSNR_DB_MIN, PSNR_DB_MAX) / 10))
    return Comparator(kind)


def _in_range(value: float, low: float, below: float) -> float:
    if not low <= value < below:
        raise ValueError
    return value
