"""The coordinator of this peer: takes jobs, runs each in a task of its own, answers questions about them."""

import logging
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import msgspec
import trio

from dht.directory import Directory
from peer.data_folder import PROOFS
from peer.hand_outs import LeaseNotes
from peer.job_changes import JobChanges
from peer.job_results import ResultSink
from peer.job_retry import Part, Retry, ended_idle
from peer.job_runner import JobRunner
from peer.job_saves import JobSaves
from peer.job_setup import JobBooks, what_is_left
from peer.job_starts import JobStarts
from peer.journal import Journal
from peer.journal_sink import JournalSink
from peer.lease_book import LeaseBook
from peer.proof_store import ProofStore
from peer.redo import Redo, is_due
from peer.result_files import Shelf
from peer.seam import Seam
from peer.trust_book import TrustBook
from peer.views import JobRequest, JobState, JobView
from peer.witness import Witness
from protocol import encoding
from protocol.bodies import Receipt
from protocol.errors import LocalError
from protocol.fraud_proof import FraudProof
from protocol.ids import RANDOM_ID_BITS, JobId, PeerId, short
from protocol.job_events import Effect
from protocol.limits import CODE_SIZE_BYTES_MAX
from protocol.messages.base import to_plain

if TYPE_CHECKING:
    from trio_typing import TaskStatus

log = logging.getLogger(__name__)

OnDecision = Callable[[JobId, Effect], None]
JOBS_RUNNING_MAX = 64
JOBS_PAUSED_MAX = 64
_UNASKED = (JobState.CALLING, JobState.RUNNING)
"""The states of a job that was cut off with this peer: it goes on by itself."""


class Coordinator:
    """All jobs of this peer. `run` owns their tasks; `redo_doubtful` may run beside it.

    `on_decision` is told, without waiting, of every effect of every job's rules, before it is carried out.
    """

    def __init__(
        self,
        seam: Seam,
        directory: Directory,
        journal: Journal,
        witness: Witness,
        on_decision: OnDecision = lambda job, effect: None,
        shelf: Shelf | None = None,
    ) -> None:
        self._seam = seam
        self._directory = directory
        self._journal = journal
        self.trust = TrustBook(journal, seam.wall_clock)
        self.proofs = ProofStore(seam.data_folder / PROOFS if seam.data_folder is not None else None)
        self._witness = witness
        self._on_decision = on_decision
        self._shelf = shelf
        self._runners: dict[JobId, JobRunner] = {}
        self._retries: dict[JobId, Retry] = {}
        """What belongs to those of the runners that do a part of a job again."""
        self._changes = JobChanges()
        self._leases = LeaseBook(journal)
        self._starts = JobStarts(journal)
        self._saves = JobSaves(journal, self._leases, self._starts, self._view_of)
        self._redo = Redo()
        self._ended = trio.lowlevel.ParkingLot()
        self._nursery: trio.Nursery | None = None

    async def run(self, *, task_status: "TaskStatus[None]" = trio.TASK_STATUS_IGNORED) -> None:
        """Supervise jobs until cancelled; jobs still running then go on after the next start."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            task_status.started()
            try:
                await trio.sleep_forever()
            finally:
                self._nursery = None

    async def redo_doubtful(self, *, task_status: "TaskStatus[None]" = trio.TASK_STATUS_IGNORED) -> None:
        """Do results of past jobs that come into doubt again by itself, one job at a time, until cancelled."""
        task_status.started()
        while True:
            job = await self._redo.wait_next()
            while self._runs(job) or len(self._runners) >= JOBS_RUNNING_MAX:
                await self._ended.park()
            await self._redo_one(job, self._redo.take(job))

    async def _redo_one(self, job: JobId, reasons: Sequence[str]) -> None:
        view = self._journal.job(job)
        if view is None or not is_due(view, self._seam.wall_clock()):
            return
        try:
            self._run_again(view, Retry(self._journal, view, Part.DOUBTFUL), reasons)
        except LocalError as error:
            log.warning("the results in doubt of job %s are not done again: %s", job, error)
            return
        if self._runs(job):
            await self._runners[job].wait_finished()

    # Jobs.

    def submit(self, request: JobRequest) -> JobId:
        """Start a job. Raises `LocalError` when the request is wrong or too many jobs run."""
        job = self._new_id()
        runner = self._prepare(job, request, JournalSink(self._journal, job), self._save_end)
        with self._journal.transaction(durable=True):
            self._journal.add_job(runner.view(), request)
            self._starts.begin(job, afresh=True)
        self._saves.begin(job)
        self._start(job, runner)
        return job

    def retry(self, job: JobId) -> int:
        """Run again what failed, has no result or is in doubt; returns how many items those are.

        Raises `LocalError` when the job runs or is not known, or too many jobs run.
        """
        before = self.view(job)
        if not before.state.is_final:
            raise LocalError(f"job {job} still runs: wait for its end, or end it with `peer job cancel {job}`")
        return self._run_again(before, Retry(self._journal, before, Part.NOT_STANDING), [])

    def _run_again(self, before: JobView, retry: Retry, reasons: Sequence[str]) -> int:
        job = JobId(before.id)
        request = self._journal.request(job)
        if request is None or not (retry.items or retry.resumes):
            return 0
        if retry.resumes:
            request = what_is_left(request, before, self._seam.wall_clock())
        request = msgspec.structs.replace(request, items=[request.items[item] for item in retry.items])
        runner = self._prepare(job, request, retry, self._save_end, numbers=retry.items)
        for line in reasons or [retry.in_words()]:
            runner.note(line)
        with self._journal.transaction():
            self._journal.run_again(job, retry.items)
            self._journal.end_run(job)
            self._starts.begin(job, afresh=not (retry.resumes and before.state in _UNASKED))
            self._journal.save_job(msgspec.structs.replace(before, state=JobState.CALLING, message=""))
        self._saves.begin(job)
        self._retries[job] = retry
        self._start(job, runner)
        return len(retry.items)

    def resume_unfinished(self) -> int:
        """Go on with the jobs that ran when this peer last ended; how many those are.

        To be called once this peer can find others. One that cannot go on becomes `interrupted` and says why. What was
        in doubt in past jobs, and not done again yet, waits for `redo_doubtful` again.
        """
        for name, doubtful in self._journal.in_doubt().items():
            self._note_doubt(JobId(name), doubtful, "in doubt when this peer was stopped", anew=False)
        views = [view for view in self._journal.unfinished() if view.state is not JobState.PAUSED]
        resumed = [self._resumed(view) for view in views if not self._runs(JobId(view.id))]
        return sum(resumed)

    def _resumed(self, view: JobView) -> bool:
        if self._nursery is None:
            return False
        if why_not := self._starts.why_not(JobId(view.id)):
            log.warning("job %s does not go on: %s", view.id, why_not)
            self._end_idle(view, JobState.INTERRUPTED, why_not)
            return False
        try:
            self.resume(JobId(view.id))
        except LocalError as error:
            log.warning("job %s does not go on: %s", view.id, error)
            self._end_idle(view, JobState.INTERRUPTED, f"this peer was stopped, and the job cannot go on: {error}")
            return False
        return True

    def resume(self, job: JobId) -> None:
        """Go on with a job that was paused or interrupted; nothing happens to one that runs.

        Raises `LocalError` when it is not known, has come to its end, or too many jobs run.
        """
        before = self.view(job)
        if not before.state.can_go_on:
            raise LocalError(f"job {job} is {before.state}: `peer job retry {job}` does again what did not end well")
        if not self._runs(job):
            self._run_again(before, Retry(self._journal, before, Part.REST), [])

    def pause(self, job: JobId) -> None:
        """Stop working on a job until `resume`; what is computed at this moment is lost. Idempotent.

        Raises `LocalError` when it is not known, has ended, or too many jobs are paused.
        """
        view = self.view(job)
        if view.state is JobState.PAUSED:
            return
        if view.state.is_final or self._journal.job(job) is None:
            raise LocalError(f"job {job} is {view.state}: only one that runs and is in the journal can be paused")
        if sum(one.state is JobState.PAUSED for one in self._journal.unfinished()) >= JOBS_PAUSED_MAX:
            raise LocalError(f"{JOBS_PAUSED_MAX} jobs are paused already: resume or cancel one")
        if self._runs(job):
            self._runners[job].pause()
        else:
            self._end_idle(view, JobState.PAUSED, "paused by the user")

    def open_session(self, request: JobRequest, sink: ResultSink, on_end: Callable[[], None]) -> JobRunner:
        """A job that takes items one by one while its workers stay warm; `sink` gets the results."""
        request = msgspec.structs.replace(request, items=[])
        job = self._new_id()
        runner = self._prepare(job, request, sink, lambda _: on_end(), open_ended=True)
        self._start(job, runner)
        return runner

    def cancel(self, job: JobId) -> None:
        """End a running or paused job; raises `LocalError` when it is not known. Idempotent."""
        view = self.view(job)
        if self._runs(job):
            self._runners[job].cancel()
        elif view.state is JobState.PAUSED or not view.state.is_final:
            self._end_idle(view, JobState.CANCELLED, "cancelled by the user")

    def _end_idle(self, view: JobView, state: JobState, message: str) -> None:
        self._journal.save_job(ended_idle(self._journal, view, state, message, self._seam.wall_clock()))
        self._changes.note(JobId(view.id))

    def _new_id(self) -> JobId:
        return JobId(f"{self._seam.random.getrandbits(RANDOM_ID_BITS // 2):016x}")

    def _prepare(
        self,
        job: JobId,
        request: JobRequest,
        sink: ResultSink,
        on_end: Callable[[JobId], None],
        *,
        open_ended: bool = False,
        numbers: Sequence[int] | None = None,
    ) -> JobRunner:
        if self._nursery is None:
            raise LocalError("this peer is stopping and takes no more jobs")
        if len(self._runners) >= JOBS_RUNNING_MAX:
            raise LocalError(f"{JOBS_RUNNING_MAX} jobs run already: wait for one to end or cancel one")
        if len(request.code.encode()) > CODE_SIZE_BYTES_MAX:
            raise LocalError(f"the job's code is over {CODE_SIZE_BYTES_MAX} bytes: move data out of it into the inputs")
        books = JobBooks(
            results=sink,
            add_log=self._journal.add_log,
            caught=lambda peer, what, proof: self._on_caught(job, peer, what, proof),
            outvoted=lambda peer, what: self.trust.rest(peer, "outvoted", what, job),
            trust=self.trust,
            on_stranger=self._witness.look_into,
            add_clean=lambda peer, clean, audits: self.trust.add_clean(peer, job, clean, audits),
            add_receipt=self._keep_receipt,
            files=self._shelf,
            leases=None if open_ended else self._lease_notes(job),
            on_change=lambda: self._note_change(job),
            on_end=lambda: on_end(job),
            on_effect=lambda effect: self._on_decision(job, effect),
        )
        return JobRunner(self._seam, self._directory, job, request, books, open_ended=open_ended, numbers=numbers)

    def _lease_notes(self, job: JobId) -> LeaseNotes:
        book = self._leases
        return LeaseNotes(
            earlier=book.of(job), add=lambda held: book.add(job, held), end=lambda lease: book.end(job, lease)
        )

    def _on_caught(self, job: JobId, peer: PeerId, what: str, proof: FraudProof | None) -> str:
        """One job has found it lying: no job of ours believes it any more."""
        kept = self._kept(proof) if proof else ""
        # Both or none: else a job that goes on after a crash would not name the liar that it has found.
        with self._journal.transaction(durable=True):
            consequence = self.trust.caught(peer, job, what, kept)
            self._saves.at_once(job, self._runners[job])
        self.condemn(peer, f"caught lying in job {job}", but=job)
        return consequence

    def _kept(self, proof: FraudProof) -> str:
        self._witness.accuse(proof)
        try:
            return f"proof: {self.proofs.add(proof)}"
        except LocalError as error:
            log.warning("%s", error)
            return "the proof could not be written"

    def condemn(self, peer: PeerId, reason: str, but: JobId | None = None) -> None:
        """Take back what rests on the word of this peer alone: in the jobs that run, and say so in those that ended."""
        self._shut_out(peer, reason, lied=True, but=but)
        for name, doubtful in self._journal.doubt(peer).items():
            self._note_doubt(JobId(name), doubtful, f"what {short(peer)} gave is done again: {reason}")

    def shut_out(self, peer: PeerId, reason: str) -> None:
        """The jobs that run go on without it. What it gave before is not called a lie by that."""
        self._shut_out(peer, reason, lied=False)

    def _shut_out(self, peer: PeerId, reason: str, *, lied: bool, but: JobId | None = None) -> None:
        for job, runner in list(self._runners.items()):
            if job != but and not runner.finished:
                runner.condemn(peer, reason, lied=lied)

    def _note_doubt(self, job: JobId, doubtful: int, why: str, *, anew: bool = True) -> None:
        if self._live(job) is not None:
            if retry := self._retries.get(job):
                retry.doubt(self._journal.doubtful(job))
                self._redo.add(job, why)
            return
        view = self._journal.job(job)
        if view is None or (anew and view.doubtful == doubtful):
            return
        view = msgspec.structs.replace(view, doubtful=doubtful)
        self._journal.save_job(view)
        if is_due(view, self._seam.wall_clock()):
            self._redo.add(job, why)

    def _keep_receipt(self, receipt: Receipt) -> None:
        self._journal.add_receipt(encoding.encode(to_plain(receipt)), receipt, given=True, peer=receipt.worker)

    def _start(self, job: JobId, runner: JobRunner) -> None:
        assert self._nursery is not None
        self._runners[job] = runner
        self._changes.add(job)
        self._nursery.start_soon(self._supervise, job, runner)

    async def _supervise(self, job: JobId, runner: JobRunner) -> None:
        """The job's task; one that is cut off with its peer goes on after the next start."""
        try:
            await runner.run()
        finally:
            if not runner.finished:
                self._saves.cut_off(job, runner)
            if self._runners.get(job) is runner and job not in self._saves.unsaved:
                del self._runners[job]
                self._retries.pop(job, None)
            self._changes.note(job)
            self._ended.unpark_all()

    def _note_change(self, job: JobId) -> None:
        self._changes.note(job)
        if self._runs(job):
            self._saves.now_and_then(job, self._runners[job])

    def _save_end(self, job: JobId) -> None:
        self._saves.end(job, self._runners[job])

    def views(self) -> list[JobView]:
        """Running and past jobs, newest first."""
        past = {view.id: view for view in self._journal.jobs()}
        past |= {job: self.view(job) for job in self._runners}
        return sorted(past.values(), key=lambda view: (-view.submitted_at_unix_s, view.id))

    def view(self, job: JobId) -> JobView:
        """One job. Raises `LocalError` when it is not known."""
        if (runner := self._live(job)) is not None:
            return self._view_of(job, runner)
        view = self._journal.job(job)
        if view is None:
            raise LocalError(f"job {job} is not known here: `peer job list` shows those that are")
        return view

    def _runs(self, job: JobId) -> bool:
        return job in self._runners and not self._runners[job].finished

    def _live(self, job: JobId) -> JobRunner | None:
        """Who knows more of the job than the journal does."""
        runner = self._runners.get(job)
        known = self._runs(job) or job in self._saves.unsaved or self._journal.job(job) is None
        return runner if known else None

    def _view_of(self, job: JobId, runner: JobRunner, *, so_far: bool = False, **changes: object) -> JobView:
        view = msgspec.structs.replace(runner.view(so_far=so_far), **changes)
        return self._retries[job].whole(view) if job in self._retries else view

    async def wait_change(self, job: JobId, version: int) -> int:
        """Wait until the job is at a newer version than this; start with 0. Returns at once for past jobs."""
        if self.view(job).state.is_final:
            return version + 1
        return await self._changes.wait(job, version)

    def running(self) -> int:
        """Number of jobs that run."""
        return sum(not runner.finished for runner in self._runners.values())
