"""Keeps the recording and the story of a run: whatever happens is told to this book, once, as it happens."""

from collections.abc import Mapping, Sequence

import trio

from dht.lookup_driver import LookupReport
from peer.views import JobRequest, JobView, ResultLine
from protocol.ids import JobId
from protocol.job_events import AssignChunks, Effect, GaveUp, LieCaught, Piece, Revoked, RunAudit, Settled
from simulations.recording import JobRecord, ReceiptRecord, Recording
from simulations.result import Row, Violation
from simulations.trace import Trace
from simulations.workload import true_result

BROKEN_KEPT_MAX = 1000
CAUGHT = ("lie", "fault")
"""Kinds of evidence that a peer has given a wrong result."""
_HARMLESS = ("clean", "pair")


class Book:
    """One for the run. Peers are known by their numbers here."""

    def __init__(self, trace: Trace, number_of: dict[str, int], coordinators: range) -> None:
        self.recording = Recording()
        self.caught: dict[str, int] = {}
        """Peers convicted of a lie, and how often."""
        self._trace = trace
        self._coordinators = coordinators
        self.number_of = number_of
        self._jobs: dict[JobId, tuple[JobRecord, int]] = {}
        self._runs: dict[JobId, Sequence[int]] = {}
        """The items of the run that goes on, by their places in it."""
        self._chunks: dict[JobId, dict[tuple[int, int], Row]] = {}
        self._items_of: dict[JobId, dict[tuple[int, int], Sequence[int]]] = {}
        self._ended: dict[JobId, trio.Event] = {}
        self._saved = trio.lowlevel.ParkingLot()

    # Jobs.

    def on_added(self, coordinator: int, view: JobView, request: JobRequest) -> None:
        """A job is in the journal of a coordinator; its items are numbers, one after another."""
        job = JobId(view.id)
        record = JobRecord(job, coordinator, len(request.items), trio.current_time())
        first_item = request.items[0] if request.items else 0
        assert isinstance(first_item, int)
        self._trace.note("submit", coordinator, job)
        self._jobs[job] = record, first_item
        self._runs[job] = range(record.items)
        self._chunks[job], self._items_of[job] = {}, {}
        self._ended[job] = trio.Event()
        self.recording.jobs.append(record)

    def jobs_of(self, coordinator: int) -> list[JobId]:
        """The jobs that it has submitted, in order."""
        return [JobId(record.job) for record, _ in self._jobs.values() if record.coordinator == coordinator]

    async def wait_at_rest(self) -> None:
        """Until no job that was submitted runs, and no result waits to be done again."""
        while not all(_rests(record.view) for record, _ in self._jobs.values()):
            await self._saved.park()

    async def wait_ended(self, job: JobId) -> None:
        """Until a job that was submitted has ended."""
        await self._ended[job].wait()

    def on_decision(self, coordinator: int, job: JobId, effect: Effect) -> None:
        """An effect of a job's rules, about to be carried out."""
        self._trace.note("decide", coordinator, job, effect)
        record, _ = self._jobs[job]
        match effect:
            case AssignChunks(peer, pieces):
                for piece in pieces:
                    self._hand_out(record, self.number_of[peer], piece)
            case RunAudit(piece):
                self._hand_out(record, coordinator, piece)
            case Settled(piece, _, source, how):
                self._add_chunk(record, piece, source, str(how))
            case Revoked(piece):
                self._chunks[job].pop((record.runs, piece.chunk), None)
            case GaveUp(piece):
                self._add_chunk(record, piece, None, "given up")
            case LieCaught(peer):
                self.caught[peer] = self.caught.get(peer, 0) + 1

    def _hand_out(self, record: JobRecord, number: int, piece: Piece) -> None:
        """What stood when the run began is none of its business."""
        items = self._runs[JobId(record.job)][piece.start : piece.stop]
        self.recording.handed_out.update((record.job, number, item) for item in items)
        for item in record.stood.intersection(items):
            self.broke(
                "nothing_runs_again", f"job {record.job}: item {item} stood, and is given to peer {number} again"
            )

    def on_execution(self, number: int, job: str, items: Sequence[object]) -> None:
        """A peer begins to execute a chunk; not the replay of a proof about the job of another coordinator."""
        found = self._jobs.get(JobId(job))
        if found is None or (number in self._coordinators and number != found[0].coordinator):
            return
        first_item = found[1]
        self.recording.executed.update((job, number, item - first_item) for item in items if isinstance(item, int))

    def on_run_again(self, job: JobId, items: Sequence[int]) -> None:
        """A part of a job is run: after a crash, what it had still to do; else what has come into doubt."""
        record, _ = self._jobs[job]
        self._trace.note("run again", job, *items)
        self._runs[job] = tuple(items)
        record.runs += 1
        record.unpaid |= record.unsaved
        record.unsaved.clear()
        had = record.right.keys() | record.failed
        # What was settled and not yet written as the run was cut off does not count.
        old = self._chunks[job]
        self._chunks[job] = {key: row for key, row in old.items() if had.intersection(self._items_of[job][key])}
        record.stood = had - set(items)
        for item in sorted(had.intersection(items) - record.doubtful - record.again):
            self.broke("nothing_runs_again", f"job {job}: item {item} stands, and is to be run again")
        record.again |= had.intersection(items)

    def on_doubted(self, job: JobId, givers: Mapping[int, str]) -> None:
        """These results of a job are in doubt with those who gave them."""
        record, _ = self._jobs[job]
        record.doubtful |= givers.keys()
        record.stood -= givers.keys()
        for item, giver in givers.items():
            if record.given_by.get(item) != giver:
                self.broke("accepted_is_kept", f"job {job}: item {item} is in doubt for {giver}, who did not give it")

    def check_kept(self, job: JobId, outcomes: Mapping[int, bool], doubtful: Mapping[int, str]) -> None:
        """What a coordinator that starts again finds in its journal is what was written there."""
        record, _ = self._jobs[job]
        had = dict.fromkeys(record.right, True) | dict.fromkeys(record.failed, False)
        for item, _ in sorted(had.items() ^ outcomes.items()):
            self.broke("accepted_is_kept", f"job {job}: item {item} is not in the journal as it was written")
        for item in sorted(record.doubtful ^ doubtful.keys()):
            self.broke("accepted_is_kept", f"job {job}: the doubt about item {item} was lost, or came from nowhere")

    def on_evidence(self, coordinator: int, peer: str, kind: str, job: str) -> None:
        """Something is behind the trust of a coordinator in a peer."""
        if kind in CAUGHT and job:
            self.recording.caught_in.add((job, peer))
        if kind not in _HARMLESS:
            self.recording.banned.add((coordinator, peer))

    def on_owed_saved(self, job: JobId) -> None:
        """What a job owes so far is in the journal."""
        self._jobs[job][0].unsaved.clear()

    def on_results(self, job: JobId, lines: Sequence[ResultLine]) -> None:
        """Results that count from now on."""
        record, first_item = self._jobs[job]
        self.on_removed(job, [line.item for line in lines])
        record.unsaved.update(line.item for line in lines)
        for line in lines:
            if not line.ok:
                record.failed.add(line.item)
                continue
            record.right[line.item] = line.result == true_result(first_item + line.item)
            if line.worker is not None:
                record.given_by[line.item] = line.worker

    def on_removed(self, job: JobId, items: Sequence[int]) -> None:
        """Results that no longer count."""
        record, _ = self._jobs[job]
        for item in items:
            record.right.pop(item, None)
            record.given_by.pop(item, None)
            record.failed.discard(item)
            for marked in (record.doubtful, record.again, record.stood, record.unsaved, record.unpaid):
                marked.discard(item)

    def on_saved(self, view: JobView) -> None:
        """The view of a job was saved."""
        found = self._jobs.get(JobId(view.id))
        if found is not None:
            found[0].view = view
            self._saved.unpark_all()
            if _is_over(view):
                found[0].ended_at_s = trio.current_time()
                self._ended[JobId(view.id)].set()

    def on_receipt_given(self, peer: str, job: str, credits: float) -> None:
        """A coordinator has paid."""
        self.recording.given.append(ReceiptRecord(job, peer, credits))

    def on_receipt_got(self, number: int, peer: str, job: str, credits: float) -> None:
        """A worker was paid."""
        self._trace.note("receipt", number, job, credits)
        self.recording.got.append(ReceiptRecord(job, peer, credits))

    # The network.

    def on_lookup(self, number: int, report: LookupReport) -> None:
        """A lookup of a peer has ended."""
        self._trace.note("lookup", number, report.target.hex(), report.asked, report.found)
        row: Row = {
            "peer": number,
            "started_at_s": report.started_at,
            "duration_s": report.ended_at - report.started_at,
            "asked": report.asked,
            "found": report.found,
        }
        self.recording.add_row("lookups", row)

    def broke(self, checker: str, detail: str) -> None:
        """Something that must hold does not."""
        self._trace.note("broken", checker)
        if len(self.recording.broken) < BROKEN_KEPT_MAX:
            self.recording.broken.append(Violation(checker, trio.current_time(), detail))

    # The end.

    def chunk_rows(self) -> list[Row]:
        """A row for each chunk that counts, by job, run and items, with its wrong items counted."""
        rows: list[Row] = []
        for job, chunks in self._chunks.items():
            wrong = {item for item, right in self._jobs[job][0].right.items() if not right}
            for key in sorted(chunks, key=lambda key: (key[0], self._items_of[job][key][0])):
                rows.append({**chunks[key], "wrong": len(wrong.intersection(self._items_of[job][key]))})
        return rows

    def _add_chunk(self, record: JobRecord, piece: Piece, source: str | None, how: str) -> None:
        """`start` and `stop` are places in the run: the first one has all items of the job."""
        job, key = JobId(record.job), (record.runs, piece.chunk)
        self._items_of[job][key] = self._runs[job][piece.start : piece.stop]
        self._chunks[job][key] = {
            "job": job,
            "run": record.runs,
            "chunk": piece.chunk,
            "start": piece.start,
            "stop": piece.stop,
            "settled_at_s": trio.current_time() - record.submitted_at_s,
            "how": how,
            "peer": record.coordinator if source is None else self.number_of[source],
        }


def _rests(view: JobView | None) -> bool:
    return view is not None and _is_over(view) and not view.doubtful


def _is_over(view: JobView) -> bool:
    """What was interrupted is resumed by its user."""
    return view.state.is_final and not view.state.can_go_on
