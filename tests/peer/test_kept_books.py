"""What the journal has of leases, of results kept for others, of debts for one lease of two runs, of starts in vain."""

from pathlib import Path

import pytest
import trio
import trio.testing
from dying_journal import DyingJournal, Killed
from lives import ITEMS, SQUARES, finish, life, pass_time, wanted

from peer.hand_outs import HandOuts, LeaseNotes
from peer.job_items import JobItems
from peer.job_owing import Debt
from peer.job_starts import RESUMES_MAX
from peer.journal import Journal
from peer.journal_schema import MIGRATIONS
from peer.kept_shelf import JournalShelf
from peer.lease_book import HeldLease, LeaseBook
from peer.views import JobRequest, JobState, JobView
from protocol.bodies import Receipt
from protocol.handed_out import Stamp
from protocol.ids import ChunkId, JobId, LeaseId, PeerId, digest
from protocol.job_events import Piece
from protocol.kept_results import KeptResult
from protocol.limits import KEPT_RESULTS_LIFETIME_S
from protocol.messages.kept import HandedOut, KeptChunk
from protocol.signing import Envelope, Identity

JOB, PEER = JobId("j"), Identity(bytes(32)).peer_id
COMMITMENT = Envelope(signer=PEER, body=b"body", signature=bytes(64))
OUT = HandedOut(first=0, last=0, count=1, at_unix_s=1.5, mark=bytes(32))


def kept(chunk: int) -> KeptResult:
    return KeptResult(
        coordinator=PEER, job=JOB, lease=LeaseId("l"), chunk=ChunkId(chunk), handed_out=OUT, input=bytes(32),
        environment=bytes(32), result=digest(b"x"), size_bytes=1, compute_s=0.25, log=b"log", commitment=COMMITMENT,
    )  # fmt: skip


def test_what_is_kept_outlives_the_worker(tmp_path: Path) -> None:
    now = [100.0]
    shelf = JournalShelf(Journal.open(tmp_path / "j.sqlite"), lambda: now[0])
    shelf.put(kept(1), b"one")
    now[0] = 150.0
    shelf.put(kept(2), b"two")
    shelf.put(kept(2), b"two again")
    again = JournalShelf(Journal.open(tmp_path / "j.sqlite"), lambda: 200.0)
    assert again.load() == [(kept(1), 100.0), (kept(2), 50.0)]
    assert (again.get(kept(1)), again.get(kept(2)), again.get(kept(3))) == (b"one", b"two again", None)
    again.drop(kept(1))
    again.drop(kept(3))
    assert [one.chunk for one, _ in shelf.load()] == [2] and shelf.get(kept(1)) is None


def test_a_journal_that_fails_costs_what_it_holds_and_no_more(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    journal = Journal.open(tmp_path / "j.sqlite")
    shelf = JournalShelf(journal, lambda: 0.0)
    with journal.transaction() as connection:
        connection.execute(
            "INSERT INTO kept (coordinator, lease, chunk, kept, data, at_unix_s) VALUES ('p', 'l', 0, x'01', x'', 0)"
        )
    shelf.put(kept(1), b"one")
    assert [one.chunk for one, _ in shelf.load()] == [1] and "cannot be read" in caplog.text
    assert journal.read("SELECT COUNT(*) FROM kept") == [(1,)]
    journal.close()
    shelf.put(kept(2), b"two")
    shelf.drop(kept(1))
    assert (shelf.load(), shelf.get(kept(1))) == ((), None) and "could not be written" in caplog.text


def test_leases_that_ended_are_not_those_that_a_run_was_cut_off_with() -> None:
    book = LeaseBook(Journal.open(None))
    first, second = (HeldLease(LeaseId(name), PEER, 1.5, 2.0) for name in "ab")
    book.add(JOB, first)
    book.add(JOB, second)
    book.add(JobId("other"), first)
    book.end(JOB, first.lease)
    assert book.of(JOB) == {second.lease: second}
    book.forget(JOB)
    assert book.of(JOB) == {} and book.of(JobId("other")) == {first.lease: first}


def test_debts_of_two_runs_for_one_lease_are_paid_both() -> None:
    """A worker that only handed over has no lease in this run: it earns for that of then, for which it is owed too."""
    journal = Journal.open(None)
    journal.save_owed(JOB, [Debt(PEER, LeaseId("l"), 2.0, 4.0)])
    journal.end_run(JOB)
    journal.save_owed(JOB, [Debt(PEER, LeaseId("l"), 1.0, 2.0)])
    assert journal.owed_earlier(JOB) == [Debt(PEER, LeaseId("l"), 2.0, 4.0)]
    receipt = Receipt(
        job=JOB, lease=LeaseId("l"), sequence=0, worker=PEER, chunks=(ChunkId(1),), credits=1.0, price=2.0
    )
    journal.add_receipt(b"", receipt, given=True, peer=PEER)
    assert journal.owed_earlier(JOB) == [Debt(PEER, LeaseId("l"), 2.0, 4.0)], "it pays for this run"
    journal.save_owed(JOB, [Debt(PEER, LeaseId("l"), 1.0, 2.0)])
    journal.end_run(JOB)
    assert journal.owed_earlier(JOB) == [Debt(PEER, LeaseId("l"), 3.0, 6.0)]


def test_a_file_of_version_4_keeps_its_debts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("peer.journal_schema.MIGRATIONS", MIGRATIONS[:4])
        before = Journal.open(tmp_path / "j.sqlite")
        with before.transaction() as connection:
            connection.execute("INSERT INTO owed VALUES ('j', 'l', ?, 2.0, 4.0, 1)", (PEER,))
        before.close()
    after = Journal.open(tmp_path / "j.sqlite")
    assert after.owed_earlier(JOB) == [Debt(PEER, LeaseId("l"), 2.0, 4.0)]
    after.add_job(JobView(id=JOB, name="n", state=JobState.RUNNING), JobRequest(name="n", code="", items=[]))
    assert after.read("SELECT deaths, stood FROM jobs") == [(0, 0)]
    after.close()


# What was handed out.


def outs(numbers: list[int] | None, now: float = 100.0) -> tuple[HandOuts, JobItems]:
    items = JobItems(numbers)
    items.add([f"item {number}" for number in numbers or range(10)])
    held = HeldLease(LeaseId("l"), PEER, 1.0, 1.0)
    notes = LeaseNotes(earlier={held.lease: held}, add=lambda held: None, end=lambda lease: None)
    return HandOuts(Stamp(bytes(32), JOB), items, 60.0, lambda: now, notes), items


def handed_out(start: int, stop: int) -> KeptChunk:
    first, items = outs(None)
    payload = digest(items.payload_of(start, stop))
    mark = first.mark(PEER, LeaseId("l"), Piece(ChunkId(0), start, stop), payload)
    assert mark is not None
    return KeptChunk(lease=LeaseId("l"), chunk=ChunkId(0), handed_out=mark, input=payload, environment=bytes(32))


def test_a_chunk_is_found_again_among_the_items_that_are_left() -> None:
    later, items = outs([1, 4, 5, 6, 9])
    assert later.place_of(PEER, handed_out(4, 6)) == (1, 3)
    assert items.span(Piece(ChunkId(0), 1, 3)) == (4, 5, 2)
    assert later.place_of(PEER, handed_out(9, 10)) == (4, 5)
    for start, stop in ((0, 2), (3, 5), (4, 8), (6, 8), (7, 8), (8, 10)):
        assert later.place_of(PEER, handed_out(start, stop)) is None, "some of it is done, or all"


def test_what_is_too_old_or_anothers_is_not() -> None:
    kept_chunk = handed_out(4, 6)
    too_late, _ = outs(None, now=100.5 + KEPT_RESULTS_LIFETIME_S)
    assert too_late.place_of(PEER, kept_chunk) is None
    now, _ = outs(None)
    assert now.place_of(PeerId("another"), kept_chunk) is None
    assert now.believable_s(kept_chunk.handed_out, 1e9) == 0.0
    later, _ = outs(None, now=10_000.0)
    assert later.believable_s(kept_chunk.handed_out, 1e9) == 2 * 60.0
    assert later.believable_s(kept_chunk.handed_out, 3.0) == 3.0
    session = HandOuts(Stamp(bytes(32), JOB), JobItems(), 60.0, lambda: 0.0, None)
    assert session.place_of(PEER, kept_chunk) is None
    assert session.mark(PEER, LeaseId("l"), Piece(ChunkId(0), 0, 1), bytes(32)) is None


# Starts in vain.


async def die(path: Path, *, hang: bool, job: JobId | None = None) -> JobId:
    """A life in which the job runs, until the peer is killed; with `hang` nothing of it is done."""
    try:
        async with life(DyingJournal.open_dying(path)) as (v, coordinator):
            for name in v.workers:
                v.executors[name].hang = hang
            if job is None:
                job = coordinator.submit(wanted())
            else:
                assert coordinator.resume_unfinished() == 1
            await pass_time(2.5)
            assert isinstance(v.journal, DyingJournal)
            v.journal.dies_at = 0
    except* Killed:
        pass
    assert job is not None
    return job


async def test_a_job_that_kills_its_peer_again_and_again_waits_for_its_owner(
    autojump_clock: trio.testing.MockClock, tmp_path: Path
) -> None:
    path = tmp_path / "journal.sqlite"
    job = await die(path, hang=True)
    for _ in range(RESUMES_MAX - 1):
        await die(path, hang=True, job=job)
    async with life(Journal.open(path)) as (v, coordinator):
        assert coordinator.resume_unfinished() == 0
        view = coordinator.view(job)
        assert view.state is JobState.INTERRUPTED
        assert f"died in {RESUMES_MAX} starts" in view.message and f"`peer job resume {job}`" in view.message
    async with life(Journal.open(path)) as (v, coordinator):
        assert coordinator.resume_unfinished() == 0
        coordinator.resume(job)
        view, lines = await finish(v, coordinator, job)
        assert (view.state, [line.result for line in lines]) == (JobState.DONE, SQUARES)


@pytest.mark.parametrize("saved_by", ["progress", "an orderly stop", "its owner"])
async def test_a_job_that_comes_along_goes_on_however_often_its_peer_dies(
    autojump_clock: trio.testing.MockClock, tmp_path: Path, saved_by: str
) -> None:
    path = tmp_path / "journal.sqlite"
    job = await die(path, hang=saved_by != "progress")
    for round_ in range(2 * RESUMES_MAX):
        if saved_by == "an orderly stop" and round_ % 2:
            async with life(Journal.open(path)) as (v, coordinator):
                for name in v.workers:
                    v.executors[name].hang = True
                coordinator.resume_unfinished()
                await pass_time(1.0)
        elif saved_by == "its owner" and round_ == RESUMES_MAX - 1:
            async with life(Journal.open(path)) as (_, coordinator):
                coordinator.resume_unfinished()
                coordinator.resume(job)
                break
        else:
            await die(path, hang=saved_by != "progress", job=job)
            if saved_by == "progress" and round_ == 3:
                break
    async with life(Journal.open(path)) as (v, coordinator):
        assert coordinator.resume_unfinished() == 1
        view, _ = await finish(v, coordinator, job)
        assert view.items_done == len(ITEMS)
