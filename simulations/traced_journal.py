"""A journal in memory that tells the book of the run what is written into it."""

from collections.abc import Callable, Sequence

from peer.journal import Journal
from peer.views import JobRequest, JobView, ResultLine
from protocol.bodies import Receipt
from protocol.ids import JobId
from simulations.book import Book

OnBan = Callable[[str], None]


class TracedJournal(Journal):
    """Made by `open_traced`."""

    book: Book
    on_ban: OnBan

    @classmethod
    def open_traced(cls, book: Book, on_ban: OnBan) -> "TracedJournal":
        """An empty one. `on_ban` is told of every peer that is banned."""
        journal = cls.open(None)
        assert isinstance(journal, cls)
        journal.book, journal.on_ban = book, on_ban
        return journal

    def add_job(self, view: JobView, request: JobRequest) -> None:
        """See `Journal`. The request is left out: its inputs are known, and there are many."""
        super().add_job(view, JobRequest(name=request.name, code=request.code, items=[]))

    def save_job(self, view: JobView) -> None:
        """See `Journal`."""
        super().save_job(view)
        self.book.on_saved(view)

    def record_results(self, job_id: JobId, lines: Sequence[ResultLine]) -> None:
        """See `Journal`. Results are kept by the book alone: a run has no use for them on disk."""
        self.book.on_results(job_id, lines)

    def confirm_results(self, job_id: JobId, items: Sequence[int]) -> None:
        """See `Journal`. There is nothing on disk to confirm."""

    def remove_results(self, job_id: JobId, items: Sequence[int]) -> None:
        """See `Journal`."""
        self.book.on_removed(job_id, items)

    def add_receipt(self, envelope_bytes: bytes, receipt: Receipt, *, given: bool, peer: str) -> None:
        """See `Journal`."""
        super().add_receipt(envelope_bytes, receipt, given=given, peer=peer)
        self.book.on_receipt_given(peer, receipt.job, receipt.credits)

    def add_evidence(self, peer: str, kind: str, job: str, text: str, at_unix_s: float, kept_max: int) -> None:
        """See `Journal`."""
        super().add_evidence(peer, kind, job, text, at_unix_s, kept_max)
        if kind in ("lie", "fault"):
            self.on_ban(peer)
