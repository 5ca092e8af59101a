"""Judging results: votes, audits, disputes, and what follows when a lie is caught (DESIGN section 8).

Called by `job_machine` alone. A peer is convicted only by a re-execution that is known to repeat: two
executions by the coordinator, or one that an independent peer agrees with. A function that gives
something else each time ends the job with a message instead of convicting honest peers.
"""

from collections.abc import Callable, Sequence

from protocol.audit_room import AuditRoom
from protocol.chunk import SETTLED, Chunk, ChunkState, Trigger, Vote
from protocol.chunk_book import ChunkBook
from protocol.dispatch import Dispatch
from protocol.ids import PeerId
from protocol.job_events import (
    AuditDone,
    Dismiss,
    Effect,
    How,
    LieCaught,
    Proof,
    RecallAudit,
    Revoked,
    RunAudit,
    Settled,
    Upheld,
)
from protocol.verification import (
    AcceptTrusted,
    AcceptVoted,
    Disputed,
    NeedAudit,
    NeedCheck,
    NeedMore,
    VerificationPolicy,
    majority,
)
from protocol.worker_book import WorkerBook

_TRIGGER_OF = {How.AUDITED: Trigger.AUDIT, How.VOTED: Trigger.VOTE, How.TRUSTED: Trigger.TRUST}

NOT_DETERMINISTIC = (
    "the function gave different results for the same items on this machine, so no result can be checked: "
    "make it deterministic (seed its random numbers from the item), say how far results may differ (--compare) or use "
    "--verify none"
)
CHECK_REFUSES_OWN = (
    "the job's own verify(item, result) refuses a result that this machine computed itself: correct it, or use "
    "another --compare"
)


class Court:
    """Settles chunks, and takes back what a liar had a part in."""

    def __init__(
        self,
        book: ChunkBook,
        workers: WorkerBook,
        dispatch: Dispatch,
        policy: VerificationPolicy,
        can_audit: bool,
        room: AuditRoom,
        emit: Callable[[Effect], None],
    ) -> None:
        self._book = book
        self._workers = workers
        self._dispatch = dispatch
        self.policy = policy
        self._can_audit = can_audit
        self._room = room
        self._emit = emit
        self.audits_pending = 0
        self.audits = 0
        self.confirmed = 0
        """Chunks that counted already when an audit found them right."""
        self.audited_items = 0
        self.audit_compute_s = 0.0
        self.votes = 0
        self.mismatches = 0
        self.revoked = 0
        self.verdict_on_job: str | None = None

    def prove(self, chunk: Chunk, key: bytes, now: float) -> None:
        """The job's own check says that this result is right, so what it refused before was a lie."""
        if chunk.audit_pending:
            self._drop_audit(chunk)
        refused = {vote.worker: vote.key for vote in chunk.votes.values() if vote.refused}
        self._credit(chunk, key)
        self._settle(chunk, key, How.AUDITED, now)
        self._book.touch(chunk)
        for peer in sorted(refused):
            self.catch(peer, chunk, refused[peer], now)

    def judge(self, chunk: Chunk, now: float) -> None:
        """Decide on the votes at hand."""
        own = [vote for vote in chunk.votes.values() if vote.trusted]
        if any(vote.refused for vote in own):
            self.verdict_on_job = CHECK_REFUSES_OWN
            return
        if own and not chunk.audit_keys:
            self._confront(chunk, own[0].key, now)
        elif not chunk.audit_pending:
            self._apply(chunk, now)
        self._book.touch(chunk)

    def _apply(self, chunk: Chunk, now: float) -> None:
        if any(vote.refused for vote in chunk.votes.values()):
            # The check may be at fault and not the worker: a result of our own will show.
            self.mismatches += 1
            self.ask_for_audit(chunk, now)
            return
        match self.policy.judge(tuple(chunk.votes.values())):
            case AcceptVoted(key):
                self.votes += 1
                self._settle(chunk, key, How.VOTED, now)
            case AcceptTrusted(key):
                self._settle(chunk, key, How.TRUSTED, now)
            case NeedMore(count):
                chunk.wanted = count
            case NeedCheck(count) if chunk.live or now < self._room.opens_at(chunk.count, self.audits_pending):
                chunk.wanted = count
            case NeedCheck() | NeedAudit():
                self.ask_for_audit(chunk, now)
            case Disputed():
                self.mismatches += 1
                self.ask_for_audit(chunk, now)

    # Audits.

    def ask_for_audit(self, chunk: Chunk, now: float) -> None:
        """Have the coordinator execute the chunk; where it cannot, more votes decide."""
        if not self._can_audit:
            self._settle_by_votes(chunk, self.policy.decide(_not_refused(chunk)), now)
            return
        chunk.wanted = 0
        chunk.audit_pending = True
        self.audits_pending += 1
        keys = {vote.key for vote in chunk.votes.values()} | set(chunk.audit_keys)
        self._emit(RunAudit(Dispatch.piece(chunk), disputed=len(keys) > 1, fresh=bool(chunk.audit_keys)))

    def audit_in_background(self, now: float) -> None:
        """Have a result that counts already executed here, if there is room and nothing more urgent."""
        if self.audits_pending or now < self.background_at() or (chunk := self._room.draw()) is None:
            return
        self.ask_for_audit(chunk, now)

    def settle_stuck(self, now: float) -> bool:
        """Where no further peer can give its vote, an execution here decides, room or not; whether there was such.

        A coordinator that cannot execute takes the majority that there is.
        """
        if not self.policy.audits_in_background:
            return False
        stuck = [chunk for chunk in self._book.open.values() if chunk.votes and not chunk.audit_pending]
        if not self._can_audit:
            return self._settle_by_plain_majority(stuck, now)
        self.audit_all(stuck, now)
        return bool(stuck)

    def audit_all(self, chunks: Sequence[Chunk], now: float) -> None:
        """Have these executed here."""
        for chunk in chunks:
            self.ask_for_audit(chunk, now)
            self._book.touch(chunk)

    def _settle_by_plain_majority(self, stuck: Sequence[Chunk], now: float) -> bool:
        found = [(chunk, majority(_not_refused(chunk), self.policy.votes_wanted)) for chunk in stuck]
        decided = [(chunk, key) for chunk, key in found if key is not None]
        for chunk, key in decided:
            self._settle_by_votes(chunk, key, now)
            self._book.touch(chunk)
        return bool(decided)

    def background_at(self) -> float:
        """When there is room for the next audit of a result that counts; infinity where there will be none."""
        possible = self._can_audit and self.policy.audits_in_background and not self.audits_pending
        return self._room.next_at() if possible else float("inf")

    def audit_done(self, chunk: Chunk, event: AuditDone, now: float) -> None:
        """The coordinator has executed the chunk itself, or could not."""
        if not chunk.audit_pending:
            return
        chunk.audit_pending = False
        self.audits_pending -= 1
        self.audits += 1
        self.audited_items += chunk.count
        self.audit_compute_s += event.compute_s
        self._room.spend(event.compute_s)
        chunk.audit_failed = event.key is None
        if chunk.state in SETTLED:
            self._review(chunk, event.key, now)
        elif event.proof is Proof.WRONG:
            self.verdict_on_job = CHECK_REFUSES_OWN
        elif event.proof is Proof.RIGHT and event.key is not None:
            self.prove(chunk, event.key, now)
        elif event.key is None:
            self._settle_by_votes(chunk, self.policy.decide(_not_refused(chunk)), now)
        else:
            self._confront(chunk, event.key, now)
        self._book.touch(chunk)

    def _confront(self, chunk: Chunk, key: bytes, now: float) -> None:
        """Hold our own result against what the workers gave."""
        chunk.audit_keys.append(key)
        theirs = [vote for vote in chunk.votes.values() if not vote.trusted]
        repeats = chunk.audit_keys.count(key) > 1 or any(vote.key == key for vote in theirs)
        if repeats or not theirs:
            self._decide(chunk, key, now)
        elif len(chunk.audit_keys) > 1:
            self.verdict_on_job = NOT_DETERMINISTIC
        else:
            self.ask_for_audit(chunk, now)

    def _review(self, chunk: Chunk, key: bytes | None, now: float) -> None:
        """Hold our own result against one that counts already."""
        if key is None or chunk.state is ChunkState.AUDITED:
            return
        if key != chunk.accepted_key:
            self._doubt(chunk, key, now)
            return
        self.confirmed += 1
        self._credit(chunk, key)
        chunk.audit_keys.clear()
        chunk.fire(Trigger.AUDIT, now)
        self._emit(Upheld(Dispatch.piece(chunk)))

    def _doubt(self, chunk: Chunk, key: bytes, now: float) -> None:
        """One execution of ours is no proof: the function may give something else each time."""
        chunk.audit_keys.append(key)
        repeats = chunk.audit_keys.count(key) > 1 or any(vote.key == key for vote in chunk.votes.values())
        if repeats:
            self.revoked += 1
            self._emit(Revoked(Dispatch.piece(chunk)))
            self._decide(chunk, key, now)
        elif len(chunk.audit_keys) > 1:
            self.verdict_on_job = NOT_DETERMINISTIC
        else:
            self.ask_for_audit(chunk, now)

    def _credit(self, chunk: Chunk, key: bytes) -> None:
        """Those who gave this result passed an audit."""
        for peer, vote in chunk.votes.items():
            if vote.key == key and not vote.trusted:
                tally = self._workers.tallies[peer]
                tally.audits += 1
                self._count_for(chunk, peer)

    def _count_for(self, chunk: Chunk, peer: PeerId) -> None:
        if peer not in chunk.counted:
            self._workers.tallies[peer].clean += 1
            chunk.counted += (peer,)

    def _decide(self, chunk: Chunk, key: bytes, now: float) -> None:
        liars = sorted(peer for peer, vote in chunk.votes.items() if vote.key != key)
        self._credit(chunk, key)
        given = {peer: chunk.votes[peer].key for peer in liars}
        self._settle(chunk, key, How.AUDITED, now)
        for peer in liars:
            self.catch(peer, chunk, given[peer], now)

    def _settle_by_votes(self, chunk: Chunk, key: bytes | None, now: float) -> None:
        """Where we cannot run the chunk ourselves, votes decide, or one more is needed; the others leave the job."""
        if key is None:
            chunk.wanted = 1
            return
        votes = tuple(chunk.votes.values())
        self.votes += 1
        self._settle(chunk, key, How.VOTED, now)
        for vote in sorted(votes, key=lambda vote: vote.worker):
            if vote.key != key:
                self.catch(vote.worker, chunk, vote.key, now, outvoted=True)

    def late_result(self, chunk: Chunk, peer: PeerId, key: bytes, now: float) -> None:
        """Of a settled chunk: no use any more, but a lie all the same where it is sure what is right."""
        right = chunk.accepted_key
        if chunk.state is not ChunkState.AUDITED or right is None or key == right:
            return
        agreed = any(vote.key == right and not vote.trusted for vote in chunk.votes.values())
        if agreed or chunk.audit_keys.count(right) > 1:
            self.catch(peer, chunk, key, now)

    # Settling and revoking.

    def _settle(self, chunk: Chunk, key: bytes, how: How, now: float) -> None:
        self._dispatch.call_off(chunk)
        chunk.accepted_key = key
        chunk.fire(_TRIGGER_OF[how], now)
        if how is not How.AUDITED and self.policy.audits_in_background:
            self._count_clean(chunk, key)
        source = min((peer for peer, vote in chunk.votes.items() if vote.key == key), default=None)
        self._emit(Settled(Dispatch.piece(chunk), key, source, how))

    def _count_clean(self, chunk: Chunk, key: bytes) -> None:
        """It may be audited yet. By the design law it counts for its workers until one of theirs is found wrong."""
        self._room.add(chunk)
        checked = len(chunk.votes) > 1
        for peer, vote in chunk.votes.items():
            if vote.key == key and not vote.trusted:
                self._count_for(chunk, peer)
                self._workers.tallies[peer].agreed += checked

    def catch(self, peer: PeerId, chunk: Chunk, given: bytes, now: float, *, outvoted: bool = False) -> None:
        """The peer lied: it leaves the job and everything that rests on its word is done again."""
        if self.condemn(peer, "outvoted" if outvoted else "caught lying", now):
            revoked = self._workers.tallies[peer].revoked
            self._emit(LieCaught(peer, Dispatch.piece(chunk), given, chunk.accepted_key or b"", revoked, outvoted))

    def condemn(self, peer: PeerId, reason: str, now: float, *, lied: bool = True) -> bool:
        """The peer leaves the job, and nothing that it gave counts but what we executed ourselves.

        Whether that changes anything: not for one that never took part or has been condemned before.
        """
        tally = self._workers.tallies.get(peer)
        if tally is None or tally.banned is not None:
            return False
        tally.banned, tally.lied = reason, lied
        tally.clean = 0
        self._dispatch.take_back_all(peer, reason, now)
        self._emit(Dismiss(peer, reason))
        before = self.revoked
        for other in self._book.with_vote_of(peer):
            del other.votes[peer]
            other.forget_party(peer)
            self._reconsider(other, now)
        tally.revoked = self.revoked - before
        return True

    def _reconsider(self, chunk: Chunk, now: float) -> None:
        if chunk.state is ChunkState.AUDITED:
            return
        if chunk.state in SETTLED:
            if self._still_stands(chunk):
                return
            self.revoked += 1
            chunk.accepted_key = None
            chunk.fire(Trigger.REVOKE, now)
            self._emit(Revoked(Dispatch.piece(chunk)))
        self._recall_needless_audit(chunk)
        if not chunk.votes:
            chunk.fire(Trigger.WITHDRAW if chunk.live else Trigger.EMPTY, now)
            chunk.wanted = self.policy.replicas
        elif not chunk.audit_pending:
            self._apply(chunk, now)
        self._book.touch(chunk)

    def _recall_needless_audit(self, chunk: Chunk) -> None:
        """Where nobody disputes any more what is left of the votes: one liar's hundred lies need one execution."""
        if not chunk.audit_pending or chunk.audit_keys:
            return
        if any(vote.refused for vote in chunk.votes.values()):
            return
        if chunk.votes and isinstance(self.policy.judge(tuple(chunk.votes.values())), NeedCheck | NeedAudit | Disputed):
            return
        self._drop_audit(chunk)

    def _drop_audit(self, chunk: Chunk) -> None:
        chunk.audit_pending = False
        self.audits_pending -= 1
        self._emit(RecallAudit(chunk.id))

    def _still_stands(self, chunk: Chunk) -> bool:
        match self.policy.judge(tuple(chunk.votes.values())):
            case AcceptVoted(key) | AcceptTrusted(key):
                return key == chunk.accepted_key
        return False


def _not_refused(chunk: Chunk) -> tuple[Vote, ...]:
    return tuple(vote for vote in chunk.votes.values() if not vote.refused)
