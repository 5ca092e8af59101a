"""Results of an earlier run of the job that its workers have kept: which are of use, and how long they are waited for.

Called by `job_machine` alone. What is handed over is judged like any other result. Until it is there nobody else is
given its items, but for no longer than `HAND_OVER_S_MAX`: a worker that promises and does not give holds up little.
"""

from collections.abc import Callable

from protocol.chunk import FINAL, SETTLED, Chunk, Promise
from protocol.chunk_book import ChunkBook
from protocol.dispatch import Dispatch
from protocol.ids import ChunkId, PeerId
from protocol.job_events import Effect, KeptOffered, KeptRefused, KeptWanted
from protocol.limits import HAND_OVER_S_MAX
from protocol.worker_book import WorkerBook


class Reclaim:
    """One per run of a job."""

    def __init__(
        self, book: ChunkBook, workers: WorkerBook, dispatch: Dispatch, replicas: int, emit: Callable[[Effect], None]
    ) -> None:
        self._book = book
        self._workers = workers
        self._dispatch = dispatch
        self._replicas = replicas
        self._emit = emit
        self._promises: dict[tuple[PeerId, ChunkId], float] = {}
        """Until when each is waited for; some may be withdrawn, which is seen when their time comes."""

    def offered(self, event: KeptOffered, now: float) -> None:
        """Cut its items out, if they are open, and say whether they are wanted."""
        peer = event.terms.peer
        chunk = None if self._workers.banned(peer) else self._chunk(event)
        if chunk is None or not (peer in chunk.live or peer in chunk.promised or self._may_give(chunk, event)):
            self._emit(KeptRefused(peer, event.start, event.stop))
            return
        self._workers.know(event.terms)
        if peer not in chunk.live:
            self._promise(chunk, event, now)
        self._emit(KeptWanted(peer, self._dispatch.piece(chunk)))

    def _chunk(self, event: KeptOffered) -> Chunk | None:
        found = self._book.of(event.start, event.stop)
        return found or self._book.cut_out(event.start, event.stop, self._replicas)

    @staticmethod
    def _may_give(chunk: Chunk, event: KeptOffered) -> bool:
        is_open = chunk.state not in SETTLED and chunk.state not in FINAL
        return is_open and chunk.may_go_to(event.terms.peer, event.terms.party, event.terms.platform)

    def _promise(self, chunk: Chunk, event: KeptOffered, now: float) -> None:
        peer = event.terms.peer
        chunk.promised[peer] = Promise(now + HAND_OVER_S_MAX, event.running)
        self._promises[peer, chunk.id] = now + HAND_OVER_S_MAX
        if event.terms.party is not None:
            chunk.parties[peer] = event.terms.party
        if event.terms.platform is not None:
            chunk.platforms[peer] = event.terms.platform
        self._book.touch(chunk)
        if event.running:
            self.adopt(peer, now)

    def adopt(self, peer: PeerId, now: float) -> None:
        """Once the worker takes part, what it still runs of an earlier run counts as given to it."""
        if (worker := self._workers.active.get(peer)) is None:
            return
        for name, chunk_id in list(self._promises):
            chunk = self._book.open.get(chunk_id) if name == peer else None
            if chunk is not None and peer in chunk.promised and chunk.promised[peer].running:
                self.kept_its_word(chunk, peer)
                self._dispatch.adopt(chunk, worker, now)

    # How a promise ends.

    def takes(self, chunk: Chunk, peer: PeerId) -> bool:
        """Whether a result that this worker hands over counts: it was promised, or at least nothing forbids it."""
        if chunk.state in SETTLED or chunk.state in FINAL or self._workers.banned(peer):
            return False
        terms = self._workers.offers.get(peer)
        promised = peer in chunk.promised or peer in chunk.live
        return promised or (terms is not None and chunk.may_go_to(peer, terms.party, terms.platform))

    def kept_its_word(self, chunk: Chunk, peer: PeerId) -> None:
        """The result is there, or will come by another way."""
        chunk.promised.pop(peer, None)
        self._promises.pop((peer, chunk.id), None)
        self._book.touch(chunk)

    def withdraw(self, chunk: Chunk, peer: PeerId) -> bool:
        """It will not come: others may have the chunk. Whether it was waited for."""
        self._promises.pop((peer, chunk.id), None)
        if chunk.promised.pop(peer, None) is None:
            return False
        chunk.forget_party(peer)
        self._book.touch(chunk)
        return True

    def lost(self, peer: PeerId) -> None:
        """The worker is gone, and with it what it has not handed over."""
        for name, chunk_id in list(self._promises):
            if name == peer:
                self._end(name, chunk_id)

    def expire(self, now: float) -> None:
        """Wait no longer for what is overdue, or by a liar."""
        for (peer, chunk_id), until in list(self._promises.items()):
            if until <= now or self._workers.banned(peer) or chunk_id not in self._book.open:
                self._end(peer, chunk_id)

    def _end(self, peer: PeerId, chunk_id: ChunkId) -> None:
        if (chunk := self._book.open.get(chunk_id)) is None or not self.withdraw(chunk, peer):
            self._promises.pop((peer, chunk_id), None)

    @property
    def waits(self) -> bool:
        """Whether something is waited for."""
        return bool(self._promises)

    def next_at(self) -> float:
        """When the first is overdue; infinity where nothing is waited for."""
        return min(self._promises.values(), default=float("inf"))
