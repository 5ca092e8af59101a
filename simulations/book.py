"""Keeps the recording and the story of a run: whatever happens is told to this book, once, as it happens."""

from collections.abc import Sequence

import trio

from dht.lookup_driver import LookupReport
from peer.views import JobView, ResultLine
from protocol.ids import JobId
from protocol.job_events import Effect, GaveUp, LieCaught, Piece, Revoked, Settled
from simulations.recording import JobRecord, ReceiptRecord, Recording
from simulations.result import Row, Violation
from simulations.trace import Trace
from simulations.workload import true_result

BROKEN_KEPT_MAX = 1000


class Book:
    """One for the run. Peers are known by their numbers here."""

    def __init__(self, trace: Trace, number_of: dict[str, int]) -> None:
        self.recording = Recording()
        self.caught: dict[str, int] = {}
        """Peers convicted of a lie, and how often."""
        self._trace = trace
        self.number_of = number_of
        self._jobs: dict[JobId, tuple[JobRecord, int]] = {}
        self._chunks: dict[JobId, dict[int, Row]] = {}
        self._ended: dict[JobId, trio.Event] = {}

    # Jobs.

    def open_job(self, record: JobRecord, first_item: int) -> None:
        """A job has been submitted; its n-th item is `first_item + n`."""
        job = JobId(record.job)
        self._trace.note("submit", record.coordinator, job)
        self._jobs[job] = record, first_item
        self._chunks[job] = {}
        self._ended[job] = trio.Event()
        self.recording.jobs.append(record)

    async def wait_ended(self, job: JobId) -> None:
        """Until a job that was submitted has ended."""
        await self._ended[job].wait()

    def on_decision(self, coordinator: int, job: JobId, effect: Effect) -> None:
        """An effect of a job's rules, about to be carried out."""
        self._trace.note("decide", coordinator, job, effect)
        match effect:
            case Settled(piece, _, source, how):
                self._chunks[job][piece.chunk] = self._chunk_row(job, piece, source, str(how))
            case Revoked(piece):
                self._chunks[job].pop(piece.chunk, None)
            case GaveUp(piece):
                self._chunks[job][piece.chunk] = self._chunk_row(job, piece, None, "given up")
            case LieCaught(peer):
                self.caught[peer] = self.caught.get(peer, 0) + 1

    def on_results(self, job: JobId, lines: Sequence[ResultLine]) -> None:
        """Results that count from now on."""
        record, first_item = self._jobs[job]
        self.on_removed(job, [line.item for line in lines])
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

    def on_saved(self, view: JobView) -> None:
        """The view of a job was saved."""
        found = self._jobs.get(JobId(view.id))
        if found is not None:
            found[0].view = view
            if view.state.is_final:
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
        """A row for each chunk that counts, by job and items, with its wrong items counted."""
        rows: list[Row] = []
        for job, chunks in self._chunks.items():
            wrong = {item for item, right in self._jobs[job][0].right.items() if not right}
            for row in sorted(chunks.values(), key=lambda row: int(str(row["start"]))):
                items = range(int(str(row["start"])), int(str(row["stop"])))
                rows.append({**row, "wrong": sum(item in wrong for item in items)})
        return rows

    def _chunk_row(self, job: JobId, piece: Piece, source: str | None, how: str) -> Row:
        record, _ = self._jobs[job]
        return {
            "job": job,
            "chunk": piece.chunk,
            "start": piece.start,
            "stop": piece.stop,
            "settled_at_s": trio.current_time() - record.submitted_at_s,
            "how": how,
            "peer": record.coordinator if source is None else self.number_of[source],
        }
