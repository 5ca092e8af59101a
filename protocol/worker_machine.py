"""The worker's rules: who gets a bid, who gets a lease, what runs, what is answered, what was earned.

`handle(event, now)` returns effects; `next_deadline()` says when to send a `Tick` if nothing happens.
`worker_transitions.py` lists what may happen when. A message that it does not list is the
coordinator's fault (`BadFrame`), another event is ours (`IllegalTransition`). After a `RemoteError` the
driver resets the stream and reports `SessionEnded`; the other sessions are not touched.
"""

from collections import deque
from collections.abc import Callable, Mapping
from random import Random
from typing import Any

from protocol.admission import Admission
from protocol.errors import BadFrame, IllegalTransition, ParallelPeerError
from protocol.kept_desk import KeptDesk
from protocol.kept_results import KeptFor, KeptResults, KeptShelf, MemoryShelf
from protocol.limits import SESSION_IDLE_S
from protocol.messages import Message
from protocol.messages.job import (
    Assign,
    Award,
    Call,
    CancelChunks,
    Heartbeat,
    Leaving,
    Outbid,
    PayloadPart,
    Receipts,
    Refusal,
    RefusalReason,
    Release,
)
from protocol.signing import Identity
from protocol.worker_auction import Auction
from protocol.worker_events import (
    Effect,
    EndLease,
    EndSession,
    Event,
    HearComplaint,
    KeepReceipt,
    Received,
    Resume,
    Send,
    Sent,
    SessionEnded,
    SessionOpened,
    SlotEvent,
    StartLease,
    Stop,
    Suspend,
    Tick,
)
from protocol.worker_lease import Lease, LeaseTerms
from protocol.worker_ledger import Ledger
from protocol.worker_memory import NO_MEMORY, WorkerMemory
from protocol.worker_policy import Free, Problem, WorkerPolicy
from protocol.worker_session import Session
from protocol.worker_sessions import Sessions
from protocol.worker_transitions import TRANSITIONS, Action, SessionState

STORY_LENGTH_MAX = 32


class WorkerMachine:
    """All sessions of one worker. `environments` gives the digest of each runtime that it offers.

    `shelf` is where results are kept for coordinators that vanished; what it has from before is taken in by `restore`.
    """

    def __init__(
        self,
        identity: Identity,
        policy: WorkerPolicy,
        environments: Mapping[str, bytes],
        random: Random,
        memory: WorkerMemory = NO_MEMORY,
        shelf: KeptShelf | None = None,
    ) -> None:
        self.policy = policy
        self.ledger = Ledger(identity.peer_id)
        self.sessions = Sessions()
        self.stopping = False
        self.suspended: str | None = None
        """Why the owner allows no work at this moment."""
        self._identity = identity
        self._memory = memory
        self._auction = Auction(policy, environments, random)
        self._admission = Admission(policy, self.sessions, self._auction, self.ledger, memory, self._let_go)
        self._chunks_run_before = 0
        self._effects: list[Effect] = []
        kept = KeptResults(shelf or MemoryShelf())
        self._desk = KeptDesk(self.sessions, self.ledger, kept, policy, lambda effect: self._effects.append(effect))
        self._story: deque[tuple[float, int, SessionState, str]] = deque(maxlen=STORY_LENGTH_MAX)
        self._handlers: dict[Action, Callable[[Any, Any, float], None]] = {
            Action.END: self._on_ended,
            Action.ANSWER_CALL: self._on_call,
            Action.FREE_BID: self._on_outbid,
            Action.ANSWER_AWARD: self._on_award,
            Action.COLLECT: self._on_part,
            Action.ASSIGN: self._on_assign,
            Action.CANCEL: self._on_cancel,
            Action.LIVE: self._on_heartbeat,
            Action.RELEASE: self._on_release,
            Action.RECEIPT: self._on_receipts,
            Action.SLOT: self._on_slot,
            Action.SENT: self._on_sent,
            Action.HAND_OVER: lambda session, message, now: self._desk.fetch(session, message),
            Action.FORGET: self._desk.forget,
            Action.ABANDON: lambda session, event, now: self._desk.abandon(session, now),
        }

    def handle(self, event: Event, now: float) -> tuple[Effect, ...]:
        """What is to be done, in this order. Raises `RemoteError` for a breach by the event's session."""
        self._effects = []
        match event:
            case Tick():
                self._on_tick(now)
            case Stop():
                self._on_stop(now)
            case Suspend(reason=reason):
                self._on_suspend(reason, now)
            case Resume():
                self.suspended = None
            case Received(session=number, message=message):
                self._on_session(number, event, message, now)
            case _:
                self._on_session(event.session, event, event, now)
        effects, self._effects = tuple(self._effects), []
        return effects

    def next_deadline(self) -> float:
        """When to send a `Tick`; infinity when nothing is due."""
        return min(self.sessions.next_deadline(), self._desk.kept.next_deadline())

    def restore(self, now: float) -> None:
        """Take in what was kept before a restart: to be called once, before the first event."""
        self._desk.restore(now)

    # Questions.

    def kept(self) -> list[KeptFor]:
        """For which coordinators how much is kept."""
        return self._desk.kept.sums()

    @property
    def slots_busy(self) -> int:
        """Slots that are leased, or still run something for a coordinator that has vanished."""
        orphans = sum(session.orphan.cores for session in self.sessions.sorted() if session.orphan)
        return min(self.policy.slots, sum(lease.terms.cores for lease in self.sessions.leases()) + orphans)

    @property
    def lease_count(self) -> int:
        """Leases in force."""
        return len(self.sessions.leases())

    @property
    def chunks_run(self) -> int:
        """Chunks that ran, in all leases."""
        return (
            self._chunks_run_before + self._desk.chunks_run + sum(lease.chunks_run for lease in self.sessions.leases())
        )

    def free(self) -> Free:
        """What is neither leased nor reserved by a bid."""
        return self.sessions.free(self.policy)

    def pause_if_full(self, session: int) -> bool:
        """Whether the driver must stop reading this stream until `ReadOn`, since too much input waits."""
        known = self.sessions.get(session)
        if known is None or known.lease is None or not known.lease.pause_if_full():
            return False
        self.sessions.note_deadline(known)
        return True

    def check_invariants(self) -> None:
        """Raise AssertionError when the books do not agree."""
        self.sessions.check_invariants(self.policy)
        self._desk.kept.check_invariants()
        assert not (self.stopping and self.sessions.leases()), "still working after the stop"

    # Dispatch.

    def _on_session(self, number: int, event: Event, content: object, now: float) -> None:
        session = self.sessions.get(number)
        state = session.state if session else SessionState.ABSENT
        kind = type(content)
        self._story.append((now, number, state, kind.__name__))
        action = TRANSITIONS.get((state, kind))
        if action is None:
            raise self._illegal(event, state, kind.__name__)
        if isinstance(content, SessionOpened):
            self._on_opened(content, now)
        elif action is not Action.IGNORE:
            self._handlers[action](session, content, now)
        self._settle(number, now)

    def _settle(self, number: int, now: float) -> None:
        session = self.sessions.get(number)
        if session is None:
            return
        if session.lease:
            self._effects += session.lease.pump(now)
        self.sessions.note_deadline(session)

    def _illegal(self, event: Event, state: SessionState, kind: str) -> ParallelPeerError:
        if isinstance(event, Received):
            return BadFrame(f"{kind} does not belong here: the session is {state}")
        story = "; ".join(f"{at:.3f} session {number} {before}: {what}" for at, number, before, what in self._story)
        return IllegalTransition(f"the session is {state}: {kind} is not allowed. Story: {story}")

    # Sessions.

    def _on_opened(self, event: SessionOpened, now: float) -> None:
        session = Session(event.session, event.coordinator, now)
        has_room = self.sessions.has_room_for(event.coordinator)
        self.sessions.add(session)
        if not has_room:
            self._end_session(session, "too many job streams")

    def _on_ended(self, session: Session, _: SessionEnded, now: float) -> None:
        self._desk.end(session, now)
        self._end_lease(session, now)
        self.sessions.remove(session)

    def _on_silence(self, session: Session, lease: Lease, now: float) -> None:
        """The stream may be dead without a word: what may be of use when the coordinator is back is kept."""
        reason = "no heartbeat of the coordinator"
        if not lease.is_worth_keeping:
            self._leave(session, reason, now)
            return
        self._say_farewell(session, lease, reason, now)
        self._desk.abandon(session, now)
        self._end_session(session, reason)

    def _on_tick(self, now: float) -> None:
        self._desk.kept.expire(now)
        for session in self.sessions.due(now):
            if session.bid and session.bid.lapses_at <= now:
                session.drop_bid(now)
            if session.lease and session.lease.is_silent(now):
                self._on_silence(session, session.lease, now)
            if session.is_forgotten(now):
                self._end_session(session, f"no call for {SESSION_IDLE_S:.0f} s")
            self._settle(session.number, now)

    def _on_stop(self, now: float) -> None:
        self.stopping = True
        for session in self.sessions.sorted():
            self._drop_all(session, (RefusalReason.STOPPING, ""), "the worker is stopping", now)
            if not session.ending:
                self._end_session(session, "the worker is stopping")
            self._settle(session.number, now)

    def _on_suspend(self, reason: str, now: float) -> None:
        """Streams stay open: the coordinators may call again."""
        self.suspended = reason
        for session in self.sessions.sorted():
            self._drop_all(session, (RefusalReason.PAUSED, reason), reason, now)
            self._settle(session.number, now)

    def _drop_all(self, session: Session, refusal: Problem, reason: str, now: float) -> None:
        """No bid and no lease from now on; what is finished is still handed over."""
        if session.bid:
            self._refuse(session, session.bid.call.call_id, refusal)
            session.drop_bid(now)
        if session.lease or session.orphan:
            self._leave(session, reason, now)

    def _end_session(self, session: Session, reason: str) -> None:
        session.ending = True
        self._effects.append(EndSession(session.number, reason))

    # The auction.

    def _on_call(self, session: Session, call: Call, now: float) -> None:
        session.drop_bid(now)
        problem = self._may_i(session, call, now)
        if problem is None or problem[0] is not RefusalReason.TOO_MANY_CALLS:
            self._desk.on_call(session, call, now)
        if problem := problem or self._admission.can_i_now(session, call, now):
            self._refuse(session, call.call_id, problem)
            return
        session.bid = self._auction.bid(call, self._admission.free_for(session, call), now)
        self._send(session, session.bid.message)

    def _may_i(self, session: Session, call: Call, now: float) -> Problem | None:
        if self.stopping:
            return RefusalReason.STOPPING, ""
        if self.suspended is not None:
            return RefusalReason.PAUSED, self.suspended
        return self._admission.may_i(session, call, now)

    def _let_go(self, session: Session, reason: str, now: float) -> None:
        self._leave(session, reason, now)
        self._settle(session.number, now)

    def _on_outbid(self, session: Session, message: Outbid, now: float) -> None:
        if session.bid and session.bid.message.bid == message.bid:
            session.drop_bid(now)

    def _on_award(self, session: Session, award: Award, now: float) -> None:
        terms = self._auction.accept(award, session.bid, session.number, session.coordinator)
        session.drop_bid(now)
        if isinstance(terms, LeaseTerms) and self.ledger.knows(award.lease):
            terms = RefusalReason.BID_UNKNOWN, "this lease id was used before"
        if isinstance(terms, LeaseTerms):
            self._start_lease(session, terms, now)
        else:
            self._refuse(session, award.call_id, terms)

    def _start_lease(self, session: Session, terms: LeaseTerms, now: float) -> None:
        self.ledger.open(terms.lease, terms.job, terms.coordinator)
        session.lease = Lease(terms, self._identity, now)
        self._send(session, session.lease.ready(self._memory.introductions(session.coordinator)))
        self._effects.append(StartLease(session.number, terms.lease, terms.manifest, terms.slots))

    # A lease.

    def _on_part(self, session: Session, part: PayloadPart, now: float) -> None:
        if session.lease:
            session.lease.heard(now)
        elif not session.past_leases:
            raise BadFrame("a payload without a lease")
        session.payloads.feed(part)

    def _on_assign(self, session: Session, message: Assign, now: float) -> None:
        lease = session.lease_named(message.lease, now)
        chunks = [(one.chunk, session.payloads.open(one.digest, one.data), one.handed_out) for one in message.chunks]
        if lease:
            lease.assign(chunks)

    def _on_cancel(self, session: Session, message: CancelChunks, now: float) -> None:
        if lease := session.lease_named(message.lease, now):
            self._effects += lease.cancel(message.chunks)

    def _on_heartbeat(self, session: Session, message: Heartbeat, now: float) -> None:
        if lease := session.lease_named(message.lease, now):
            lease.unsettled.settle(message.settled)

    def _on_release(self, session: Session, message: Release, now: float) -> None:
        if session.lease_named(message.lease, now):
            if message.complaint:
                self._effects.append(HearComplaint(session.number, session.coordinator, message.complaint))
            self._desk.end_all_of(session, now)
            self._end_lease(session, now)

    def _on_receipts(self, session: Session, message: Receipts, now: float) -> None:
        if session.lease:
            session.lease.heard(now)
        receipt = self.ledger.take(message.lease, message.receipt, session.coordinator)
        self._effects.append(KeepReceipt(session.number, message.receipt, receipt))
        self._desk.paid(session, message.lease, now)

    def _on_slot(self, session: Session, event: SlotEvent, now: float) -> None:
        if session.lease and session.lease.terms.lease == event.lease:
            session.lease.on_slot(event, now)
        elif session.orphan and session.orphan.terms.lease == event.lease:
            self._desk.on_slot(session, event, now)

    def _on_sent(self, session: Session, event: Sent, now: float) -> None:
        if session.lease and session.lease.terms.lease == event.lease:
            session.lease.answers.in_flight -= 1
        else:
            self._desk.on_sent(session, event.lease)

    def _leave(self, session: Session, reason: str, now: float) -> None:
        """The worker ends the lease, or what still runs of one."""
        self._desk.end(session, now)
        if session.lease:
            self._say_farewell(session, session.lease, reason, now)
            self._end_lease(session, now)

    def _say_farewell(self, session: Session, lease: Lease, reason: str, now: float) -> None:
        self._effects += lease.flush(now, force=True)
        self._send(session, Leaving(lease=lease.terms.lease, reason=reason))

    def _end_lease(self, session: Session, now: float) -> None:
        if session.lease:
            self._chunks_run_before += session.lease.chunks_run
            self.ledger.close(session.lease.terms.lease, session.lease.compute_s, now)
            self._effects.append(EndLease(session.number, session.lease.terms.lease))
            session.drop_lease(now)

    def _refuse(self, session: Session, call_id: int, problem: Problem) -> None:
        self._send(session, Refusal(call_id=call_id, reason=problem[0], detail=problem[1]))

    def _send(self, session: Session, message: Message) -> None:
        self._effects.append(Send(session.number, (message,)))
