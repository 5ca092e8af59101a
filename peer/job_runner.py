"""Runs one job: joins the pure machine to the workers, the local slots, the results and time.

No rule is made here: every event goes through `tell`, every effect through `_carry_out`.
"""

import logging
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial

import trio

from dht.directory import Directory
from peer.candidates import Candidates
from peer.deadline import DeadlineTimer
from peer.evidence import Evidence
from peer.job_items import JobItems
from peer.job_results import JobResults
from peer.job_setup import JobBooks, check_runnable, limits_of, manifest_of, needs_of, target_of
from peer.job_sum import STORY_LINES_MAX
from peer.job_terms import JobTerms
from peer.job_view import funnel_in_words, funnel_of, measured, worker_views
from peer.local_slots import LocalSlots, LocalWork
from peer.result_checks import ResultChecks, Said
from peer.seam import Execution, ExecutionFailure, Seam
from peer.views import JobRequest, JobState, JobView
from peer.worker_link import CheckedResult
from peer.worker_pool import WorkerPool
from protocol.adaptive import parse_policy
from protocol.chunk import Failure
from protocol.comparators import Kind, parse_comparator
from protocol.errors import LocalError
from protocol.ids import ChunkId, JobId, PeerId, short
from protocol.job_events import (
    AssignChunks,
    AuditDone,
    CancelJob,
    CancelReplicas,
    Dismiss,
    Effect,
    Ending,
    Event,
    FailureArrived,
    GaveUp,
    How,
    ItemsAdded,
    ItemsClosed,
    JobEnded,
    LieCaught,
    Pay,
    Piece,
    Proof,
    RecallAudit,
    ResultArrived,
    Revoked,
    RunAudit,
    Settled,
    Tick,
    Upheld,
    WorkerCondemned,
    WorkerReady,
)
from protocol.job_machine import JobMachine, JobRules
from protocol.limits import LOCAL_CHUNK_CREDIT

log = logging.getLogger(__name__)

SLOTS_WANTED_MAX = 4096

_STATE_OF = {
    Ending.DONE: JobState.DONE,
    Ending.FAILED: JobState.FAILED,
    Ending.NO_WORKER: JobState.FAILED,
    Ending.CANCELLED: JobState.CANCELLED,
    Ending.STOPPED: JobState.STOPPED,
}


class JobRunner:
    """One job. `run` returns when it has ended; `view` may be asked at any time.

    `numbers`: those in the job of the request's items, where these are a part of it that is run again.
    """

    def __init__(
        self,
        seam: Seam,
        directory: Directory,
        job: JobId,
        request: JobRequest,
        books: JobBooks,
        *,
        open_ended: bool,
        numbers: Sequence[int] | None = None,
    ) -> None:
        target = target_of(request)
        policy = parse_policy(request.verify, target)
        self._seam = seam
        self._job = job
        self._request = request
        self._books = books
        can_execute = check_runnable(request, policy, seam)
        self._open_ended = open_ended
        self._items = JobItems(numbers)
        self._sizes_bytes = self._items.add(request.items)
        comparator = parse_comparator(request.compare)
        self._candidates = Candidates(comparator, seam.data_folder)
        self._results = JobResults(books.results, self._candidates)
        self_checking = comparator.kind is Kind.VERIFY
        rules = JobRules(
            policy,
            can_execute,
            target,
            own_slots=max(1, request.local),
            self_checking=self_checking,
            same_platform=request.same_platform,
            item_timeout_s=request.item_timeout_s,
            worker_wait_s=request.worker_wait_s,
            limits=limits_of(request),
        )
        self._machine = JobMachine(rules, seam.random)
        self._timer = DeadlineTimer(self._machine.next_deadline, lambda: self.tell(Tick()))
        manifest = manifest_of(job, request)
        wanted = SLOTS_WANTED_MAX if open_ended else min(SLOTS_WANTED_MAX, len(self._items) * policy.replicas)
        terms = JobTerms(job, manifest, request, max(1, wanted), books.trust, books.on_stranger, needs_of(request))
        self._pool = WorkerPool(seam, directory, terms, self)
        self._evidence = Evidence(self._pool.manifest)
        work = LocalWork(seam.executor, manifest, self._items.payload, self._on_local, self._on_audited)
        self._local = LocalSlots(work, request.local)
        self._checks = ResultChecks(seam.executor, manifest, self._items, self._fail) if self_checking else None
        self._story: deque[str] = deque(maxlen=STORY_LINES_MAX)
        self._started_at = trio.current_time()
        self._ended_at: float | None = None
        self._ended_at_unix_s = 0.0
        self._state = JobState.CALLING
        self._message = ""
        self._finished = trio.Event()
        self._submitted_at_unix_s = seam.wall_clock()

    # Running.

    async def run(self) -> None:
        """From the first call to the last receipt. Cancelling leaves the job unfinished."""
        with self._candidates:
            await self._run()

    async def _run(self) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._pool.run)
            nursery.start_soon(self._local.run)
            if self._checks is not None:
                nursery.start_soon(self._checks.run)
            nursery.start_soon(self._timer.run)
            await trio.lowlevel.checkpoint()
            self._begin()
            await self._finished.wait()
            await self._pool.close(self._message or "the job is done")
            nursery.cancel_scope.cancel()

    def _begin(self) -> None:
        self.tell(ItemsAdded(self._sizes_bytes))
        if self._request.local:
            me = self._seam.host.peer_id
            self.tell(WorkerReady(me, self._request.local, LOCAL_CHUNK_CREDIT, price=0.0, speed=1.0, local=True))
        if not self._open_ended:
            self.tell(ItemsClosed())

    def tell(self, event: Event) -> None:
        """One event into the machine, its effects out. A local error ends the job, not the peer."""
        if self._finished.is_set():
            return
        try:
            for effect in self._machine.handle(event, trio.current_time()):
                self._books.on_effect(effect)
                self._carry_out(effect)
        except LocalError as error:
            self._fail(error)
        if not self._machine.book.open and not self._machine.book.settled:
            self._candidates.clear()
        if isinstance(event, WorkerReady) and self._state is JobState.CALLING:
            self._state = JobState.RUNNING
        self._timer.rearm()
        self._books.on_change()

    def add_items(self, items: Sequence[object]) -> range:
        """More items of an open job; returns their numbers. Raises `LocalError` naming a bad one."""
        first = len(self._items)
        sizes_bytes = self._items.add(items)
        self.tell(ItemsAdded(sizes_bytes))
        return range(first, len(self._items))

    def condemn(self, peer: PeerId, reason: str) -> None:
        """The peer was found lying elsewhere: what rests on its word alone is done again."""
        self.tell(WorkerCondemned(peer, reason))

    def close_items(self) -> None:
        """There will be no more items."""
        self.tell(ItemsClosed())

    def cancel(self) -> None:
        """End the job; what was accepted is kept and paid."""
        self.tell(CancelJob())

    # Effects.

    def _carry_out(self, effect: Effect) -> None:
        match effect:
            case AssignChunks(peer, pieces):
                self._assign(peer, pieces)
            case CancelReplicas(peer, chunks):
                self._cancel(peer, chunks)
            case RunAudit():
                self._audit(effect)
            case RecallAudit(chunk):
                self._local.recall(chunk)
            case Settled(piece, key, source, how):
                self._results.settle(piece, key, source or self._seam.host.peer_id, checked=how is not How.TRUSTED)
            case Upheld(piece):
                self._results.uphold(piece)
            case Revoked(piece):
                self._results.revoke(piece)
            case GaveUp(piece, failure, tried):
                self.note(f"item {self._items.number(piece.start)}: {failure.kind} on {tried} peer(s), given up")
                self._results.give_up(piece, failure, tried)
            case LieCaught():
                self._on_lie(effect)
            case Dismiss(peer, reason, for_good):
                self._pool.dismiss(peer, reason, for_good=for_good)
            case Pay():
                self._pay(effect)
            case JobEnded(ending, reason):
                self._on_ended(ending, reason)

    def _assign(self, peer: PeerId, pieces: tuple[Piece, ...]) -> None:
        if peer == self._seam.host.peer_id:
            self._local.assign(pieces)
        else:
            self._pool.assign(peer, [(piece, self._items.payload(piece)) for piece in pieces])

    def _cancel(self, peer: PeerId, chunks: tuple[ChunkId, ...]) -> None:
        if peer != self._seam.host.peer_id:
            self._pool.cancel(peer, chunks)
            return
        for chunk in chunks:
            self._local.cancel(chunk)

    def _audit(self, audit: RunAudit) -> None:
        if audit.disputed and not audit.fresh:
            self.note(f"results of {self._items.in_words(audit.piece)} differ: doing it again here to see who is right")
        self._local.audit(audit.piece, fresh=audit.fresh)

    def _on_lie(self, lie: LieCaught) -> None:
        items = self._items.in_words(lie.piece)
        self.note(f"{short(lie.peer)} caught lying about {items}: banned, {lie.revoked} accepted chunk(s) revoked")
        proof = self._evidence.against(lie.peer, lie.piece.chunk, self._items.payload(lie.piece), self._given_by(lie))
        follows = self._books.caught(lie.peer, f"wrong about {items} of job {self._job}", proof)
        self._pool.complain(lie.peer, f"{items} of job {self._job}; {follows}")

    def _given_by(self, lie: LieCaught) -> bytes:
        """The digest of a result shows a lie only where results are compared by their bytes."""
        exact = self._request.compare == "exact"
        return b"" if exact else self._candidates.given_by(lie.piece.chunk, lie.peer)

    def _pay(self, pay: Pay) -> None:
        receipt = self._pool.pay(pay)
        if receipt is not None:
            self._books.add_receipt(receipt)

    def _on_ended(self, ending: Ending, reason: str) -> None:
        if ending is Ending.NO_WORKER:
            reason = f"{reason}: {funnel_in_words(self._pool.auction, self._pool.lacking)}"
        self._end(_STATE_OF[ending], reason)

    def _fail(self, error: LocalError) -> None:
        log.error("job %s: %s", self._job, error)
        self._end(JobState.FAILED, str(error))

    def _end(self, state: JobState, message: str) -> None:
        if self._finished.is_set():
            return
        self._state, self._message = state, message
        self._ended_at, self._ended_at_unix_s = trio.current_time(), self._seam.wall_clock()
        self._finished.set()
        for peer, tally in self._machine.workers.tallies.items():
            if tally.banned is None and tally.clean > tally.clean_before:
                self._books.add_clean(peer, tally.clean - tally.clean_before, tally.audits)
        self._books.on_end()

    # Answers.

    def on_checked_result(self, peer: PeerId, result: CheckedResult) -> None:
        """From a worker."""
        self._evidence.keep(peer, result.piece.chunk, result.batch)

        def judged(proof: Proof | None, why: str) -> None:
            refused = proof is Proof.WRONG
            if refused:
                self.note(f"verify refuses the result of {short(peer)}: {why}")
            key = self._candidates.add(result.piece.chunk, peer, result.data, result.compute_s, refused=refused)
            self.tell(ResultArrived(peer, result.piece.chunk, key, result.compute_s, proof=proof))

        self._check(result.piece, result.data, judged)

    def _on_local(self, piece: Piece, answer: Execution | ExecutionFailure) -> None:
        me = self._seam.host.peer_id
        if isinstance(answer, ExecutionFailure):
            self.tell(FailureArrived(me, piece.chunk, Failure(answer.kind, answer.item, answer.detail)))
        else:
            self._check_own(piece, answer, partial(ResultArrived, me))

    def _on_audited(self, piece: Piece, answer: Execution | ExecutionFailure) -> None:
        if isinstance(answer, ExecutionFailure):
            self.tell(AuditDone(piece.chunk, None, detail=answer.detail))
        else:
            self._check_own(piece, answer, AuditDone)

    def _check_own(self, piece: Piece, answer: Execution, make: Callable[..., Event]) -> None:
        if answer.log:
            self.on_log(self._seam.host.peer_id, piece.chunk, answer.log)

        def judged(proof: Proof | None, why: str) -> None:
            if proof is Proof.WRONG:
                self.note(f"verify refuses a result of this machine: {why}")
            key, agreement = self._candidates.add_own(piece.chunk, answer.data, answer.compute_s)
            self.tell(make(piece.chunk, key, answer.compute_s, agreement=agreement, proof=proof))

        self._check(piece, answer.data, judged)

    def _check(self, piece: Piece, data: bytes, judged: Said) -> None:
        """At once where the job has no check of its own. A local error ends the job."""

        def guarded(proof: Proof | None, why: str) -> None:
            try:
                judged(proof, why)
            except LocalError as error:
                self._fail(error)

        if self._checks is None:
            guarded(None, "")
        else:
            self._checks.add(piece, data, guarded)

    def on_log(self, peer: PeerId, chunk: ChunkId, text: bytes) -> None:
        """Output of a chunk, wherever it ran."""
        self._books.add_log(self._job, chunk, peer, text.decode(errors="replace"))

    def note(self, line: str) -> None:
        """A line of the job's story, with the seconds since its start."""
        self._story.append(f"{trio.current_time() - self._started_at:7.1f} s  {line}")
        self._books.on_change()

    # What people see.

    async def wait_finished(self) -> None:
        """Until the job has ended."""
        await self._finished.wait()

    @property
    def finished(self) -> bool:
        """Whether the job has ended."""
        return self._finished.is_set()

    def view(self) -> JobView:
        """The job at this moment."""
        until = self._ended_at if self._ended_at is not None else trio.current_time()
        sent, received = self._pool.traffic()
        view = JobView(
            id=self._job,
            name=self._request.name,
            state=self._state,
            runtime=self._request.runtime,
            verify=self._request.verify,
            compare=self._request.compare,
            comparison=(self._checks or self._candidates).in_words(),
            max_error=self._request.max_error,
            assume_liars=self._request.assume_liars,
            message=self._message or self._waiting_for(),
            submitted_at_unix_s=self._submitted_at_unix_s,
            ended_at_unix_s=self._ended_at_unix_s,
            elapsed_s=until - self._started_at,
            items=len(self._items),
            workers=worker_views(self._machine, self._pool.auction, self._seam.host.peer_id),
            funnel=funnel_of(self._pool.auction, self._pool.lacking),
            bytes_sent=sent,
            bytes_received=received,
            events=list(self._story),
        )
        return measured(view, self._machine, self._results)

    def _waiting_for(self) -> str:
        others = [one for one in self._machine.workers.active.values() if not one.offer.local]
        if self._finished.is_set() or others:
            return ""
        if not self._pool.searched:
            return "looking for workers in the directory"
        return f"looking for workers: {funnel_in_words(self._pool.auction, self._pool.lacking)}"
