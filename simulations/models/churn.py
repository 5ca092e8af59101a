"""When each worker is there: sessions from a distribution or from a trace file.

Weibull parameters named in `PRESETS` are those of Stutzbach and Rejaie (IMC 2006) for BitTorrent swarms.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import inf
from pathlib import Path
from random import Random
from typing import Protocol

from protocol.errors import LocalError
from simulations.scenario import Churn

SESSION_S_MIN = 1.0
TRACE_LINES_MAX = 1_000_000

PRESETS: Mapping[str, tuple[float, float]] = {
    "red-hat": (0.34, 21.3 * 60),
    "debian": (0.38, 42.4 * 60),
    "flatout": (0.59, 41.9 * 60),
}
"""Weibull shape and scale in seconds, by name."""


@dataclass(frozen=True, slots=True)
class Session:
    """One stay of a peer: it comes at `start_s` and leaves at `end_s` (inf: never), killed when it `crashes`."""

    start_s: float
    end_s: float
    crashes: bool


class ChurnModel(Protocol):
    """When peers come and go."""

    def sessions(self, worker: int, random: Random) -> Iterator[Session]:
        """The stays of one worker, in order, apart; may be endless. `random` is that worker's own."""


def make_churn(churn: Churn) -> ChurnModel:
    """The model that a scenario asks for; raises `LocalError` when its trace file cannot be used."""
    if churn.kind == "none":
        return AlwaysThere()
    if churn.kind == "trace":
        return TraceChurn(read_trace(Path(churn.trace_file)), churn.crash)
    return DrawnChurn(churn)


class AlwaysThere:
    """No churn: everybody is there from the start and stays."""

    def sessions(self, worker: int, random: Random) -> Iterator[Session]:
        """See `ChurnModel.sessions`."""
        yield Session(0.0, inf, crashes=False)


class DrawnChurn:
    """Everybody is there at the start; sessions are drawn, absences are exponential."""

    def __init__(self, churn: Churn) -> None:
        self._churn = churn
        self._shape, self._scale_s = PRESETS.get(churn.preset, (churn.shape, churn.scale_s))

    def sessions(self, worker: int, random: Random) -> Iterator[Session]:
        """See `ChurnModel.sessions`."""
        start_s = 0.0
        while True:
            end_s = start_s + max(SESSION_S_MIN, self.session_s(random))
            yield Session(start_s, end_s, crashes=random.random() < self._churn.crash)
            if not self._churn.returns:
                return
            start_s = end_s + max(SESSION_S_MIN, random.expovariate(1 / self._churn.absence_s))

    def session_s(self, random: Random) -> float:
        """The length of one session, before `SESSION_S_MIN`."""
        if self._churn.kind == "weibull":
            return random.weibullvariate(self._scale_s, self._shape)
        return random.expovariate(1 / self._churn.mean_s)


class TraceChurn:
    """Stays that were observed; worker n plays the n-th peer of the trace, and starts over after the last."""

    def __init__(self, stays: Sequence[Sequence[tuple[float, float]]], crash: float) -> None:
        self._stays = stays
        self._crash = crash

    def sessions(self, worker: int, random: Random) -> Iterator[Session]:
        """See `ChurnModel.sessions`."""
        for start_s, end_s in self._stays[worker % len(self._stays)]:
            yield Session(start_s, end_s, crashes=random.random() < self._crash)


def read_trace(path: Path) -> list[list[tuple[float, float]]]:
    """The stays of each peer of a trace, in the order of their first lines, each sorted.

    A line is `peer start_s end_s`, with spaces or commas between; empty lines and those that begin with `#`
    say nothing. Raises `LocalError` naming file and line.
    """
    try:
        lines = path.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise LocalError(f"{path}: the churn trace cannot be read: {error}") from error
    if len(lines) > TRACE_LINES_MAX:
        raise LocalError(f"{path}: {len(lines)} lines; a churn trace has at most {TRACE_LINES_MAX}")
    stays: dict[str, list[tuple[float, float]]] = {}
    for number, line in enumerate(lines, 1):
        if line.strip() and not line.startswith("#"):
            peer, start_s, end_s = _stay(path, number, line)
            stays.setdefault(peer, []).append((start_s, end_s))
    if not stays:
        raise LocalError(f"{path}: the churn trace has no line `peer start_s end_s`")
    return [_apart(path, peer, sorted(found)) for peer, found in stays.items()]


def _stay(path: Path, number: int, line: str) -> tuple[str, float, float]:
    words = line.replace(",", " ").split()
    try:
        peer, start_s, end_s = words[0], float(words[1]), float(words[2])
    except (IndexError, ValueError) as error:
        raise LocalError(f"{path}, line {number}: {line!r} is not `peer start_s end_s`") from error
    if not 0 <= start_s < end_s:
        raise LocalError(f"{path}, line {number}: a stay from {start_s:g} to {end_s:g} s")
    return peer, start_s, end_s


def _apart(path: Path, peer: str, stays: list[tuple[float, float]]) -> list[tuple[float, float]]:
    for (_, end_s), (start_s, _) in pairwise(stays):
        if start_s < end_s:
            raise LocalError(f"{path}: peer {peer} comes at {start_s:g} s, but is there until {end_s:g} s")
    return stays
