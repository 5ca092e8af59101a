"""One-way delays between numbered hosts. Owns the models; the network asks them once per message.

A delay belongs to a pair of hosts and is the same in both directions and every time. It is computed from
the pair and a seed, never stored, so that ten thousand hosts do not need a hundred million numbers.
"""

import struct
from hashlib import blake2b
from math import exp, hypot, sqrt
from pathlib import Path
from random import Random
from statistics import NormalDist
from typing import Protocol

from simulations.models.latency_matrix import REGION_ROUND_TRIPS_MS, Matrix, read_matrix
from simulations.scenario import Latency

DELAY_S_MIN = 1e-4
"""Even neighbours need this long: without it, cause and effect would share one moment."""
_NORMAL = NormalDist()
_PAIR = struct.Struct("<QQ")


class LatencyModel(Protocol):
    """How far apart hosts are."""

    def one_way_s(self, one: int, other: int) -> float:
        """Seconds from host number `one` to host number `other`, at least `DELAY_S_MIN`; symmetric."""


def make_latency(latency: Latency, random: Random) -> LatencyModel:
    """The model that a scenario asks for; raises `LocalError` when its matrix file cannot be used."""
    draws = _Draws(random)
    match latency.kind:
        case "constant":
            return ConstantLatency(latency.constant_s)
        case "lognormal":
            return LognormalLatency(latency.median_s, latency.sigma, draws)
        case "plane":
            return PlaneLatency(latency.plane_s, draws)
        case "matrix":
            return MatrixLatency(read_matrix(Path(latency.matrix_file), latency.matrix_unit_s), draws)
        case "regions":
            return MatrixLatency(Matrix.of_round_trips(REGION_ROUND_TRIPS_MS, 1e-3), draws)


class _Draws:
    """A uniform draw for each pair of numbers, always the same for the same pair and seed."""

    def __init__(self, random: Random) -> None:
        self._key = random.randbytes(16)

    def uniform(self, one: int, other: int) -> float:
        """In the open interval from 0 to 1."""
        mixed = blake2b(_PAIR.pack(one, other), digest_size=8, key=self._key).digest()
        return ((int.from_bytes(mixed, "little") >> 12) + 0.5) / 2**52


class ConstantLatency:
    """The same everywhere."""

    def __init__(self, constant_s: float) -> None:
        self._delay_s = max(DELAY_S_MIN, constant_s)

    def one_way_s(self, one: int, other: int) -> float:
        """See `LatencyModel.one_way_s`."""
        return self._delay_s


class LognormalLatency:
    """Each pair has its own delay, log-normal with this median: as between homes on the Internet."""

    def __init__(self, median_s: float, sigma: float, draws: _Draws) -> None:
        self._median_s = median_s
        self._sigma = sigma
        self._draws = draws

    def one_way_s(self, one: int, other: int) -> float:
        """See `LatencyModel.one_way_s`."""
        drawn = self._draws.uniform(min(one, other), max(one, other))
        return max(DELAY_S_MIN, self._median_s * exp(self._sigma * _NORMAL.inv_cdf(drawn)))


class PlaneLatency:
    """Hosts lie on a square; the delay is the distance, and a tenth of the diagonal on top."""

    def __init__(self, diagonal_s: float, draws: _Draws) -> None:
        self._diagonal_s = diagonal_s
        self._draws = draws

    def one_way_s(self, one: int, other: int) -> float:
        """See `LatencyModel.one_way_s`."""
        (x, y), (u, v) = self.place(one), self.place(other)
        return max(DELAY_S_MIN, self._diagonal_s * (0.1 + hypot(x - u, y - v) / sqrt(2)))

    def place(self, host: int) -> tuple[float, float]:
        """Where a host lies on the unit square."""
        return self._draws.uniform(host, 0), self._draws.uniform(host, 1)


class MatrixLatency:
    """Each host is put at one place of a measured matrix, by lot; several may share one."""

    def __init__(self, matrix: Matrix, draws: _Draws) -> None:
        self._matrix = matrix
        self._draws = draws

    def one_way_s(self, one: int, other: int) -> float:
        """See `LatencyModel.one_way_s`."""
        return max(DELAY_S_MIN, self._matrix.one_way_s(self.place(one), self.place(other)))

    def place(self, host: int) -> int:
        """The row of a host."""
        return int(self._draws.uniform(host, 0) * self._matrix.size) % self._matrix.size
