"""Measured delays: matrix files in the two forms of the King data set, and round figures between regions.

A square file holds round trips, one row per line. A p2psim topology (`topology E2EGraph N`, `node A` lines,
then `A,B DELAY` lines) holds one-way delays. What is missing (0 or less, or absent) becomes the median.
"""

from array import array
from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import median

from protocol.errors import LocalError

MATRIX_SIZE_MAX = 5000

REGIONS = (
    "us-east", "us-west", "sa-east", "eu-west", "eu-central",
    "ap-south", "ap-southeast", "ap-northeast", "au", "af-south",
)  # fmt: skip
REGION_ROUND_TRIPS_MS: Sequence[Sequence[float]] = (
    (4, 65, 115, 70, 90, 190, 215, 150, 200, 225),
    (65, 4, 175, 130, 150, 220, 170, 105, 140, 290),
    (115, 175, 4, 180, 205, 300, 330, 255, 310, 340),
    (70, 130, 180, 4, 25, 125, 175, 210, 260, 160),
    (90, 150, 205, 25, 4, 115, 160, 225, 250, 155),
    (190, 220, 300, 125, 115, 4, 65, 130, 150, 240),
    (215, 170, 330, 175, 160, 65, 4, 70, 92, 250),
    (150, 105, 255, 210, 225, 130, 70, 4, 105, 360),
    (200, 140, 310, 260, 250, 150, 92, 105, 4, 410),
    (225, 290, 340, 160, 155, 240, 250, 360, 410, 4),
)
"""Round figures of what is publicly measured between the regions of a large cloud; not a measurement."""


class Matrix:
    """One-way delays in seconds between numbered places, symmetric."""

    def __init__(self, size: int, one_way_s: Sequence[float]) -> None:
        self.size = size
        self._one_way_s = one_way_s

    @classmethod
    def of_round_trips(cls, rows: Sequence[Sequence[float]], unit_s: float) -> "Matrix":
        """From rows of round trips in units of `unit_s`; both directions of a pair are averaged."""
        size = len(rows)
        means = ((rows[i][j] + rows[j][i]) / 2 if rows[i][j] > 0 < rows[j][i] else 0.0 for i, j in _pairs(size))
        return cls(size, _filled(size, means, unit_s / 2))

    def one_way_s(self, one: int, other: int) -> float:
        """The delay between two places."""
        return self._one_way_s[one * self.size + other]


def read_matrix(path: Path, unit_s: float) -> Matrix:
    """A matrix file, its numbers in units of `unit_s`; raises `LocalError` naming file and line."""
    try:
        lines = path.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise LocalError(f"{path}: the latency matrix cannot be read: {error}") from error
    if lines and lines[0].startswith("topology"):
        return _topology(path, lines, unit_s)
    return Matrix.of_round_trips(_rows(path, lines), unit_s)


def _pairs(size: int) -> Iterable[tuple[int, int]]:
    return ((i, j) for i in range(size) for j in range(size))


def _filled(size: int, values: Iterable[float], factor_s: float) -> Sequence[float]:
    delays_s = array("d", (value * factor_s for value in values))
    known = [delays_s[i * size + j] for i, j in _pairs(size) if i != j and delays_s[i * size + j] > 0]
    usual_s = median(known) if known else 0.0
    for i, j in _pairs(size):
        if i != j and delays_s[i * size + j] <= 0:
            delays_s[i * size + j] = usual_s
    return delays_s


def _rows(path: Path, lines: Sequence[str]) -> list[list[float]]:
    numbered = [(number, line.split()) for number, line in enumerate(lines, 1) if line.strip()]
    rows = [[_number(path, number, word) for word in words] for number, words in numbered]
    if not 0 < len(rows) <= MATRIX_SIZE_MAX:
        raise LocalError(f"{path}: {len(rows)} rows; a latency matrix has 1 to {MATRIX_SIZE_MAX}")
    for (number, _), row in zip(numbered, rows, strict=True):
        if len(row) != len(rows):
            raise LocalError(f"{path}, line {number}: {len(row)} numbers, but the matrix has {len(rows)} rows")
    return rows


def _topology(path: Path, lines: Sequence[str], unit_s: float) -> Matrix:
    names = [line.split()[1] for line in lines if line.startswith("node ")]
    places = {name: place for place, name in enumerate(dict.fromkeys(names))}
    if not 0 < len(places) <= MATRIX_SIZE_MAX:
        raise LocalError(f"{path}: {len(places)} nodes; a topology has 1 to {MATRIX_SIZE_MAX}")
    delays = array("d", bytes(8 * len(places) ** 2))
    for number, line in enumerate(lines, 1):
        if "," not in line:
            continue
        pair, _, delay = line.strip().partition(" ")
        one, _, other = pair.partition(",")
        if one not in places or other not in places:
            raise LocalError(f"{path}, line {number}: {pair!r} are not two nodes of this file")
        i, j = places[one], places[other]
        delays[i * len(places) + j] = delays[j * len(places) + i] = _number(path, number, delay)
    return Matrix(len(places), _filled(len(places), delays, unit_s))


def _number(path: Path, line: int, word: str) -> float:
    try:
        return float(word)
    except ValueError as error:
        raise LocalError(f"{path}, line {line}: {word!r} is not a number") from error
