"""Results of one job on their way to the journal: kept while in the balance, written when they count."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from peer.candidates import Candidates
from peer.result_files import ResultFiles
from peer.views import ResultLine
from protocol.chunk import Failure
from protocol.ids import ChunkId, PeerId
from protocol.job_events import Piece
from protocol.outcomes import Outcome, decode_outcomes


class ResultSink(Protocol):
    """Where results that count go: the journal, or whoever waits for them."""

    def record(self, lines: Sequence[ResultLine]) -> None:
        """These count from now on; a line replaces an earlier one of its item."""

    def confirm(self, items: Sequence[int]) -> None:
        """These were found right by an execution of our own."""

    def remove(self, items: Sequence[int]) -> None:
        """These no longer count."""


@dataclass(slots=True)
class Tallied:
    """What a settled chunk added to the sums."""

    done: int
    failed: int
    compute_s: float


class JobResults:
    """Candidate results by chunk and key, and the sums of those that count."""

    def __init__(self, sink: ResultSink, candidates: Candidates, files: ResultFiles) -> None:
        self._candidates = candidates
        self._files = files
        self._sink = sink
        self._settled: dict[ChunkId, Tallied] = {}
        self.items_done = 0
        self.items_failed = 0
        self.compute_s = 0.0

    def settle(self, piece: Piece, key: bytes, worker: PeerId, *, checked: bool) -> None:
        """The result with this key counts; not `checked`: on the word of this worker alone."""
        candidate, data = self._candidates.get(piece.chunk, key)
        self._candidates.settled(piece.chunk)
        outcomes = decode_outcomes(data, piece.stop - piece.start)
        self._files.settle(piece.chunk, data)
        failed = sum(not outcome.ok for outcome in outcomes)
        self._sink.record([_line(piece.start + n, outcome, worker, checked) for n, outcome in enumerate(outcomes)])
        self._add(piece, Tallied(len(outcomes) - failed, failed, candidate.compute_s))

    def give_up(self, piece: Piece, failure: Failure, tried: int) -> None:
        """The chunk failed wherever it was tried."""
        error = f"{failure.kind} on {tried} peer{'s' * (tried != 1)}" + (
            f": {failure.detail}" if failure.detail else ""
        )
        self._candidates.drop(piece.chunk)
        self._sink.record([ResultLine(item=item, ok=False, error=error) for item in range(piece.start, piece.stop)])
        self._add(piece, Tallied(0, piece.stop - piece.start, 0.0))

    def uphold(self, piece: Piece) -> None:
        """The result that counts was found right; whatever else was kept may be of no more use."""
        self._candidates.settled(piece.chunk)
        self._sink.confirm(range(piece.start, piece.stop))

    def revoke(self, piece: Piece) -> None:
        """What counted no longer does."""
        tallied = self._settled.pop(piece.chunk)
        self.items_done -= tallied.done
        self.items_failed -= tallied.failed
        self.compute_s -= tallied.compute_s
        self._files.revoke(piece.chunk)
        self._sink.remove(range(piece.start, piece.stop))

    def _add(self, piece: Piece, tallied: Tallied) -> None:
        self._settled[piece.chunk] = tallied
        self.items_done += tallied.done
        self.items_failed += tallied.failed
        self.compute_s += tallied.compute_s


def _line(item: int, outcome: Outcome, worker: PeerId, checked: bool) -> ResultLine:
    if outcome.ok:
        return ResultLine(item=item, ok=True, result=outcome.value, worker=worker, checked=checked)
    error = f"{outcome.error}: {outcome.message}" if outcome.message else outcome.error
    return ResultLine(item=item, ok=False, error=error, traceback=outcome.traceback, worker=worker, checked=checked)
