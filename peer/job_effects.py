"""Carries out what the rules of one job decide: by its workers, its own slots, its results and its books."""

from collections.abc import Callable
from dataclasses import dataclass

from peer.candidates import Candidates
from peer.evidence import Evidence
from peer.job_items import JobItems
from peer.job_results import JobResults
from peer.job_setup import JobBooks
from peer.local_slots import LocalSlots
from peer.worker_pool import WorkerPool
from protocol.fraud_proof import FraudProof
from protocol.ids import ChunkId, JobId, PeerId, short
from protocol.job_events import (
    AssignChunks,
    CancelReplicas,
    Dismiss,
    Effect,
    Ending,
    GaveUp,
    How,
    JobEnded,
    KeptRefused,
    KeptWanted,
    LieCaught,
    Pay,
    Piece,
    RecallAudit,
    Revoked,
    RunAudit,
    Settled,
    Upheld,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class JobEffects:
    """One per job. Raises `LocalError` where an effect cannot be carried out."""

    job: JobId
    me: PeerId
    proves_by_digest: bool
    """Whether the digest of a result shows a lie: only where results are compared by their bytes."""
    items: JobItems
    candidates: Candidates
    results: JobResults
    evidence: Evidence
    pool: WorkerPool
    local: LocalSlots
    books: JobBooks
    note: Callable[[str], None]
    on_ended: Callable[[Ending, str], None]

    def carry_out(self, effect: Effect) -> None:
        """One effect."""
        match effect:
            case AssignChunks(peer, pieces):
                self._assign(peer, pieces)
            case CancelReplicas(peer, chunks):
                self._cancel(peer, chunks)
            case RunAudit():
                self._audit(effect)
            case RecallAudit(chunk):
                self.local.recall(chunk)
            case Settled(piece, key, source, how):
                self.results.settle(piece, key, source or self.me, checked=how is not How.TRUSTED)
                self.pool.settled(piece.chunk)
            case KeptWanted(peer, piece):
                self.pool.want_kept(peer, piece)
            case KeptRefused(peer, start, stop):
                self.pool.refuse_kept(peer, (start, stop))
            case Upheld(piece):
                self.results.uphold(piece)
            case Revoked(piece):
                self.results.revoke(piece)
            case GaveUp(piece, failure, tried):
                self.note(f"item {self.items.number(piece.start)}: {failure.kind} on {tried} peer(s), given up")
                self.results.give_up(piece, failure, tried)
                self.pool.settled(piece.chunk)
            case LieCaught():
                self._on_lie(effect)
            case Dismiss(peer, reason, for_good):
                self.pool.dismiss(peer, reason, for_good=for_good)
            case Pay():
                self.pool.payments.pay(effect, self.books.add_receipt)
            case JobEnded(ending, reason):
                self.on_ended(ending, reason)

    def _assign(self, peer: PeerId, pieces: tuple[Piece, ...]) -> None:
        if peer == self.me:
            self.local.assign(pieces)
        else:
            self.pool.assign(peer, [(piece, self.items.payload(piece)) for piece in pieces])

    def _cancel(self, peer: PeerId, chunks: tuple[ChunkId, ...]) -> None:
        if peer != self.me:
            self.pool.cancel(peer, chunks)
            return
        for chunk in chunks:
            self.local.cancel(chunk)

    def _audit(self, audit: RunAudit) -> None:
        if audit.disputed and not audit.fresh:
            self.note(f"results of {self.items.in_words(audit.piece)} differ: doing it again here to see who is right")
        self.local.audit(audit.piece, fresh=audit.fresh)

    def _on_lie(self, lie: LieCaught) -> None:
        items, verb = self.items.in_words(lie.piece), "outvoted" if lie.outvoted else "caught lying"
        self.note(f"{short(lie.peer)} {verb} about {items}: banned, {lie.revoked} accepted chunk(s) revoked")
        if lie.outvoted:
            follows = self.books.outvoted(lie.peer, f"outvoted about {items} of job {self.job}")
        else:
            follows = self.books.caught(lie.peer, f"wrong about {items} of job {self.job}", self._proof_of(lie))
        self.pool.complain(lie.peer, f"{items} of job {self.job}; {follows}")

    def _proof_of(self, lie: LieCaught) -> FraudProof | None:
        given = b"" if self.proves_by_digest else self.candidates.given_by(lie.piece.chunk, lie.peer)
        return self.evidence.against(lie.peer, lie.piece.chunk, self.items.payload(lie.piece), given)
