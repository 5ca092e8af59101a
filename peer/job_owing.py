"""What one run of a job owes to its workers so far: paid at the end, and written down in case its peer dies before.

Sums by worker, kept as chunks are settled: the rules pay for all of them at once, at the end (`protocol/payroll.py`).
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from protocol.chunk import Chunk
from protocol.ids import ChunkId, LeaseId, PeerId
from protocol.payroll import shares
from protocol.worker_book import WorkerBook


@dataclass(frozen=True, slots=True)
class Debt:
    """What a worker has earned in one lease and has no receipt for."""

    peer: PeerId
    lease: LeaseId
    credits: float
    price: float


class JobOwing:
    """One per run."""

    def __init__(self, workers: WorkerBook) -> None:
        self._workers = workers
        self._shares: dict[ChunkId, list[tuple[PeerId, float]]] = {}
        self._credits: dict[PeerId, float] = {}

    def settled(self, chunk: Chunk) -> None:
        """Its result counts: whoever gave it has earned something."""
        self.revoked(chunk.id)
        self._shares[chunk.id] = list(shares(chunk, self._workers))
        for peer, credits in self._shares[chunk.id]:
            self._credits[peer] = self._credits.get(peer, 0.0) + credits

    def revoked(self, chunk: ChunkId) -> None:
        """Its result does not count any more; nothing happens where none did."""
        for peer, credits in self._shares.pop(chunk, ()):
            self._credits[peer] -= credits

    def debts(self, leases: Mapping[PeerId, LeaseId], banned: Collection[str]) -> list[Debt]:
        """To whom something is owed, by their last leases; who is banned has forfeited it."""
        return [
            Debt(peer, leases[peer], credits, credits * self._workers.offers[peer].price)
            for peer, credits in sorted(self._credits.items())
            if credits > 0 and peer in leases and peer not in banned and not self._workers.banned(peer)
        ]
