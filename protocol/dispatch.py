"""Handing chunks out, taking them back, hedging the tail. Called by `job_machine` alone."""

from collections.abc import Callable, Iterator

from protocol.chunk import Chunk, ChunkState, Replica, Trigger
from protocol.chunk_book import ChunkBook
from protocol.ids import PeerId
from protocol.job_events import AssignChunks, CancelReplicas, Effect, Piece
from protocol.scheduling import Estimate, chunk_items, hedge_after_s, queue_depth
from protocol.worker_book import WorkerBook, WorkerState


class Dispatch:
    """Keeps each worker supplied, no further ahead than the end of the job allows."""

    def __init__(
        self,
        book: ChunkBook,
        workers: WorkerBook,
        estimate: Estimate,
        replicas: int,
        emit: Callable[[Effect], None],
    ) -> None:
        self._book = book
        self._workers = workers
        self._estimate = estimate
        self._replicas = replicas
        self._emit = emit

    @staticmethod
    def piece(chunk: Chunk) -> Piece:
        """The chunk as its worker sees it."""
        return Piece(chunk.id, chunk.start, chunk.stop)

    def hand_out(self, now: float) -> None:
        """Give every worker with room the next chunk, one each in turn, then hedge with what is idle."""
        given: dict[PeerId, list[Chunk]] = {}
        while self._book.has_work and self._one_round(given, now):
            pass
        if not self._book.uncut:
            self._hedge(given, now)
        for peer, chunks in given.items():
            self._emit(AssignChunks(peer, tuple(self.piece(chunk) for chunk in chunks)))

    def _one_round(self, given: dict[PeerId, list[Chunk]], now: float) -> bool:
        depth = self._depth()
        moved = False
        for worker in self._workers.by_load(depth):
            if (chunk := self._next_for(worker)) is not None:
                self._give(chunk, worker, given, now)
                moved = True
        return moved

    def _depth(self) -> int:
        item_s = self._estimate.item_s
        if item_s is None:
            return 1
        slots = self._workers.slots
        remaining_s = self._book.uncut * item_s * self._replicas
        chunk_s = self._chunk_items() * item_s if self._book.uncut else item_s
        return queue_depth(chunk_s, remaining_s, slots)

    def _chunk_items(self) -> int:
        slots = max(1, self._workers.slots // self._replicas)
        return chunk_items(self._book.uncut, len(self._book.sizes_bytes), slots, self._estimate.item_s)

    def _next_for(self, worker: WorkerState) -> Chunk | None:
        waiting = self._book.waiting_for(worker.peer, worker.offer.party, worker.offer.platform)
        if waiting is None and self._book.uncut:
            return self._book.cut(self._chunk_items(), self._replicas)
        return waiting

    def _give(self, chunk: Chunk, worker: WorkerState, given: dict[PeerId, list[Chunk]], now: float) -> None:
        chunk.fire(Trigger.ASSIGN, now)
        chunk.live[worker.peer] = Replica(assigned_at=now)
        if worker.offer.party is not None:
            chunk.parties[worker.peer] = worker.offer.party
        if worker.offer.platform is not None:
            chunk.platforms[worker.peer] = worker.offer.platform
        self._workers.give(worker, chunk.id, now)
        self._book.touch(chunk)
        given.setdefault(worker.peer, []).append(chunk)

    def adopt(self, chunk: Chunk, worker: WorkerState, now: float) -> None:
        """The worker has run the chunk since before this run of the job: from now on it counts as given to it."""
        self._give(chunk, worker, {}, now)

    # Hedging.

    def _hedge(self, given: dict[PeerId, list[Chunk]], now: float) -> None:
        """Each idle worker gets the longest running chunk that is overdue, or one that queues behind another."""
        overdue = sorted((due, chunk.id, chunk) for due, chunk in self._hedgeable() if due <= now)
        for worker in self._workers.by_load(1) if overdue else ():
            may_take = (chunk for _, _, chunk in overdue if self._may_hedge(chunk, worker))
            if (chunk := next(may_take, None)) is not None:
                self._give(chunk, worker, given, now)

    def _hedgeable(self) -> Iterator[tuple[float, Chunk]]:
        """Chunks under way, and when an idle worker may be given the same."""
        for worker in self._workers.active.values():
            for place, chunk_id in enumerate(worker.outstanding):
                chunk = self._book.open[chunk_id]
                since = worker.since(place, chunk_id)
                wait = hedge_after_s(chunk.count, self._estimate.item_s)
                yield (worker.last_result_at if since is None else since + wait), chunk

    def _may_hedge(self, chunk: Chunk, worker: WorkerState) -> bool:
        """Where one hedge hangs as well, our own machine is the last resort."""
        few_enough = len(chunk.live) <= max(1, chunk.wanted) + worker.offer.local
        return few_enough and self._may_take(worker, chunk)

    @staticmethod
    def _may_take(worker: WorkerState, chunk: Chunk) -> bool:
        return chunk.may_go_to(worker.peer, worker.offer.party, worker.offer.platform)

    def somebody_left_for(self, chunk: Chunk) -> bool:
        """Whether a worker is left that may be given the chunk."""
        return any(self._may_take(worker, chunk) for worker in self._workers.active.values())

    def without_takers(self) -> list[Chunk]:
        """Chunks with results that lack more, and nobody to give them."""
        lacking = [chunk for chunk in self._book.open.values() if chunk.votes and chunk.lacking and not chunk.live]
        return [
            chunk
            for chunk in lacking
            if not (chunk.audit_pending or chunk.audit_failed or self.somebody_left_for(chunk))
        ]

    def next_hedge(self) -> float:
        """When an idle worker could next be given a straggler; infinity when there is none to give."""
        if self._book.uncut:
            return float("inf")
        idle = [worker for worker in self._workers.active.values() if worker.room(1) > 0]
        if not idle:
            return float("inf")
        soonest = float("inf")
        for due, chunk in self._hedgeable():
            if due < soonest and any(self._may_hedge(chunk, worker) for worker in idle):
                soonest = due
        return soonest

    # Taking back.

    def returned(self, chunk: Chunk, peer: PeerId) -> None:
        """The worker has answered for this chunk."""
        chunk.live.pop(peer, None)
        if (worker := self._workers.active.get(peer)) is not None:
            self._workers.take(worker, chunk.id)

    def call_off(self, chunk: Chunk) -> None:
        """Nobody need run this chunk any longer."""
        for peer in sorted(chunk.live):
            self.returned(chunk, peer)
            # What waited behind it may have begun long ago, and be overdue by now.
            self._workers.overdue_from = -float("inf")
            self._emit(CancelReplicas(peer, (chunk.id,)))
        chunk.promised.clear()

    def take_back_all(self, peer: PeerId, reason: str, now: float) -> None:
        """The worker is gone: what it held and has not answered goes back to the others at once."""
        worker = self._workers.remove(peer, reason)
        for chunk_id in list(worker.outstanding) if worker else []:
            self._take_back(self._book.open[chunk_id], peer, now)

    def _take_back(self, chunk: Chunk, peer: PeerId, now: float) -> None:
        chunk.live.pop(peer)
        chunk.forget_party(peer)
        if not chunk.live and chunk.state in (ChunkState.LEASED, ChunkState.RUNNING):
            chunk.fire(Trigger.EMPTY, now)
        self._book.touch(chunk)
