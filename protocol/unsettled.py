"""What a lease would lose with its coordinator: results that may not have arrived, chunks that run."""

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass

from protocol.ids import ChunkId
from protocol.limits import UNSETTLED_BYTES_PER_LEASE_MAX, UNSETTLED_RESULTS_PER_LEASE_MAX
from protocol.messages.kept import HandedOut


@dataclass(frozen=True, slots=True)
class Finished:
    """A chunk that ran to its end, and all that a coordinator needs of it."""

    chunk: ChunkId
    handed_out: HandedOut
    input: bytes
    data: bytes
    compute_s: float
    log: bytes


@dataclass(frozen=True, slots=True)
class StillRuns:
    """A chunk in execution on one slot of the lease."""

    slot: int
    chunk: ChunkId
    handed_out: HandedOut
    input: bytes


class Unsettled:
    """Results of a lease in force that its coordinator may not have in its books yet: the last ones, bounded."""

    def __init__(self) -> None:
        self._results: OrderedDict[ChunkId, Finished] = OrderedDict()
        self._size_bytes = 0

    def __len__(self) -> int:
        return len(self._results)

    def add(self, one: Finished) -> None:
        """It was handed over for sending."""
        self.settle((one.chunk,))
        self._results[one.chunk] = one
        self._size_bytes += len(one.data)
        while len(self._results) > UNSETTLED_RESULTS_PER_LEASE_MAX or self._size_bytes > UNSETTLED_BYTES_PER_LEASE_MAX:
            _, gone = self._results.popitem(last=False)
            self._size_bytes -= len(gone.data)

    def settle(self, chunks: Iterable[ChunkId]) -> None:
        """The coordinator has these in its books, or a result of somebody else."""
        for chunk in chunks:
            if (gone := self._results.pop(chunk, None)) is not None:
                self._size_bytes -= len(gone.data)

    def take(self) -> list[Finished]:
        """All, the oldest first; none is left here."""
        found = list(self._results.values())
        self._results.clear()
        self._size_bytes = 0
        return found
