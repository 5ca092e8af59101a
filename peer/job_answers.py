"""What the executions of one job gave, on the way to its rules: kept, compared, checked, then told.

From workers (it is what the pool tells), from the submitter's own slots, and from audits.
"""

from collections.abc import Callable
from functools import partial

from peer.candidates import Candidates
from peer.evidence import Evidence
from peer.hand_over import CheckedResult
from peer.job_setup import JobBooks
from peer.result_checks import ResultChecks, Said
from peer.result_files import ResultFiles
from peer.result_views import ResultViews
from peer.seam import Execution, ExecutionFailure
from protocol.chunk import Failure
from protocol.comparators import Look
from protocol.errors import LocalError
from protocol.files import FileRef
from protocol.ids import ChunkId, JobId, PeerId, short
from protocol.job_events import AuditDone, Event, FailureArrived, Piece, Proof, ResultArrived
from protocol.messages.job import FailureKind


class JobAnswers:
    """One per job. `tell` takes events; `note` lines of the story; `fail` ends the job for an error of ours."""

    def __init__(
        self,
        job: JobId,
        me: PeerId,
        candidates: Candidates,
        evidence: Evidence,
        checks: ResultChecks | None,
        files: ResultFiles,
        views: ResultViews | None,
        environment: bytes,
        books: JobBooks,
        *,
        tell: Callable[[Event], None],
        note: Callable[[str], None],
        fail: Callable[[LocalError], None],
    ) -> None:
        self._job = job
        self._me = me
        self._candidates = candidates
        self._evidence = evidence
        self._checks = checks
        self._files = files
        self._views = views
        self._environment = environment
        self._is_mixed = False
        """Whether machines of another kind than this one take part; asked where `views` are."""
        self._books = books
        self.tell = tell
        self.note = note
        self._fail = fail

    def on_checked_result(self, peer: PeerId, result: CheckedResult) -> None:
        """From a worker; it counts once its files are here."""
        self._evidence.keep(peer, result.piece.chunk, result.batch, result.signed_as)
        if result.files:
            self._files.fetch(peer, result.files, partial(self._on_fetched, peer, result))
        else:
            self._take(peer, result)

    def _on_fetched(self, peer: PeerId, result: CheckedResult, problem: str) -> None:
        if problem:
            self.note(f"{short(peer)} gave a result and not its files: {problem}")
            failure = Failure(FailureKind.ENVIRONMENT, 0, problem)
            self.tell(FailureArrived(peer, result.piece.chunk, failure))
        else:
            self._take(peer, result)

    def _take(self, peer: PeerId, result: CheckedResult) -> None:
        self._is_mixed |= result.environment != self._environment
        self._look(result.environment, result.files, partial(self._compare, peer, result))

    def _look(self, environment: bytes, files: tuple[FileRef, ...], compare: Callable[[Look], None]) -> None:
        """Machines of one kind are compared by the bytes: pictures need a look once others take part."""
        if self._views is None or not self._is_mixed:
            compare(Look(environment))
        else:
            self._views.add(files, lambda view: compare(Look(environment, view)))

    def _compare(self, peer: PeerId, result: CheckedResult, look: Look) -> None:
        def judged(proof: Proof | None, why: str) -> None:
            refused = proof is Proof.WRONG
            if refused:
                self.note(f"verify refuses the result of {short(peer)}: {why}")
            chunk, data, compute_s = result.piece.chunk, result.data, result.compute_s
            key = self._candidates.add(chunk, peer, data, compute_s, refused=refused, look=look)
            self.tell(ResultArrived(peer, result.piece.chunk, key, result.compute_s, proof=proof, kept=result.kept))

        self._check(result.piece, result.data, judged)

    def on_local(self, piece: Piece, answer: Execution | ExecutionFailure) -> None:
        """From a slot of this machine."""
        if isinstance(answer, ExecutionFailure):
            self.tell(FailureArrived(self._me, piece.chunk, Failure(answer.kind, answer.item, answer.detail)))
        else:
            self._check_own(piece, answer, partial(ResultArrived, self._me))

    def on_audited(self, piece: Piece, answer: Execution | ExecutionFailure) -> None:
        """From an audit here."""
        if isinstance(answer, ExecutionFailure):
            self.tell(AuditDone(piece.chunk, None, detail=answer.detail))
        else:
            self._check_own(piece, answer, AuditDone)

    def on_log(self, peer: PeerId, chunk: ChunkId, text: bytes) -> None:
        """Output of a chunk, wherever it ran."""
        self._books.add_log(self._job, chunk, peer, text.decode(errors="replace"))

    def _check_own(self, piece: Piece, answer: Execution, make: Callable[..., Event]) -> None:
        if answer.log:
            self.on_log(self._me, piece.chunk, answer.log)
        try:
            self._files.hold(answer.data)
        except LocalError as error:
            self._fail(error)
            return
        files = self._files.named_by(answer.data)
        self._look(self._environment, files, partial(self._compare_own, piece, answer, make))

    def _compare_own(self, piece: Piece, answer: Execution, make: Callable[..., Event], look: Look) -> None:
        def judged(proof: Proof | None, why: str) -> None:
            if proof is Proof.WRONG:
                self.note(f"verify refuses a result of this machine: {why}")
            key, agreement = self._candidates.add_own(piece.chunk, answer.data, answer.compute_s, look=look)
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
