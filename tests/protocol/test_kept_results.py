"""What a worker keeps for coordinators that vanished: bounded, for a day, told and handed over to them alone."""

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from worker_talk import (
    COORDINATOR,
    ENVIRONMENTS,
    HEARTBEAT,
    RELEASE,
    STRANGER,
    WORKER,
    assign,
    award,
    bid_of,
    call,
    cancel,
    connect,
    leased,
    machine,
    manifest,
    ran,
    receipts,
    sent,
    tell,
    terms,
)

from protocol.commitments import Committed, check_commitment
from protocol.errors import BadFrame
from protocol.handed_out import Stamp
from protocol.ids import ChunkId, JobId, LeaseId, PeerId, digest
from protocol.kept_results import KeptFor, KeptResult, KeptResults, MemoryShelf
from protocol.limits import (
    HEARTBEAT_INTERVAL_S,
    HEARTBEATS_MISSED_MAX,
    INLINE_SIZE_BYTES_MAX,
    KEPT_BYTES_MAX,
    KEPT_BYTES_PER_COORDINATOR_MAX,
    KEPT_RESULTS_LIFETIME_S,
    KEPT_RESULTS_PER_COORDINATOR_MAX,
    MIB,
    UNSETTLED_RESULTS_PER_LEASE_MAX,
)
from protocol.messages.job import (
    Assign,
    Assignment,
    Bid,
    FailureKind,
    Heartbeat,
    Leaving,
    PayloadPart,
    Refusal,
    Release,
    Results,
)
from protocol.messages.kept import FetchKept, ForgetKept, HandedOut, Kept
from protocol.unsettled import Finished, Unsettled
from protocol.worker_events import (
    ChunkFailed,
    ChunkRan,
    ChunkStopped,
    CloseSlots,
    EndLease,
    EndSession,
    Received,
    RunnerReady,
    Sent,
    SessionEnded,
    StartLease,
    Stop,
    StopChunk,
    StreamGone,
    Suspend,
    Tick,
)
from protocol.worker_machine import WorkerMachine
from protocol.worker_memory import NoMemory

LEASE = LeaseId("lease")
STAMP = Stamp(bytes(32), JobId("job"))
OUT = HandedOut(first=0, last=1, count=2, at_unix_s=5.0, mark=bytes(32))
SILENCE_S = HEARTBEAT_INTERVAL_S * HEARTBEATS_MISSED_MAX


def kept(coordinator: str, chunk: int, size_bytes: int = 1) -> KeptResult:
    return KeptResult(
        coordinator=PeerId(coordinator), job=JobId("job"), lease=LEASE, chunk=ChunkId(chunk), handed_out=OUT,
        input=bytes(32), environment=bytes(32), result=bytes(32), size_bytes=size_bytes, compute_s=1.0, log=b"",
        commitment=manifest(),
    )  # fmt: skip


# The book.


def test_the_oldest_goes_where_one_coordinator_has_too_much() -> None:
    book = KeptResults(MemoryShelf())
    for chunk in range(KEPT_RESULTS_PER_COORDINATOR_MAX + 2):
        book.keep(kept("a", chunk), b"x", 0.0)
    assert [one.chunk for one in book.of(PeerId("a"), JobId("job"))][:1] == [2]
    book.keep(kept("b", 0, KEPT_BYTES_PER_COORDINATOR_MAX - 1), b"", 0.0)
    book.keep(kept("b", 1, 2), b"", 0.0)
    assert [one.chunk for one in book.of(PeerId("b"), JobId("job"))] == [1]
    book.keep(kept("b", 2, KEPT_BYTES_PER_COORDINATOR_MAX + 1), b"", 0.0)
    assert [one.chunk for one in book.of(PeerId("b"), JobId("job"))] == [1]
    book.check_invariants()


def test_who_has_most_kept_loses_first_where_all_together_have_too_much() -> None:
    book = KeptResults(MemoryShelf())
    book.keep(kept("small", 0, MIB), b"", 0.0)
    for peer in range(KEPT_BYTES_MAX // KEPT_BYTES_PER_COORDINATOR_MAX):
        for chunk in range(2):
            book.keep(kept(f"p{peer}", chunk, KEPT_BYTES_PER_COORDINATOR_MAX // 2), b"", 1.0)
    assert book.of(PeerId("small"), JobId("job")), "it is the oldest, and its coordinator has least"
    book.check_invariants()


def test_nothing_is_kept_for_longer_than_a_day_over_restarts_too() -> None:
    shelf = MemoryShelf()
    book = KeptResults(shelf)
    book.keep(kept("a", 0), b"x", 10.0)
    assert book.next_deadline() == 10.0 + KEPT_RESULTS_LIFETIME_S
    book.expire(9.9 + KEPT_RESULTS_LIFETIME_S)
    assert book.get(kept("a", 0).key)
    book.expire(10.0 + KEPT_RESULTS_LIFETIME_S)
    assert not book.get(kept("a", 0).key) and not shelf.get(kept("a", 0))

    class Full(MemoryShelf):
        def load(self) -> list[tuple[KeptResult, float]]:
            return [(kept("a", 0), KEPT_RESULTS_LIFETIME_S), (kept("a", 1), 3600.0)]

    book = KeptResults(Full())
    book.restore(1000.0)
    assert [one.chunk for one in book.of(PeerId("a"), JobId("job"))] == [1]
    assert book.next_deadline() == 1000.0 - 3600.0 + KEPT_RESULTS_LIFETIME_S


STEPS = st.lists(
    st.tuples(
        st.sampled_from("abc"), st.integers(0, 5), st.sampled_from([1, MIB, 20 * MIB, 63 * MIB, 65 * MIB]),
        st.sampled_from(["keep", "keep", "drop", "expire"]),
    ),
    max_size=40,
)  # fmt: skip


@given(STEPS)
@settings(deadline=None)
def test_the_limits_hold_whatever_is_kept(steps: list[tuple[str, int, int, str]]) -> None:
    book, now = KeptResults(MemoryShelf()), 0.0
    for peer, chunk, size_bytes, step in steps:
        now += 3600.0
        match step:
            case "keep":
                book.keep(kept(peer, chunk, size_bytes), b"", now)
                assert (book.get(kept(peer, chunk).key) is None) == (size_bytes > KEPT_BYTES_PER_COORDINATOR_MAX)
            case "drop":
                book.drop(kept(peer, chunk).key)
            case "expire":
                book.expire(now)
        book.check_invariants()


def test_what_is_not_settled_is_bounded_too() -> None:
    unsettled = Unsettled()
    for chunk in range(UNSETTLED_RESULTS_PER_LEASE_MAX + 1):
        unsettled.add(Finished(ChunkId(chunk), OUT, bytes(32), b"x", 0.0, b""))
    unsettled.settle([ChunkId(1), ChunkId(1), ChunkId(99999)])
    assert [one.chunk for one in unsettled.take()][:2] == [2, 3]
    unsettled.add(Finished(ChunkId(1), OUT, bytes(32), bytes(15 * MIB), 0.0, b""))
    unsettled.add(Finished(ChunkId(2), OUT, bytes(32), bytes(2 * MIB), 0.0, b""))
    assert [one.chunk for one in unsettled.take()] == [2] and not unsettled


# The mark.


@given(st.sampled_from(["worker", "lease", "first", "last", "count", "at_unix_s", "mark", "input", "seed", "job"]))
def test_a_mark_holds_for_exactly_what_was_given(what: str) -> None:
    worker, lease, input_digest = WORKER.peer_id, LEASE, digest(b"input")
    given_out = STAMP.mark(worker, lease, (3, 9, 4), input_digest, 12.5)
    assert STAMP.holds(worker, lease, given_out, input_digest)
    stamp = STAMP
    match what:
        case "worker":
            worker = STRANGER.peer_id
        case "lease":
            lease = LeaseId("other")
        case "input":
            input_digest = bytes(32)
        case "seed":
            stamp = Stamp(bytes(31) + b"\1", JobId("job"))
        case "job":
            stamp = Stamp(bytes(32), JobId("other"))
        case "mark":
            given_out = replace(given_out, mark=bytes(32))
        case _:
            given_out = replace(given_out, **{what: getattr(given_out, what) + 1})
    assert not stamp.holds(worker, lease, given_out, input_digest)


# The worker.


def marked(*chunks: int, lease: str = "lease", data: bytes = b"input") -> Assign:
    pieces = tuple(Assignment(chunk=ChunkId(one), digest=digest(data), data=data, handed_out=OUT) for one in chunks)
    return Assign(lease=LeaseId(lease), chunks=pieces)


def at_work(*chunks: int, **policy: object) -> WorkerMachine:
    """Two slots; of the chunks, 1 has been sent and 2 runs."""
    worker = leased(**policy)
    tell(worker, marked(*chunks or (1, 2)))
    worker.handle(ran(0), 0.0)
    worker.handle(Tick(), 1.0)
    return worker


def back(worker: WorkerMachine, session: int = 1, now: float = 2.0, **fields: object) -> list[object]:
    """What the coordinator hears as it calls again."""
    connect(worker, session, now=now)
    return list(sent(tell(worker, call(takes_kept=True, **fields), now, session), session))


def test_what_was_sent_and_what_runs_is_kept_told_and_handed_over() -> None:
    worker = at_work()
    effects = worker.handle(StreamGone(0), 1.0)
    assert effects == (CloseSlots(0, LEASE),)
    worker.check_invariants()
    assert worker.slots_busy == 1 and worker.chunks_run == 1
    told, bid = back(worker)
    assert isinstance(told, Kept) and isinstance(bid, Bid) and bid.slots == 1
    first, second = told.chunks
    assert (first.chunk, first.running, first.size_bytes, first.handed_out) == (1, False, 6, OUT)
    assert (second.chunk, second.running, second.input) == (2, True, digest(b"input"))
    effects = worker.handle(ChunkRan(0, LEASE, 1, b"second", 0.5), 3.0)
    (finished,) = sent(effects, 1)
    assert isinstance(finished, Kept) and finished.chunks[0] == replace(second, running=False, size_bytes=6)
    assert EndLease(0, LEASE) in effects and worker.chunks_run == 2
    assert worker.kept() == [KeptFor(COORDINATOR.peer_id, 2, 12)]
    worker.handle(SessionEnded(0), 3.0)
    effects = tell(worker, FetchKept(lease=LEASE, chunks=(ChunkId(1), ChunkId(2))), 3.0, 1)
    results = [message for message in sent(effects, 1) if isinstance(message, Results)]
    effects = worker.handle(Sent(1, LEASE), 3.0)
    results += [message for message in sent(effects, 1) if isinstance(message, Results)]
    assert [one.results[0].data for one in results] == [b"result", b"second"], "one at a time"
    for message in results:
        assert message.commitment is not None
        one = Committed(message.results[0].chunk, digest(b"input"), message.results[0].digest)
        check_commitment(message.commitment, terms(), None, [one], WORKER.peer_id)
    tell(worker, ForgetKept(lease=LEASE, chunks=(ChunkId(1), ChunkId(2))), 4.0, 1)
    assert worker.kept() == []
    tell(worker, receipts(0), 5.0, 1)
    assert worker.ledger.credits == 1.0, "it is still paid for that lease"


@pytest.mark.parametrize("how", ["settled", "released", "not marked", "cancelled"])
def test_what_need_not_be_kept_is_not(how: str) -> None:
    worker = leased()
    tell(worker, assign(1) if how == "not marked" else marked(1))
    if how == "cancelled":
        tell(worker, cancel(1))
        worker.handle(ChunkStopped(0, LEASE, 0), 0.0)
    else:
        worker.handle(ran(0), 0.0)
    if how == "settled":
        tell(worker, Heartbeat(lease=LEASE, settled=(ChunkId(1),)))
    if how == "released":
        tell(worker, RELEASE)
        worker.handle(StreamGone(0), 1.0)
    else:
        assert EndLease(0, LEASE) in worker.handle(StreamGone(0), 1.0)
    assert worker.kept() == [] and worker.slots_busy == 0
    worker.handle(SessionEnded(0), 1.0)
    worker.check_invariants()


def test_a_coordinator_that_falls_silent_may_have_died_as_well() -> None:
    worker = at_work()
    effects = worker.handle(Tick(), 1.0 + SILENCE_S)
    assert [type(one) for one in sent(effects)] == [Leaving]
    assert CloseSlots(0, LEASE) in effects and any(isinstance(one, EndSession) for one in effects)
    assert worker.kept()[0].results == 1 and worker.slots_busy == 1
    tell(worker, HEARTBEAT, 20.0)
    worker.check_invariants()


def test_a_coordinator_that_is_back_before_its_stream_is_known_to_be_dead_need_not_wait() -> None:
    """Its machine lost power: nothing said so to this end."""
    worker = at_work()
    connect(worker, 1, now=2.0)
    effects = tell(worker, call(takes_kept=True), 2.0, 1)
    assert EndSession(0, "its coordinator calls again") in effects and CloseSlots(0, LEASE) in effects
    told, bid = sent(effects, 1)
    assert isinstance(told, Kept) and isinstance(bid, Bid) and len(told.chunks) == 2
    other = leased()
    connect(other, 1, STRANGER.peer_id)
    tell(other, call(takes_kept=True), 0.0, 1)
    connect(other, 2)
    tell(other, call(takes_kept=True, job="other"), 0.0, 2)
    assert other.lease_count == 1, "of another job or coordinator"


def test_chunks_that_wait_and_idle_slots_are_given_up_at_once() -> None:
    worker = leased()
    tell(worker, marked(1, 2, 3))
    worker.handle(StreamGone(0), 0.0)
    told, _ = back(worker, now=0.0)
    assert isinstance(told, Kept) and [one.chunk for one in told.chunks] == [1, 2]


def test_what_runs_for_nobody_is_stopped() -> None:
    worker = leased()
    tell(worker, marked(1))
    tell(worker, assign(2))
    assert worker.handle(StreamGone(0), 0.0) == (CloseSlots(0, LEASE), StopChunk(0, LEASE, 1))
    assert worker.slots_busy == 1
    worker.handle(ChunkStopped(0, LEASE, 1), 0.0)
    worker.check_invariants()
    assert tell(worker, HEARTBEAT) == ()


def test_its_own_job_gets_the_slots_that_still_run_for_it_and_others_do_not() -> None:
    worker = leased()
    tell(worker, marked(1, 2))
    worker.handle(StreamGone(0), 0.0)
    connect(worker, 5, STRANGER.peer_id)
    (refusal,) = sent(tell(worker, call(job="other"), 0.0, 5), 5)
    assert isinstance(refusal, Refusal)
    _, bid = back(worker, slots_wanted=2)
    assert isinstance(bid, Bid) and bid.slots == 2
    effects = tell(worker, award(bid, lease="new"), 2.0, 1)
    assert any(isinstance(one, StartLease) for one in effects) and worker.free().slots == 0
    worker.handle(RunnerReady(1, LeaseId("new"), 0), 2.0)
    worker.handle(StreamGone(1), 3.0)
    worker.check_invariants()
    assert worker.slots_busy == 2 and worker.free().slots == 0


def test_a_coordinator_that_is_through_with_the_job_ends_what_still_runs_for_it() -> None:
    worker = at_work()
    worker.handle(StreamGone(0), 1.0)
    _, bid = back(worker)
    assert isinstance(bid, Bid)
    tell(worker, award(bid, lease="new"), 2.0, 1)
    assert EndLease(0, LEASE) in tell(worker, Release(lease=LeaseId("new")), 3.0, 1)
    worker.check_invariants()


@pytest.mark.parametrize("event", [Stop(), Suspend("the owner is back")])
def test_the_owner_comes_first(event: object) -> None:
    worker = at_work()
    worker.handle(StreamGone(0), 1.0)
    assert EndLease(0, LEASE) in worker.handle(event, 2.0)  # type: ignore[arg-type]
    assert worker.slots_busy == 0 and worker.kept()[0].results == 1
    worker.check_invariants()
    told, refusal = back(worker)
    assert isinstance(told, Kept) and isinstance(refusal, Refusal), "to hand over is no work"


def test_who_has_served_us_gets_the_slots_of_what_runs_for_nobody_at_the_moment() -> None:
    class Standing(NoMemory):
        def standing(self, peer: PeerId) -> float:
            return 100.0 if peer == STRANGER.peer_id else 0.0

    worker = machine(Standing(), slots=1)
    connect(worker)
    tell(worker, award(bid_of(worker)))
    worker.handle(RunnerReady(0, LEASE, 0), 0.0)
    tell(worker, marked(1))
    worker.handle(StreamGone(0), 0.0)
    connect(worker, 1, STRANGER.peer_id)
    effects = tell(worker, call(), 0.0, 1)
    assert EndLease(0, LEASE) in effects and isinstance(sent(effects, 1)[-1], Bid)


@pytest.mark.parametrize(
    ("event", "kind"),
    [
        (ChunkFailed(0, LEASE, 1, FailureKind.TIMEOUT, 1, "slow"), FailureKind.TIMEOUT),
        (ChunkRan(0, LEASE, 1, bytes(17 * MIB), 1.0), FailureKind.TOO_LARGE),
        (ChunkStopped(0, LEASE, 1), FailureKind.CRASHED),
    ],
)
def test_who_waits_for_what_runs_hears_how_it_failed(event: object, kind: FailureKind) -> None:
    worker = at_work()
    worker.handle(StreamGone(0), 1.0)
    back(worker)
    (told,) = sent(worker.handle(event, 3.0), 1)  # type: ignore[arg-type]
    assert isinstance(told, Results) and (told.lease, told.failures[0].kind) == (LEASE, kind)


def test_nobody_hears_of_what_is_kept_for_another() -> None:
    worker = at_work()
    worker.handle(StreamGone(0), 1.0)
    connect(worker, 1, STRANGER.peer_id)
    (bid,) = sent(tell(worker, call(takes_kept=True), 2.0, 1), 1)
    assert isinstance(bid, Bid)
    effects = tell(worker, FetchKept(lease=LEASE, chunks=(ChunkId(1),)), 2.0, 1)
    (answer,) = sent(effects, 1)
    assert isinstance(answer, Results) and not answer.results and answer.failures
    tell(worker, ForgetKept(lease=LEASE, chunks=(ChunkId(1), ChunkId(2))), 2.0, 1)
    assert worker.kept()[0].results == 1 and worker.slots_busy == 1
    (other,) = back(worker, 2, job="other")[:1]
    assert not isinstance(other, Kept)
    connect(worker, 3)
    assert not isinstance(sent(tell(worker, call(), 2.0, 3), 3)[0], Kept), "an older coordinator would not know it"


def test_more_than_can_be_kept_is_not_asked_for() -> None:
    worker = at_work()
    worker.handle(StreamGone(0), 1.0)
    back(worker)
    with pytest.raises(BadFrame, match="more than"):
        for first in range(0, 2000, 250):
            chunks = tuple(ChunkId(one) for one in range(first, first + 250))
            worker.handle(Received(1, FetchKept(lease=LEASE, chunks=chunks)), 2.0)


def test_a_receipt_says_that_the_job_has_ended() -> None:
    worker = at_work()
    worker.handle(StreamGone(0), 1.0)
    connect(worker, 1)
    assert EndLease(0, LEASE) in tell(worker, receipts(0), 2.0, 1)
    assert worker.kept() == [] and worker.slots_busy == 0


def test_work_for_a_coordinator_that_had_vanished_is_owed_as_well() -> None:
    worker = at_work()
    worker.handle(StreamGone(0), 1.0)
    worker.handle(ChunkRan(0, LEASE, 1, b"second", 70.0), 3.0)
    assert worker.ledger.unpaid_s(COORDINATOR.peer_id, 1e6, but=JobId("other")) == 70.5


def test_a_large_result_goes_in_parts() -> None:
    worker = leased()
    tell(worker, marked(1))
    worker.handle(ran(0, bytes(INLINE_SIZE_BYTES_MAX + 1)), 0.0)
    worker.handle(StreamGone(0), 1.0)
    back(worker)
    messages = sent(tell(worker, FetchKept(lease=LEASE, chunks=(ChunkId(1),)), 2.0, 1), 1)
    assert [type(one) for one in messages] == [PayloadPart, PayloadPart, Results]


def test_after_a_restart_it_is_told_of_and_paid_for() -> None:
    shelf = MemoryShelf()
    before = WorkerMachine(WORKER, machine().policy, ENVIRONMENTS, Random(0), shelf=shelf)
    connect(before)
    tell(before, award(bid_of(before)))
    before.handle(RunnerReady(0, LEASE, 0), 0.0)
    tell(before, marked(1))
    before.handle(ran(0), 0.0)
    before.handle(StreamGone(0), 1.0)
    stored = before._desk.kept.of(COORDINATOR.peer_id, JobId("job"))

    class Reloaded(MemoryShelf):
        def load(self) -> list[tuple[KeptResult, float]]:
            return [(one, 60.0) for one in stored]

        def get(self, one: KeptResult) -> bytes | None:
            return shelf.get(one)

    after = WorkerMachine(WORKER, machine().policy, ENVIRONMENTS, Random(0), shelf=Reloaded())
    after.restore(0.0)
    told, _ = back(after, 0, 0.0)
    assert isinstance(told, Kept) and told.chunks[0].chunk == 1
    tell(after, receipts(0))
    assert after.ledger.credits == 1.0
