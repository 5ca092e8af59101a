"""The coordinator's rules for one job: who runs what, what counts, what is done again, when it ends.

`handle(event, now)` returns effects; `next_deadline()` says when to send a `Tick` if nothing happens.
Verification lives in `court.py`, hand-out and hedging in `dispatch.py`; this file joins them.
"""

from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Any

from protocol.achieved import checked_so_far
from protocol.audit_room import AuditRoom
from protocol.chunk import Chunk, ChunkState, Failure, Trigger, Vote
from protocol.chunk_book import ChunkBook
from protocol.court import Court
from protocol.dispatch import Dispatch
from protocol.job_events import (
    AuditDone,
    CancelJob,
    CancelReplicas,
    Dismiss,
    Effect,
    Ending,
    Event,
    FailureArrived,
    GaveUp,
    HeardFrom,
    ItemsAdded,
    ItemsClosed,
    JobEnded,
    KeptOffered,
    PauseJob,
    Proof,
    ResultArrived,
    Tick,
    WorkerCondemned,
    WorkerLost,
    WorkerReady,
)
from protocol.job_limits import NO_LIMITS, JobLimits
from protocol.limits import FAILURES_PER_CHUNK_MAX, FAULTS_PER_WORKER_MAX
from protocol.overdue import Overdue
from protocol.payroll import finalise
from protocol.plan_words import shortfall_line
from protocol.planner import DEFAULT_TARGET, Checked, Forecast, Target, forecast
from protocol.reclaim import Reclaim
from protocol.scheduling import Estimate
from protocol.verification import VerificationPolicy
from protocol.worker_book import WorkerBook


@dataclass(frozen=True, slots=True)
class JobRules:
    """What the submitter decided, as far as the machine needs it."""

    policy: VerificationPolicy
    can_audit: bool = True
    """Whether the coordinator can execute chunks itself, to audit and to settle disputes."""
    target: Target = DEFAULT_TARGET
    """What of the submitter's own machine audits may use, besides what the policy makes of it."""
    own_slots: int = 1
    self_checking: bool = False
    """Whether each result comes with what the job's own check says of it: then one is enough."""
    same_platform: bool = False
    """Whether replicas of a chunk go to workers of one platform alone; where none is left, an audit decides."""
    item_timeout_s: float = 600.0
    worker_wait_s: float = 20.0
    limits: JobLimits = NO_LIMITS


class JobMachine:
    """One job from its first item to its end. After `JobEnded` it takes events and does nothing."""

    def __init__(self, rules: JobRules, random: Random) -> None:
        self.rules = rules
        self.book = ChunkBook()
        self.workers = WorkerBook()
        self.estimate = Estimate()
        self.items_closed = False
        self.ended: JobEnded | None = None
        self.checked: Checked | None = None
        """How what was accepted last had been checked."""
        self._effects: list[Effect] = []
        self._stuck_since: float | None = None
        self._started_at = float("inf")
        replicas = 1 if rules.self_checking else rules.policy.replicas
        self.dispatch = Dispatch(self.book, self.workers, self.estimate, replicas, self._effects.append)
        self.overdue = Overdue(self.book, self.workers, self.dispatch, rules.item_timeout_s, self._effects.append)
        self._random = random
        self.room = AuditRoom(rules.target, rules.own_slots, self.estimate, random)
        self.court = Court(
            self.book, self.workers, self.dispatch, rules.policy, rules.can_audit, self.room, self._effects.append
        )
        self.reclaim = Reclaim(self.book, self.workers, self.dispatch, replicas, self._effects.append)
        self._handlers: dict[type[Any], Callable[[Any, float], None]] = {
            ItemsAdded: self._on_items,
            ItemsClosed: self._on_items_closed,
            WorkerReady: self._on_worker_ready,
            WorkerLost: self._on_worker_lost,
            WorkerCondemned: self._on_condemned,
            HeardFrom: self._on_heard,
            ResultArrived: self._on_result,
            KeptOffered: self.reclaim.offered,
            FailureArrived: self._on_failure,
            AuditDone: self._on_audit,
            CancelJob: self._on_cancel,
            PauseJob: self._on_pause,
            Tick: lambda event, now: None,
        }

    def handle(self, event: Event, now: float) -> tuple[Effect, ...]:
        """Take note of what happened at `now` (monotonic seconds) and say what to do."""
        if self.ended is None:
            self._started_at = min(self._started_at, now)
            self._handlers[type(event)](event, now)
            self._advance(now)
        effects = tuple(self._effects)
        self._effects.clear()
        return effects

    def next_deadline(self) -> float | None:
        """When to send a `Tick`, in the same clock as `now`; None when only an event can matter."""
        if self.ended is not None:
            return None
        moments = [self.dispatch.next_hedge(), self.workers.overdue_from, self.court.background_at()]
        moments.append(self.reclaim.next_at())
        moments.append(self._started_at + self.rules.limits.deadline_s)
        if self._stuck_since is not None:
            moments.append(self._stuck_since + self.rules.worker_wait_s)
        soonest = min(moments)
        return None if soonest == float("inf") else soonest

    def forecast(self) -> tuple[Forecast, str]:
        """What the job is expected to cost and to be worth with the peers at hand, and why that is below the target."""
        chunks, clean = self._expected_chunks(), self.workers.clean_at_start()
        audits = self.room.expected(chunks, self.workers.slots)
        plan = forecast(self.rules.target, max(2, self.court.policy.votes_wanted), chunks, clean, audits)
        return plan, shortfall_line(self.rules.target, plan, chunks, clean, audits)

    def checked_now(self) -> Checked | None:
        """How what counts at this moment has been checked: what would be promised if the job ended now."""
        if not self.book.settled:
            return self.checked
        return checked_so_far(self.book, self.workers, self.court.policy, self.rules.target, self.court.confirmed)

    def check_invariants(self) -> None:
        """Raises AssertionError when the books disagree; for tests after every step."""
        self.book.check_invariants()
        self.workers.check_invariants()
        for peer, worker in self.workers.active.items():
            for chunk_id in worker.outstanding:
                chunk = self.book.open.get(chunk_id)
                assert chunk is not None and peer in chunk.live, (peer, chunk_id)
            assert len(worker.outstanding) <= worker.offer.chunk_credit, peer
        for chunk in self.book.open.values():
            for peer in chunk.live:
                assert chunk.id in self.workers.active[peer].outstanding, (peer, chunk.id)

    # What happened.

    def _on_items(self, event: ItemsAdded, now: float) -> None:
        self.book.sizes_bytes.extend(event.sizes_bytes)
        self.room.start(now)
        self._fit_policy()

    def _on_items_closed(self, event: ItemsClosed, now: float) -> None:
        self.items_closed = True

    def _on_worker_ready(self, event: WorkerReady, now: float) -> None:
        if self.workers.banned(event.peer):
            self._effects.append(Dismiss(event.peer, "banned in this job"))
        else:
            self.workers.add(event, now)
            self.reclaim.adopt(event.peer, now)
            self._fit_policy()

    def _expected_chunks(self) -> int:
        """Items that cost little are many to a chunk; before their cost is known, each counts as one."""
        cut = self.book.cut_count
        items = len(self.book.sizes_bytes)
        return items if not cut else max(cut, round(items * cut / (items - self.book.uncut)))

    def _fit_policy(self) -> None:
        """More items or peers: the votes that the target asks for may be others."""
        chunks, clean = self._expected_chunks(), self.workers.clean_at_start()
        if chunks and clean:
            audits = self.room.expected(chunks, self.workers.slots)
            self.court.policy = self.court.policy.for_network(chunks, clean, audits)

    def _on_worker_lost(self, event: WorkerLost, now: float) -> None:
        self.dispatch.take_back_all(event.peer, event.reason, now)
        self.reclaim.lost(event.peer)

    def _on_condemned(self, event: WorkerCondemned, now: float) -> None:
        self.court.condemn(event.peer, event.reason, now, lied=event.lied)

    def _on_heard(self, event: HeardFrom, now: float) -> None:
        worker = self.workers.active.get(event.peer)
        if worker is None:
            return
        worker.last_heard = now
        for chunk_id in event.running:
            chunk = self.book.open.get(chunk_id)
            if chunk is not None and event.peer in chunk.live and chunk.live[event.peer].started_at is None:
                chunk.live[event.peer].started_at = now
                chunk.fire(Trigger.START, now)

    def _on_result(self, event: ResultArrived, now: float) -> None:
        worker = self.workers.active.get(event.peer)
        chunk = self.book.get(event.chunk)
        if chunk is None or event.peer in chunk.votes or not (worker or event.kept):
            return
        if worker is not None:
            worker.last_heard = worker.last_result_at = now
        if event.agreement is not None:
            chunk.align(event.key, event.agreement.peers, event.agreement.keys)
        if event.peer not in chunk.live and not (event.kept and self.reclaim.takes(chunk, event.peer)):
            if not self.rules.self_checking or event.proof is Proof.WRONG:
                self.court.late_result(chunk, event.peer, event.key, now)
            return
        self._count(chunk, event)
        if event.kept and event.peer in chunk.live:
            self._effects.append(CancelReplicas(event.peer, (chunk.id,)))  # Where it was given the same once more.
        self.reclaim.kept_its_word(chunk, event.peer)
        self.dispatch.returned(chunk, event.peer)
        chunk.votes[event.peer] = self._vote(event, local=worker is not None and worker.offer.local)
        chunk.fire(Trigger.COMMIT, now)
        if event.proof is Proof.RIGHT:
            self.court.prove(chunk, event.key, now)
        else:
            self.court.judge(chunk, now)

    def _vote(self, event: ResultArrived, local: bool) -> Vote:
        """The draw comes after the commitment and is told to nobody (commit before challenge)."""
        policy, tally = self.court.policy, self.workers.tallies[event.peer]
        return Vote(
            event.peer,
            event.key,
            event.compute_s,
            trusted=local,
            audit_drawn=self._random.random() < policy.probability(tally.record),
            newcomer=policy.is_newcomer(tally.record),
            refused=event.proof is Proof.WRONG,
            checks=tally.checks_passed(self.rules.target.assume_liars),
        )

    def _count(self, chunk: Chunk, event: ResultArrived) -> None:
        tally = self.workers.tallies[event.peer]
        tally.chunks += 1
        tally.items += chunk.count
        tally.compute_s += event.compute_s
        tally.handed_over += event.kept
        self.estimate.observe(event.compute_s, chunk.count)

    def _on_failure(self, event: FailureArrived, now: float) -> None:
        worker = self.workers.active.get(event.peer)
        chunk = self.book.open.get(event.chunk)
        if chunk is None or self.reclaim.withdraw(chunk, event.peer):
            return
        if worker is None or event.peer not in chunk.live:
            return
        worker.last_heard = worker.last_result_at = now
        tally = self.workers.tallies[event.peer]
        tally.failures += 1
        self.dispatch.returned(chunk, event.peer)
        if chunk.count > 1:
            chunk = self._isolate(chunk, event, now)
        chunk.failures[event.peer] = event.failure
        self._after_failure(chunk, event.failure, worker.offer.local, now)
        if tally.failures >= FAULTS_PER_WORKER_MAX and not tally.chunks and not worker.offer.local:
            self.dispatch.take_back_all(event.peer, f"{tally.failures} chunks failed, none came back", now)
            self._effects.append(Dismiss(event.peer, "too many failures"))

    def _isolate(self, chunk: Chunk, event: FailureArrived, now: float) -> Chunk:
        """One item must not take the others of its chunk down: give it a chunk of its own."""
        self.dispatch.call_off(chunk)
        chunk.votes.clear()
        chunk.fire(Trigger.SPLIT, now)
        self.book.touch(chunk)
        return self.book.split(chunk, event.failure.item, self.court.policy.replicas)

    def _after_failure(self, chunk: Chunk, failure: Failure, local: bool, now: float) -> None:
        exhausted = len(chunk.failures) >= FAILURES_PER_CHUNK_MAX or local
        if exhausted or not (chunk.live or self.dispatch.somebody_left_for(chunk)):
            self._give_up(chunk, failure, now)
        elif not chunk.live and not chunk.votes and chunk.state is not ChunkState.PENDING:
            chunk.fire(Trigger.EMPTY, now)
        self.book.touch(chunk)

    def _give_up(self, chunk: Chunk, failure: Failure, now: float) -> None:
        self.dispatch.call_off(chunk)
        chunk.votes.clear()
        chunk.fire(Trigger.GIVE_UP, now)
        self.book.touch(chunk)
        self._effects.append(GaveUp(self.dispatch.piece(chunk), failure, len(chunk.failures)))

    def _on_audit(self, event: AuditDone, now: float) -> None:
        chunk = self.book.get(event.chunk)
        if chunk is not None and event.key is not None and event.agreement is not None:
            chunk.align(event.key, event.agreement.peers, event.agreement.keys)
        if chunk is not None:
            self.court.audit_done(chunk, event, now)

    def _on_cancel(self, event: CancelJob, now: float) -> None:
        self._end(Ending.CANCELLED, "cancelled by the user")

    def _on_pause(self, event: PauseJob, now: float) -> None:
        self._end(Ending.PAUSED, "paused by the user")

    # What follows from it.

    def _advance(self, now: float) -> None:
        if self.ended is not None:
            return
        self.reclaim.expire(now)
        if now >= self.workers.overdue_from:
            self.overdue.dismiss(now)
        if self.court.verdict_on_job is not None:
            self._end(Ending.FAILED, self.court.verdict_on_job)
            return
        done = self.items_closed and not (self.book.open or self.book.uncut)
        if not done and (reached := self.rules.limits.reached(self.workers, now - self._started_at)):
            self._end(Ending.STOPPED, reached)
            return
        self.dispatch.hand_out(now)
        if self.rules.same_platform and self.rules.can_audit:
            self.court.audit_all(self.dispatch.without_takers(), now)
        self._finish_if_quiet()
        if self.ended is None:
            self.court.audit_in_background(now)
        self._watch_for_standstill(now)

    def _finish_if_quiet(self) -> None:
        if self.book.open or self.book.uncut or self.court.audits_pending:
            return
        if self.items_closed:
            self._end(Ending.DONE)
        else:
            self._finalise()

    def _finalise(self) -> None:
        self.checked = self.checked_now()
        self._effects.extend(finalise(self.book, self.workers))
        self.room.forget_all()

    def _watch_for_standstill(self, now: float) -> None:
        """Work is left, but nobody is at it and nobody here may take it."""
        busy = any(worker.outstanding for worker in self.workers.active.values()) or self.court.audits_pending
        busy = busy or self.reclaim.waits
        if self.ended is not None or busy or not (self.book.open or self.book.uncut):
            self._stuck_since = None
        elif self._stuck_since is None:
            self._stuck_since = now
        elif now >= self._stuck_since + self.rules.worker_wait_s:
            self._leave_standstill(now)

    def _leave_standstill(self, now: float) -> None:
        """Chunks that have failed on everybody who is left are given up; else the job cannot end well."""
        if self.court.settle_stuck(now):
            self._stuck_since = None
            return
        hopeless = [chunk for chunk in self.book.open.values() if chunk.failures]
        for chunk in hopeless:
            self._give_up(chunk, next(reversed(chunk.failures.values())), now)
        if hopeless:
            self._advance(now)
        else:
            self._end(Ending.FAILED if self.workers.active else Ending.NO_WORKER, self.standstill_reason())

    def standstill_reason(self) -> str:
        """Why nothing runs, in plain words."""
        active = len(self.workers.active)
        if not active:
            return "no worker took the job"
        needed = self.court.policy.replicas
        if needed > active:
            return f"{self.court.policy.name} needs {needed} independent peers, but only {active} took part"
        return "no peer is left that may take the remaining chunks"

    def _end(self, ending: Ending, reason: str = "") -> None:
        """Whatever the ending, what was accepted is paid for."""
        self._finalise()
        self.ended = JobEnded(ending, reason)
        self._effects.append(self.ended)
