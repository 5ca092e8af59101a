"""The coordinator of this peer: takes jobs, runs each in a task of its own, answers questions about them."""

import logging
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol

import msgspec
import trio

from dht.directory import Directory
from peer.data_folder import PROOFS
from peer.job_results import ResultSink
from peer.job_runner import JobRunner
from peer.job_setup import JobBooks
from peer.journal import Journal
from peer.proof_store import ProofStore
from peer.seam import Seam
from peer.trust_book import TrustBook
from peer.views import JobRequest, JobState, JobView, ResultLine
from protocol import encoding
from protocol.bodies import Receipt
from protocol.errors import LocalError
from protocol.fraud_proof import FraudProof
from protocol.ids import RANDOM_ID_BITS, JobId, PeerId
from protocol.job_events import Effect
from protocol.limits import CODE_SIZE_BYTES_MAX
from protocol.messages.base import to_plain

if TYPE_CHECKING:
    from trio_typing import TaskStatus

log = logging.getLogger(__name__)

OnDecision = Callable[[JobId, Effect], None]

JOBS_RUNNING_MAX = 64
CHANGE_INTERVAL_S = 0.1
"""Views are made at most so often for those who watch."""


class JournalSink:
    """Results of one job into the journal."""

    def __init__(self, journal: Journal, job: JobId) -> None:
        self._journal = journal
        self._job = job

    def record(self, lines: Sequence[ResultLine]) -> None:
        """Write them; they survive the process from here on."""
        self._journal.record_results(self._job, lines)

    def confirm(self, items: Sequence[int]) -> None:
        """They rest on more than their worker's word."""
        self._journal.confirm_results(self._job, items)

    def remove(self, items: Sequence[int]) -> None:
        """They no longer count."""
        self._journal.remove_results(self._job, items)


class Witness(Protocol):
    """Who tells others of lies, and hears of them. Calls must not block."""

    def accuse(self, proof: FraudProof) -> None:
        """We can prove this."""

    def look_into(self, peer: PeerId) -> None:
        """See whether others can prove something against a peer; what comes of it is told by `condemn`."""


class NoWitness:
    """For a coordinator that stands alone."""

    def accuse(self, proof: FraudProof) -> None:
        """Nobody is told."""

    def look_into(self, peer: PeerId) -> None:
        """Nobody is asked."""


class Coordinator:
    """All jobs of this peer. `run` owns their tasks.

    `on_decision` is told, without waiting, of every effect of every job's rules, before it is carried out.
    """

    def __init__(
        self,
        seam: Seam,
        directory: Directory,
        journal: Journal,
        witness: Witness,
        on_decision: OnDecision = lambda job, effect: None,
    ) -> None:
        self._seam = seam
        self._directory = directory
        self._journal = journal
        self.trust = TrustBook(journal, seam.wall_clock)
        self.proofs = ProofStore(seam.data_folder / PROOFS if seam.data_folder is not None else None)
        self._witness = witness
        self._on_decision = on_decision
        self._runners: dict[JobId, JobRunner] = {}
        self._unsaved: set[JobId] = set()
        self._versions: dict[JobId, int] = {}
        self._changed: dict[JobId, trio.Event] = {}
        self._nursery: trio.Nursery | None = None

    async def run(self, *, task_status: "TaskStatus[None]" = trio.TASK_STATUS_IGNORED) -> None:
        """Supervise jobs until cancelled; jobs still running are then marked as interrupted."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            task_status.started()
            try:
                await trio.sleep_forever()
            finally:
                self._nursery = None

    # Jobs.

    def submit(self, request: JobRequest) -> JobId:
        """Start a job. Raises `LocalError` when the request is wrong or too many jobs run."""
        job, runner = self._prepare(request, None, self._save_end, open_ended=False)
        self._journal.add_job(runner.view(), request)
        self._start(job, runner)
        return job

    def open_session(self, request: JobRequest, sink: ResultSink, on_end: Callable[[], None]) -> JobRunner:
        """A job that takes items one by one while its workers stay warm; `sink` gets the results."""
        request = msgspec.structs.replace(request, items=[])
        job, runner = self._prepare(request, sink, lambda _: on_end(), open_ended=True)
        self._start(job, runner)
        return runner

    def cancel(self, job: JobId) -> None:
        """End a running job; raises `LocalError` when it is not known. Idempotent."""
        if job in self._runners:
            self._runners[job].cancel()
        else:
            self.view(job)

    def _prepare(
        self, request: JobRequest, sink: ResultSink | None, on_end: Callable[[JobId], None], *, open_ended: bool
    ) -> tuple[JobId, JobRunner]:
        if self._nursery is None:
            raise LocalError("this peer is stopping and takes no more jobs")
        if len(self._runners) >= JOBS_RUNNING_MAX:
            raise LocalError(f"{JOBS_RUNNING_MAX} jobs run already: wait for one to end or cancel one")
        if len(request.code.encode()) > CODE_SIZE_BYTES_MAX:
            raise LocalError(f"the job's code is over {CODE_SIZE_BYTES_MAX} bytes: move data out of it into the inputs")
        job = JobId(f"{self._seam.random.getrandbits(RANDOM_ID_BITS // 2):016x}")
        books = JobBooks(
            results=sink or JournalSink(self._journal, job),
            add_log=self._journal.add_log,
            caught=lambda peer, what, proof: self._on_caught(job, peer, what, proof),
            trust=self.trust,
            on_stranger=self._witness.look_into,
            add_clean=lambda peer, clean, audits: self.trust.add_clean(peer, job, clean, audits),
            add_receipt=self._keep_receipt,
            on_change=lambda: self._note_change(job),
            on_end=lambda: on_end(job),
            on_effect=lambda effect: self._on_decision(job, effect),
        )
        return job, JobRunner(self._seam, self._directory, job, request, books, open_ended=open_ended)

    def _on_caught(self, job: JobId, peer: PeerId, what: str, proof: FraudProof | None) -> None:
        """One job has found it lying: no job of ours believes it any more."""
        self.trust.caught(peer, job, what, self._kept(proof) if proof else "")
        self.condemn(peer, f"caught lying in job {job}", but=job)

    def _kept(self, proof: FraudProof) -> str:
        self._witness.accuse(proof)
        try:
            return f"proof: {self.proofs.add(proof)}"
        except LocalError as error:
            log.warning("%s", error)
            return "the proof could not be written"

    def condemn(self, peer: PeerId, reason: str, but: JobId | None = None) -> None:
        """Take back what rests on the word of this peer alone: in the jobs that run, and say so in those that ended."""
        for job, runner in list(self._runners.items()):
            if job != but and not runner.finished:
                runner.condemn(peer, reason)
        for name, items in self._journal.resting_on(peer).items():
            view = self._journal.job(JobId(name))
            if view is not None and view.state.is_final and JobId(name) not in self._runners:
                self._journal.save_job(msgspec.structs.replace(view, doubtful=max(view.doubtful, items)))

    def _keep_receipt(self, receipt: Receipt) -> None:
        data = encoding.encode(to_plain(receipt))
        self._journal.add_receipt(data, receipt, given=True, peer=receipt.worker)

    def _start(self, job: JobId, runner: JobRunner) -> None:
        assert self._nursery is not None
        self._runners[job] = runner
        self._versions.setdefault(job, 1)
        self._changed.setdefault(job, trio.Event())
        self._nursery.start_soon(self._supervise, job, runner)

    async def _supervise(self, job: JobId, runner: JobRunner) -> None:
        """The job's task; a job that is cut off with its peer is kept as interrupted."""
        try:
            await runner.run()
        finally:
            if not runner.finished and self._journal.job(job) is not None:
                stopped = "this peer was stopped"
                self._save(job, msgspec.structs.replace(runner.view(), state=JobState.INTERRUPTED, message=stopped))
            if job not in self._unsaved:
                del self._runners[job]
            self._note_change(job)

    def _save_end(self, job: JobId) -> None:
        self._save(job, self._runners[job].view())

    def _save(self, job: JobId, view: JobView) -> None:
        """A job that cannot be saved stays in memory, so that its end can still be seen."""
        try:
            self._journal.save_job(view)
        except LocalError as error:
            self._unsaved.add(job)
            log.error("job %s ended but could not be saved: %s", job, error)

    # Questions.

    def views(self) -> list[JobView]:
        """Running and past jobs, newest first."""
        past = {view.id: view for view in self._journal.jobs()}
        past |= {job: runner.view() for job, runner in self._runners.items()}
        return sorted(past.values(), key=lambda view: (-view.submitted_at_unix_s, view.id))

    def view(self, job: JobId) -> JobView:
        """One job. Raises `LocalError` when it is not known."""
        if job in self._runners:
            return self._runners[job].view()
        view = self._journal.job(job)
        if view is None:
            raise LocalError(f"job {job} is not known here: `peer job list` shows those that are")
        return view

    async def wait_change(self, job: JobId, version: int) -> int:
        """Wait until the job is at a newer version than this; start with 0. Returns at once for past jobs."""
        self.view(job)
        if job in self._runners and self._versions[job] <= version:
            event = self._changed[job]
            await event.wait()
            await trio.sleep(CHANGE_INTERVAL_S)
        return self._versions.get(job, version + 1)

    def running(self) -> int:
        """Number of jobs that run."""
        return sum(not runner.finished for runner in self._runners.values())

    def _note_change(self, job: JobId) -> None:
        if job in self._versions:
            self._versions[job] += 1
            self._changed[job].set()
            self._changed[job] = trio.Event()
