"""A journal in memory that tells the book of the run what is written into it, and that can die.

What is told is told when it is committed: a kill takes back what was not. The file outlives the journal: `reopened`
gives the next life of the same peer what was committed by then.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from sqlite3 import Connection
from typing import Self

from peer.job_owing import Debt
from peer.journal import Journal
from peer.views import JobRequest, JobView, ResultLine
from protocol.bodies import Receipt
from protocol.ids import JobId
from simulations.book import CAUGHT, Book
from simulations.crashes import Killed, Moment

OnBan = Callable[[str], None]
OnDeath = Callable[[], None]


class TracedJournal(Journal):
    """Made by `open_traced`."""

    book: Book
    owner: int
    """The number of the coordinator whose journal it is."""
    on_ban: OnBan
    keeps: bool
    """Whether results and inputs are written as well: a run without crashes has no use for them, and they are many."""

    @classmethod
    def open_traced(cls, book: Book, owner: int, on_ban: OnBan, *, keeps: bool = False) -> Self:
        """An empty one. `on_ban` is told of every peer that is banned."""
        journal = cls.open(None)
        assert isinstance(journal, cls)
        return journal._begin(book, owner, on_ban, keeps)

    def reopened(self) -> Self:
        """The journal of the next life on the same file; this one must be dead."""
        return type(self)(self._connection, self._name)._begin(self.book, self.owner, self.on_ban, self.keeps)

    def _begin(self, book: Book, owner: int, on_ban: OnBan, keeps: bool) -> Self:
        self.book, self.owner, self.on_ban, self.keeps = book, owner, on_ban, keeps
        self._untold: list[Callable[[], None]] = []
        self._dies: Moment | None = None
        self._on_death: OnDeath = lambda: None
        self.dead = False
        return self

    # Dying.

    def die(self) -> None:
        """Take no more writes: each raises `Killed`."""
        self.dead = True

    def die_at_next_write(self, moment: Moment, on_death: OnDeath) -> None:
        """Die before or after the next transaction, and say so before anything else can happen."""
        self._dies, self._on_death = moment, on_death

    def _killed(self) -> Killed:
        if not self.dead:
            self.dead = True
            self._on_death()
        return Killed()

    @contextmanager
    def transaction(self, *, durable: bool = False) -> Iterator[Connection]:
        """See `Journal`. What is done within is told once all of it is committed."""
        if self._connection.in_transaction:
            with super().transaction(durable=durable) as connection:
                yield connection
            return
        if self.dead or self._dies is Moment.BEFORE_WRITE:
            raise self._killed()
        self._untold = []
        with super().transaction(durable=durable) as connection:
            yield connection
        untold, self._untold = self._untold, []
        for tell in untold:
            tell()
        if self._dies is Moment.AFTER_WRITE:
            raise self._killed()

    # What is told.

    def add_job(self, view: JobView, request: JobRequest) -> None:
        """See `Journal`."""
        kept = request if self.keeps else JobRequest(name=request.name, code=request.code, items=[])
        with self.transaction(durable=True):
            super().add_job(view, kept)
            self._untold.append(partial(self.book.on_added, self.owner, view, request))

    def save_job(self, view: JobView) -> None:
        """See `Journal`."""
        with self.transaction():
            super().save_job(view)
            self._untold.append(partial(self.book.on_saved, view))

    def record_results(self, job_id: JobId, lines: Sequence[ResultLine]) -> None:
        """See `Journal`."""
        with self.transaction():
            if self.keeps:
                super().record_results(job_id, lines)
            self._untold.append(partial(self.book.on_results, job_id, lines))

    def confirm_results(self, job_id: JobId, items: Sequence[int]) -> None:
        """See `Journal`."""
        if self.keeps:
            super().confirm_results(job_id, items)

    def remove_results(self, job_id: JobId, items: Sequence[int]) -> None:
        """See `Journal`."""
        with self.transaction():
            if self.keeps:
                super().remove_results(job_id, items)
            self._untold.append(partial(self.book.on_removed, job_id, items))

    def doubt(self, peer: str) -> dict[str, int]:
        """See `Journal`."""
        with self.transaction():
            in_doubt = super().doubt(peer)
            for job in in_doubt:
                self._untold.append(partial(self.book.on_doubted, JobId(job), self.doubtful(JobId(job))))
        return in_doubt

    def run_again(self, job_id: JobId, items: Sequence[int]) -> None:
        """See `Journal`."""
        with self.transaction():
            super().run_again(job_id, items)
            self._untold.append(partial(self.book.on_run_again, job_id, items))

    def save_owed(self, job_id: JobId, debts: Sequence[Debt]) -> None:
        """See `Journal`."""
        with self.transaction():
            super().save_owed(job_id, debts)
            self._untold.append(partial(self.book.on_owed_saved, job_id))

    def add_receipt(self, envelope_bytes: bytes, receipt: Receipt, *, given: bool, peer: str) -> None:
        """See `Journal`."""
        with self.transaction():
            super().add_receipt(envelope_bytes, receipt, given=given, peer=peer)
            self._untold.append(partial(self.book.on_receipt_given, peer, receipt.job, receipt.credits))

    def add_evidence(self, peer: str, kind: str, job: str, text: str, at_unix_s: float, kept_max: int) -> None:
        """See `Journal`."""
        with self.transaction():
            super().add_evidence(peer, kind, job, text, at_unix_s, kept_max)
            self._untold.append(partial(self.book.on_evidence, self.owner, peer, kind, job))
            if kind in CAUGHT:
                self._untold.append(partial(self.on_ban, peer))
