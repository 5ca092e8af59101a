"""What the journal has of jobs that run or have just ended: figures, debts, and which could not be saved."""

import logging
from collections.abc import Callable
from typing import Protocol

import trio

from peer.job_runner import JobRunner
from peer.job_starts import JobStarts
from peer.journal import Journal
from peer.lease_book import LeaseBook
from peer.views import JobView
from protocol.errors import LocalError
from protocol.ids import JobId

log = logging.getLogger(__name__)

SAVE_INTERVAL_S = 5.0
"""The figures of a job that runs are saved at most so often; results are written at once."""


class ViewOf(Protocol):
    """The view of a job, of which the runner may do a part; `changes` are fields to replace."""

    def __call__(self, job: JobId, runner: JobRunner, *, so_far: bool = False, **changes: object) -> JobView:
        """At this moment; `so_far`: see `JobRunner.view`."""


class JobSaves:
    """Of all jobs of one peer. Sessions are never saved."""

    def __init__(self, journal: Journal, leases: LeaseBook, starts: JobStarts, view_of: ViewOf) -> None:
        self._journal = journal
        self._leases = leases
        self._starts = starts
        self._view_of = view_of
        self.unsaved: set[JobId] = set()
        """Jobs that ended and are in memory alone, since the journal could not take their end."""
        self._saved_at: dict[JobId, float] = {}

    def begin(self, job: JobId) -> None:
        """The journal has the job as it is now."""
        self._saved_at[job] = trio.current_time()
        self.unsaved.discard(job)

    def now_and_then(self, job: JobId, runner: JobRunner) -> None:
        """The job has changed: its figures are saved when it is time."""
        if job not in self._saved_at or trio.current_time() < self._saved_at[job] + SAVE_INTERVAL_S:
            return
        self._saved_at[job] = trio.current_time()
        try:
            self._save_figures(job, runner)
        except LocalError as error:
            log.warning("the figures of job %s could not be saved: %s", job, error)

    def cut_off(self, job: JobId, runner: JobRunner) -> None:
        """This peer stops while the job runs."""
        if self._journal.job(job) is not None:
            self._guarded(job, lambda: self._save_cut_off(job, runner))

    def at_once(self, job: JobId, runner: JobRunner) -> None:
        """The figures as they are, with what else the transaction writes; not of a session. Raises `LocalError`."""
        if job in self._saved_at:
            self._save_figures(job, runner)

    def end(self, job: JobId, runner: JobRunner) -> None:
        """The job's last view; with it is paid what runs that were cut off still owe."""
        self._guarded(job, lambda: self._pay_and_save(job, runner))

    def _save_cut_off(self, job: JobId, runner: JobRunner) -> None:
        with self._journal.transaction():
            self._save_figures(job, runner, message="this peer was stopped")
            self._starts.survived(job)

    def _save_figures(self, job: JobId, runner: JobRunner, **changes: object) -> None:
        with self._journal.transaction():
            self._journal.save_job(self._view_of(job, runner, so_far=True, **changes))
            self._journal.save_owed(job, runner.owed())

    def _pay_and_save(self, job: JobId, runner: JobRunner) -> None:
        with self._journal.transaction(durable=True):
            runner.pay_earlier(self._journal.owed_earlier(job))
            self._journal.save_job(self._view_of(job, runner))
            self._journal.forget_owed(job)
            self._leases.forget(job)

    def _guarded(self, job: JobId, save: Callable[[], None]) -> None:
        """A job that cannot be saved stays in memory, so that its end can still be seen."""
        try:
            save()
        except LocalError as error:
            self.unsaved.add(job)
            log.error("job %s ended but could not be saved: %s", job, error)
