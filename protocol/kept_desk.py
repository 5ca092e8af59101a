"""The worker's dealings with coordinators that vanish and come back: what is kept, run to its end, told, handed over.

Called by `worker_machine` alone. What is kept is bounded (`kept_results.py`), and so is what runs on: the slots.
"""

from collections.abc import Callable

from protocol.errors import BadFrame
from protocol.ids import ChunkId, LeaseId, PeerId, digest
from protocol.kept_results import KeptResult, KeptResults
from protocol.limits import (
    CHUNK_RESULT_BYTES_MAX,
    KEPT_PER_MESSAGE_MAX,
    KEPT_RESULTS_PER_COORDINATOR_MAX,
    LOG_BYTES_PER_CHUNK_MAX,
    TEXT_LENGTH_MAX,
)
from protocol.messages import Message
from protocol.messages.job import Call, ChunkFailure, ChunkResult, FailureKind, Results
from protocol.messages.kept import FetchKept, ForgetKept, Kept
from protocol.orphan import Orphan
from protocol.payloads import inline_or_parts
from protocol.unsettled import Finished, StillRuns
from protocol.worker_answers import Answers
from protocol.worker_events import (
    ChunkFailed,
    ChunkRan,
    ChunkStopped,
    CloseSlots,
    Effect,
    EndLease,
    EndSession,
    Send,
    SlotEvent,
    StopChunk,
)
from protocol.worker_lease import Lease, LeaseTerms
from protocol.worker_ledger import Ledger
from protocol.worker_policy import WorkerPolicy
from protocol.worker_session import Session
from protocol.worker_sessions import Sessions


class KeptDesk:
    """One per worker."""

    def __init__(
        self,
        sessions: Sessions,
        ledger: Ledger,
        kept: KeptResults,
        policy: WorkerPolicy,
        emit: Callable[[Effect], None],
    ) -> None:
        self.kept = kept
        self.chunks_run = 0
        """Chunks that ran in leases whose coordinator vanished, before and after that."""
        self._sessions = sessions
        self._ledger = ledger
        self._policy = policy
        self._emit = emit

    def restore(self, now: float) -> None:
        """Take in what was kept before a restart; receipts for it may still come."""
        self.kept.restore(now)
        for lease, job, coordinator in self.kept.leases():
            if not self._ledger.knows(lease):
                self._ledger.open(lease, job, coordinator)
                self._ledger.close(lease, 0.0, now)

    # A coordinator vanishes.

    def abandon(self, session: Session, now: float) -> None:
        """Keep what the lease has; what runs goes on, what waits is dropped. The session has no stream any more."""
        lease = session.lease
        assert lease is not None
        for one in lease.unsettled.take():
            self._keep(lease.terms, lease.answers, one, now)
        running, slots = lease.still_running(), lease.slots_running()
        self.chunks_run += lease.chunks_run
        self._ledger.close(lease.terms.lease, lease.compute_s, now)
        session.drop_lease(now)
        session.ending = True
        if not self._may_go_on(session, lease, running):
            self._emit(EndLease(session.number, lease.terms.lease))
            return
        self._emit(CloseSlots(session.number, lease.terms.lease))
        for slot in sorted(slots.keys() - {one.slot for one in running}):
            self._emit(StopChunk(session.number, lease.terms.lease, slot))

    def _may_go_on(self, session: Session, lease: Lease, running: list[StillRuns]) -> bool:
        """Not where nothing of use runs, nor where the slots are taken by what its coordinator left there before."""
        session.orphan = Orphan(lease, running) if running else None
        free = self._sessions.free(self._policy)
        if free.slots < 0 or free.memory_bytes < 0:
            session.orphan = None
        return session.orphan is not None

    def _keep(self, terms: LeaseTerms, answers: Answers, one: Finished, now: float) -> KeptResult:
        result = digest(one.data)
        kept = KeptResult(
            coordinator=terms.coordinator,
            job=terms.job,
            lease=terms.lease,
            chunk=one.chunk,
            handed_out=one.handed_out,
            input=one.input,
            environment=terms.environment,
            result=result,
            size_bytes=len(one.data),
            compute_s=one.compute_s,
            log=one.log[-LOG_BYTES_PER_CHUNK_MAX:],
            commitment=answers.commit_alone(one.chunk, one.input, result),
        )
        self.kept.keep(kept, one.data, now)
        return kept

    # What still runs ends.

    def on_slot(self, session: Session, event: SlotEvent, now: float) -> None:
        """A slot of an abandoned lease reports."""
        orphan = session.orphan
        if orphan is None or not isinstance(event, ChunkRan | ChunkFailed | ChunkStopped):
            return
        if (one := orphan.running.pop(event.slot, None)) is None:
            return
        self.chunks_run += 1
        self._tell(orphan.terms, self._outcome(orphan, one, event, now))
        if not orphan.running:
            self.end(session, now)

    def _outcome(
        self, orphan: Orphan, one: StillRuns, event: ChunkRan | ChunkFailed | ChunkStopped, now: float
    ) -> Message:
        """What a coordinator that is back, and was told that it runs, hears of it."""
        match event:
            case ChunkRan(data=data, compute_s=compute_s, log=log) if len(data) <= CHUNK_RESULT_BYTES_MAX:
                orphan.compute_s += compute_s
                finished = Finished(one.chunk, one.handed_out, one.input, data, compute_s, log)
                return Kept(chunks=(self._keep(orphan.terms, orphan.answers, finished, now).offer(),))
            case ChunkRan():
                failure = ChunkFailure(chunk=one.chunk, kind=FailureKind.TOO_LARGE)
            case ChunkFailed(kind=kind, item=item, detail=detail):
                failure = ChunkFailure(chunk=one.chunk, kind=kind, item=item, detail=detail[:TEXT_LENGTH_MAX])
            case ChunkStopped():
                failure = ChunkFailure(chunk=one.chunk, kind=FailureKind.CRASHED, detail="stopped by the worker")
        return Results(lease=orphan.terms.lease, failures=(failure,))

    def _tell(self, terms: LeaseTerms, message: Message) -> None:
        for session in self._sessions.sorted():
            if (session.coordinator, session.takes_kept_of) == (terms.coordinator, terms.job) and not session.ending:
                self._emit(Send(session.number, (message,)))

    def end(self, session: Session, now: float) -> None:
        """Nothing runs any more for whoever had abandoned this session, or shall run."""
        if session.orphan is None:
            return
        self._ledger.close(session.orphan.terms.lease, session.orphan.compute_s, now)
        self._emit(EndLease(session.number, session.orphan.terms.lease))
        session.orphan = None

    def end_all_of(self, session: Session, now: float) -> None:
        """The coordinator is through with the job of this session's lease, and so is what runs of an earlier one."""
        for other in self._sessions.orphans_of(session.coordinator, session.job) if session.job is not None else ():
            self.end(other, now)

    # A coordinator comes back.

    def on_call(self, session: Session, call: Call, now: float) -> None:
        """Tell it what is kept, and what still runs."""
        session.takes_kept_of = call.job if call.takes_kept else None
        if not call.takes_kept:
            return
        self._drop_dead_streams(session, call, now)
        chunks = [one.offer() for one in self.kept.of(session.coordinator, call.job)]
        for other in self._sessions.orphans_of(session.coordinator, call.job):
            assert other.orphan is not None
            chunks += other.orphan.offers()
        for first in range(0, len(chunks), KEPT_PER_MESSAGE_MAX):
            self._emit(Send(session.number, (Kept(chunks=tuple(chunks[first : first + KEPT_PER_MESSAGE_MAX])),)))

    def _drop_dead_streams(self, session: Session, call: Call, now: float) -> None:
        """Who calls again for a job that it has a lease for has lost the stream of that, in a crash for example."""
        for other in self._sessions.leased_for(session.coordinator, call.job):
            if other is not session:
                self.abandon(other, now)
                self._sessions.note_deadline(other)
                self._emit(EndSession(other.number, "its coordinator calls again"))

    def fetch(self, session: Session, message: FetchKept) -> None:
        """Send results one after another, each when the one before has been written. Raises `BadFrame` for too many."""
        for chunk in message.chunks:
            session.handing[message.lease, chunk] = None
        if len(session.handing) > KEPT_RESULTS_PER_COORDINATOR_MAX:
            raise BadFrame(f"{session.coordinator} asks for more than {KEPT_RESULTS_PER_COORDINATOR_MAX} kept results")
        self._hand_over_next(session)

    def on_sent(self, session: Session, lease: LeaseId) -> None:
        """One has been written."""
        if session.handing_in_flight == lease:
            session.handing_in_flight = None
            self._hand_over_next(session)

    def _hand_over_next(self, session: Session) -> None:
        if session.handing_in_flight is not None or not session.handing:
            return
        lease, chunk = next(iter(session.handing))
        del session.handing[lease, chunk]
        found = self.kept.get((session.coordinator, lease, chunk))
        if found is None:
            gone = ChunkFailure(chunk=chunk, kind=FailureKind.ENVIRONMENT, detail="it is not kept any longer")
            messages: tuple[Message, ...] = (Results(lease=lease, failures=(gone,)),)
        else:
            messages = _handed_over(*found)
        session.handing_in_flight = lease
        self._emit(Send(session.number, messages, lease))

    def forget(self, session: Session, message: ForgetKept, now: float) -> None:
        """It has them, or has no use for them."""
        for chunk in message.chunks:
            session.handing.pop((message.lease, chunk), None)
            self.kept.drop((session.coordinator, message.lease, chunk))
        for other in self._abandoned(session.coordinator, message.lease):
            for chunk in message.chunks:
                self._stop(other, chunk, now)

    def paid(self, session: Session, lease: LeaseId, now: float) -> None:
        """Receipts come when a job has ended: nothing of it is waited for any more."""
        for key in self.kept.of_lease(session.coordinator, lease):
            self.kept.drop(key)
        for other in self._abandoned(session.coordinator, lease):
            self.end(other, now)

    def _abandoned(self, coordinator: PeerId, lease: LeaseId) -> list[Session]:
        mine = (one for one in self._sessions.sorted() if one.coordinator == coordinator)
        return [one for one in mine if one.orphan and one.orphan.terms.lease == lease]

    def _stop(self, session: Session, chunk: ChunkId, now: float) -> None:
        orphan = session.orphan
        slot = orphan.slot_of(chunk) if orphan else None
        if orphan is None or slot is None:
            return
        del orphan.running[slot]
        self._emit(StopChunk(session.number, orphan.terms.lease, slot))
        if not orphan.running:
            self.end(session, now)


def _handed_over(kept: KeptResult, data: bytes) -> tuple[Message, ...]:
    inline, parts = inline_or_parts(data)
    result = ChunkResult(
        chunk=kept.chunk,
        digest=kept.result,
        size_bytes=len(data),
        data=inline,
        compute_s=kept.compute_s,
        log=kept.log,
    )
    return (*parts, Results(lease=kept.lease, commitment=kept.commitment, results=(result,)))
