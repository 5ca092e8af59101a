"""Letting go of workers that are silent, or at one chunk beyond its time limits. Called by `job_machine` alone."""

from collections.abc import Callable

from protocol.chunk_book import ChunkBook
from protocol.dispatch import Dispatch
from protocol.ids import PeerId
from protocol.job_events import Dismiss, Effect
from protocol.limits import FAULTS_PER_WORKER_MAX
from protocol.worker_book import SILENCE_S_MAX, WorkerBook

DEADLINE_GRACE_S = 30.0


class Overdue:
    """One per job; `item_timeout_s` is the longest that one item may take."""

    def __init__(
        self,
        book: ChunkBook,
        workers: WorkerBook,
        dispatch: Dispatch,
        item_timeout_s: float,
        emit: Callable[[Effect], None],
    ) -> None:
        self._book = book
        self._workers = workers
        self._dispatch = dispatch
        self._item_timeout_s = item_timeout_s
        self._emit = emit

    def dismiss(self, now: float) -> None:
        """Let go of those, and see when the next may be.

        What happens later cannot make one count as gone in less than `SILENCE_S_MAX`, but for what `Dispatch.call_off`
        does, which has all looked at again.
        """
        soonest = float("inf")
        for peer, worker in list(self._workers.active.items()):
            moment = min(worker.silent_at, self._late_at(peer))
            if moment <= now:
                lapsed = self._late_at(peer) <= now
                reason = "kept a chunk beyond its time limit" if lapsed else "no sign of life"
                self._emit(Dismiss(peer, reason, for_good=lapsed and self._note_lapse(peer)))
                self._dispatch.take_back_all(peer, reason, now)
            else:
                soonest = min(soonest, moment)
        self._workers.overdue_from = min(soonest, now + SILENCE_S_MAX) if soonest < float("inf") else soonest

    def _late_at(self, peer: PeerId) -> float:
        worker = self._workers.active[peer]
        first = next(iter(worker.outstanding), None)
        chunk = self._book.open.get(first) if first is not None else None
        if chunk is None or worker.offer.local:
            return float("inf")
        since = max(worker.outstanding[chunk.id], worker.last_result_at)
        return since + chunk.count * self._item_timeout_s + DEADLINE_GRACE_S

    def _note_lapse(self, peer: PeerId) -> bool:
        """The worker may not have this chunk again; whether it has shown often enough that it never answers."""
        self._book.open[next(iter(self._workers.active[peer].outstanding))].lapsed |= {peer}
        tally = self._workers.tallies[peer]
        tally.failures += 1
        return tally.failures >= FAULTS_PER_WORKER_MAX and not tally.chunks
