"""A lease on the worker's side: order, credit, batches, cancels, signs of life, receipts."""

import pytest
from worker_talk import (
    COORDINATOR,
    HEARTBEAT,
    RELEASE,
    STRANGER,
    WORKER,
    assign,
    award,
    bid_of,
    cancel,
    committed,
    connect,
    leased,
    machine,
    ran,
    receipts,
    sent,
    started,
    tell,
    terms,
)

from protocol.commitments import Committed, check_commitment
from protocol.errors import BadFrame, BadSignature, IllegalTransition
from protocol.ids import ChunkId, JobId, LeaseId, digest
from protocol.limits import (
    CHUNK_CREDIT_PER_SLOT,
    CHUNK_INPUT_BYTES_MAX,
    CHUNK_RESULT_BYTES_MAX,
    FRAME_SIZE_BYTES_MAX,
    HEARTBEAT_INTERVAL_S,
    HEARTBEATS_MISSED_MAX,
    INLINE_SIZE_BYTES_MAX,
    LEASE_INPUT_BYTES_MAX,
    LEASES_REMEMBERED_MAX,
    LOG_BYTES_PER_CHUNK_MAX,
    RESULT_BATCHES_IN_FLIGHT_MAX,
    RESULT_DELAY_S,
)
from protocol.messages.job import (
    JOB_CODEC,
    Assign,
    Assignment,
    FailureKind,
    Heartbeat,
    Leaving,
    PayloadPart,
    Receipts,
    Results,
)
from protocol.payloads import PayloadCollector, parts_of
from protocol.worker_events import (
    ChunkFailed,
    ChunkStopped,
    Effect,
    EndLease,
    EndSession,
    KeepReceipt,
    ReadOn,
    Received,
    RunnerFailed,
    RunnerReady,
    Send,
    Sent,
    SessionEnded,
    StartLease,
    Stop,
    StopChunk,
    Tick,
)
from protocol.worker_machine import WorkerMachine

LEASE = LeaseId("lease")
SILENCE_S = HEARTBEAT_INTERVAL_S * HEARTBEATS_MISSED_MAX
CREDIT = 2 * CHUNK_CREDIT_PER_SLOT


def results(effects: tuple[Effect, ...]) -> list[Results]:
    return [message for message in sent(effects) if isinstance(message, Results)]


def step(worker: WorkerMachine, event: object, now: float = 0.0) -> tuple[Effect, ...]:
    effects = worker.handle(event, now)  # type: ignore[arg-type]
    worker.check_invariants()
    return effects


def test_chunks_start_in_order_as_slots_come_free() -> None:
    worker = leased()
    assert started(tell(worker, assign(5, 3, 4))) == [5, 3]
    assert started(step(worker, ran(0))) == [4]
    assert started(step(worker, ran(1))) == []
    assert worker.chunks_run == 2


def test_chunks_wait_for_their_runner() -> None:
    worker = machine()
    connect(worker)
    tell(worker, award(bid_of(worker, slots_wanted=2)))
    assert started(tell(worker, assign(1, 2))) == []
    assert started(step(worker, RunnerReady(0, LEASE, 1))) == [1]
    assert started(step(worker, RunnerReady(0, LEASE, 0))) == [2]


def test_a_single_result_goes_at_once_with_a_commitment_that_checks() -> None:
    worker = leased()
    tell(worker, assign(8))
    (message,) = results(step(worker, ran(0, b"eight")))
    (result,) = message.results
    assert (result.chunk, result.data, result.digest, result.size_bytes) == (8, b"eight", digest(b"eight"), 5)
    assert message.commitment is not None
    batch = check_commitment(message.commitment, terms(), 0, committed([result]), WORKER.peer_id)
    assert batch.results == (Committed(ChunkId(8), digest(b"input"), digest(b"eight")),)


def test_results_that_come_close_together_share_a_commitment() -> None:
    worker = leased(slots=1)
    tell(worker, assign(*range(9)))
    batches = []
    for number in range(9):
        batches += results(step(worker, ran(0), now=number * 1e-4))
    assert [len(batch.results) for batch in batches] == [5, 2, 1, 1]
    for sequence, batch in enumerate(batches):
        assert batch.commitment is not None
        check_commitment(batch.commitment, terms(), sequence, committed(batch.results), WORKER.peer_id)
    assert [result.chunk for batch in batches for result in batch.results] == list(range(9))


def test_a_result_waits_for_others_only_so_long() -> None:
    worker = leased(slots=1)
    tell(worker, assign(*range(10)))
    assert not results(step(worker, ran(0), now=1.0))
    assert worker.next_deadline() == 1.0 + RESULT_DELAY_S
    (batch,) = results(step(worker, Tick(), now=1.0 + RESULT_DELAY_S))
    assert len(batch.results) == 1
    assert worker.next_deadline() > 1.0 + RESULT_DELAY_S


def test_failures_are_answered_without_a_commitment() -> None:
    worker = leased()
    tell(worker, assign(1))
    failed = ChunkFailed(0, LEASE, 0, FailureKind.TIMEOUT, 3, "x" * 9000, b"log" * LOG_BYTES_PER_CHUNK_MAX)
    (message,) = results(step(worker, failed))
    (failure,) = message.failures
    assert (failure.chunk, failure.kind, failure.item) == (1, FailureKind.TIMEOUT, 3)
    assert message.commitment is None
    assert JOB_CODEC.decode(JOB_CODEC.encode(message)) == message


def test_a_result_that_is_too_large_is_a_failure() -> None:
    worker = leased()
    tell(worker, assign(1))
    (message,) = results(step(worker, ran(0, bytes(CHUNK_RESULT_BYTES_MAX + 1))))
    assert message.failures[0].kind is FailureKind.TOO_LARGE


def test_a_large_result_goes_in_parts_before_the_message() -> None:
    worker = leased()
    tell(worker, assign(1))
    data = bytes(INLINE_SIZE_BYTES_MAX + 1)
    *parts, message = sent(step(worker, ran(0, data)))
    collector = PayloadCollector(len(data))
    for part in parts:
        assert isinstance(part, PayloadPart)
        collector.feed(part)
    assert isinstance(message, Results)
    assert message.results[0].data is None
    assert collector.take(message.results[0].digest) == data


def test_every_message_fits_a_frame_however_large_the_answers() -> None:
    worker = leased()
    tell(worker, assign(*range(CREDIT)))
    effects: tuple[Effect, ...] = ()
    for number in range(CREDIT):
        log = b"l" * LOG_BYTES_PER_CHUNK_MAX
        failed = ChunkFailed(0, LEASE, number % 2, FailureKind.CRASHED, 0, "\N{SNOWMAN}" * 4096, log)
        done = ran(number % 2, bytes([number % 256]) * INLINE_SIZE_BYTES_MAX)
        effects += step(worker, failed if number % 3 else done)
        effects += step(worker, Sent(0, LEASE))
    messages = sent(effects)
    assert all(len(JOB_CODEC.encode(message)) <= FRAME_SIZE_BYTES_MAX for message in messages)
    assert sum(len(m.results) + len(m.failures) for m in messages if isinstance(m, Results)) == CREDIT


def test_when_the_stream_is_slow_few_batches_are_under_way_and_the_rest_waits() -> None:
    worker = leased(slots=1)
    tell(worker, assign(*range(60)))
    batches = []
    for number in range(60):
        batches += results(step(worker, ran(0), now=number * 1.0))
        if number % 4 == 0:
            tell(worker, HEARTBEAT, number * 1.0)
    assert len(batches) == RESULT_BATCHES_IN_FLIGHT_MAX
    assert worker.next_deadline() > 59.0
    (rest,) = results(step(worker, Sent(0, LEASE), now=60.0))
    assert len(rest.results) == 60 - sum(len(batch.results) for batch in batches)


@pytest.mark.parametrize(
    ("message", "story"),
    [
        (assign(*range(100, 100 + CREDIT - 2)), "more than 128 chunks"),
        (assign(1), "chunk 1 assigned twice"),
        (assign(3), "chunk 3 assigned twice"),
        (assign(7, 7), "chunk 7 assigned twice"),
        (assign(7, lease="another"), "has no lease 'another'"),
        (Assign(lease=LEASE, chunks=(Assignment(chunk=ChunkId(7), digest=digest(b"a"), data=b"b"),)), "digest"),
        (Assign(lease=LEASE, chunks=(Assignment(chunk=ChunkId(7), digest=digest(b"a")),)), "no payload was sent"),
        (Heartbeat(lease=LeaseId("another")), "has no lease"),
    ],
)
def test_what_breaks_the_rules_of_a_lease_is_the_coordinators_fault(message: Assign | Heartbeat, story: str) -> None:
    worker = leased()
    tell(worker, assign(1, 2, 3))
    with pytest.raises(BadFrame, match=story):
        worker.handle(Received(0, message), 0.0)
    step(worker, SessionEnded(0))
    assert worker.free().slots == 2


def test_an_input_over_the_limit_is_refused() -> None:
    worker = leased()
    data = bytes(CHUNK_INPUT_BYTES_MAX + 1)
    for part in parts_of(data):
        tell(worker, part)
    with pytest.raises(BadFrame, match="has an input of"):
        tell(worker, Assign(lease=LEASE, chunks=(Assignment(chunk=ChunkId(1), digest=digest(data)),)))


def test_parts_without_a_lease_are_refused() -> None:
    worker = machine()
    connect(worker)
    with pytest.raises(BadFrame, match="a payload without a lease"):
        tell(worker, next(parts_of(b"data")))


def test_the_whole_credit_can_be_used_and_comes_back_with_answers_and_cancels() -> None:
    worker = leased()
    tell(worker, assign(*range(CREDIT)))
    step(worker, ran(0))
    tell(worker, cancel(50))
    tell(worker, assign(1000, 1001))
    with pytest.raises(BadFrame, match="more than 128"):
        tell(worker, assign(1002))


def test_reading_stops_while_too_much_input_waits() -> None:
    worker = leased(slots=1)
    data = bytes(CHUNK_INPUT_BYTES_MAX)
    enough = LEASE_INPUT_BYTES_MAX // CHUNK_INPUT_BYTES_MAX + 1
    for number in range(enough):
        for part in parts_of(data):
            tell(worker, part)
        tell(worker, Assign(lease=LEASE, chunks=(Assignment(chunk=ChunkId(number), digest=digest(data)),)))
        assert worker.pause_if_full(0) is (number == enough - 1)
    # Whoever is not read cannot be reproached with silence.
    assert not any(isinstance(one, EndLease) for one in step(worker, Tick(), now=2 * SILENCE_S))
    effects = step(worker, ran(0), now=2 * SILENCE_S)
    assert ReadOn(0) in effects
    assert not worker.pause_if_full(0)
    assert not any(isinstance(one, EndLease) for one in step(worker, Tick(), now=3 * SILENCE_S - 0.1))
    assert any(isinstance(one, EndLease) for one in step(worker, Tick(), now=3 * SILENCE_S))


def test_cancelled_chunks_are_dropped_or_stopped_and_never_answered() -> None:
    worker = leased()
    tell(worker, assign(1, 2, 3, 4))
    effects = tell(worker, cancel(1, 3, 99))
    assert effects == (StopChunk(0, LEASE, 0),)
    assert started(step(worker, ChunkStopped(0, LEASE, 0))) == [4]
    effects = step(worker, ran(1)) + step(worker, ran(0))
    assert [result.chunk for batch in results(effects) for result in batch.results] == [2, 4]


def test_a_result_that_crosses_its_cancel_on_the_slot_is_dropped() -> None:
    worker = leased()
    tell(worker, assign(1))
    tell(worker, cancel(1))
    assert not results(step(worker, ran(0)))
    tell(worker, assign(1))
    assert len(results(step(worker, ran(1)))) == 1


def test_a_worker_without_a_runner_says_that_the_environment_failed() -> None:
    worker = machine()
    connect(worker)
    tell(worker, award(bid_of(worker, slots_wanted=2)))
    tell(worker, assign(1, 2))
    assert not results(step(worker, RunnerFailed(0, LEASE, 0, "no sandbox")))
    (message,) = results(step(worker, RunnerFailed(0, LEASE, 1, "no sandbox")))
    assert [(one.chunk, one.kind, one.detail) for one in message.failures] == [
        (1, FailureKind.ENVIRONMENT, "no sandbox"), (2, FailureKind.ENVIRONMENT, "no sandbox")]  # fmt: skip
    (message,) = results(tell(worker, assign(3)))
    assert message.failures[0].kind is FailureKind.ENVIRONMENT


def test_a_worker_with_some_runners_works_with_those() -> None:
    worker = machine()
    connect(worker)
    tell(worker, award(bid_of(worker, slots_wanted=2)))
    tell(worker, assign(1, 2))
    step(worker, RunnerFailed(0, LEASE, 0, "no sandbox"))
    assert started(step(worker, RunnerReady(0, LEASE, 1))) == [1]
    assert started(step(worker, ran(1))) == [2]


def test_heartbeats_name_what_runs() -> None:
    worker = leased()
    tell(worker, assign(5, 3, 4))
    assert worker.next_deadline() == HEARTBEAT_INTERVAL_S
    assert sent(step(worker, Tick(), now=HEARTBEAT_INTERVAL_S)) == [Heartbeat(lease=LEASE, running=(3, 5))]


def test_a_silent_coordinator_loses_its_lease() -> None:
    worker = leased()
    tell(worker, assign(1, 2, 3))
    tell(worker, HEARTBEAT, now=1.0)
    for now in (2.0, 4.0, 6.0, 8.0):
        assert not any(isinstance(one, EndLease) for one in step(worker, Tick(), now))
    effects = step(worker, Tick(), 1.0 + SILENCE_S)
    assert EndLease(0, LEASE) in effects
    assert isinstance(sent(effects)[-1], Leaving)
    assert worker.free().slots == 2
    # What comes late for that lease changes nothing; the coordinator may call again.
    for message in (assign(9), cancel(9), HEARTBEAT, RELEASE, next(parts_of(b"late"))):
        assert tell(worker, message, now=20.0) == ()
    step(worker, ran(0), now=20.0)
    step(worker, Sent(0, LEASE), now=20.0)
    assert bid_of(worker, now=20.0).slots == 1


def test_release_ends_the_lease_and_a_new_one_starts_afresh() -> None:
    worker = leased()
    tell(worker, assign(1, 2, 3))
    step(worker, ran(0))
    assert EndLease(0, LEASE) in tell(worker, RELEASE)
    assert (worker.free().slots, worker.chunks_run) == (2, 1)
    effects = tell(worker, award(bid_of(worker), lease="second"))
    assert any(isinstance(one, StartLease) for one in effects)
    step(worker, ran(0))
    with pytest.raises(BadFrame, match="has no lease 'never'"):
        tell(worker, assign(1, lease="never"))


def test_a_worker_that_stops_sends_what_it_has_and_leaves() -> None:
    worker = leased(slots=1)
    tell(worker, assign(*range(8)))
    assert not results(step(worker, ran(0)))
    effects = step(worker, Stop())
    batch, leaving = sent(effects)
    assert isinstance(batch, Results)
    assert [result.chunk for result in batch.results] == [0]
    assert isinstance(leaving, Leaving)
    assert [type(one) for one in effects] == [Send, Send, EndLease, EndSession]
    assert tell(worker, assign(20)) == ()


def test_the_end_of_the_stream_ends_the_lease() -> None:
    worker = leased()
    tell(worker, assign(1))
    assert step(worker, SessionEnded(0)) == (EndLease(0, LEASE),)
    assert worker.free().slots == 2
    step(worker, ran(0))
    with pytest.raises(IllegalTransition, match=r"Story: .* session 0 leased: SessionEnded"):
        worker.handle(SessionEnded(0), 0.0)


def test_a_slot_that_reports_out_of_turn_is_our_bug_and_tells_its_story() -> None:
    worker = leased()
    with pytest.raises(IllegalTransition, match=r"slot 1 is idle: end is not allowed. Story: runner ready"):
        worker.handle(ran(1), 0.0)


# Receipts.


def test_receipts_are_counted_also_after_the_lease() -> None:
    worker = leased()
    (keep,) = tell(worker, receipts(0))
    assert isinstance(keep, KeepReceipt)
    assert keep.receipt.credits == 1.0
    tell(worker, RELEASE)
    tell(worker, receipts(5, credits=2.5))
    assert (worker.ledger.credits, worker.ledger.receipts) == (3.5, 2)


@pytest.mark.parametrize(
    ("message", "error", "story"),
    [
        (receipts(3), BadFrame, "receipt 3 is replayed"),
        (receipts(2), BadFrame, "receipt 2 is replayed"),
        (receipts(4, STRANGER), BadSignature, "expected"),
        (receipts(4, worker=STRANGER.peer_id), BadFrame, "another lease, job or worker"),
        (receipts(4, job="other"), BadFrame, "another lease, job or worker"),
        (Receipts(lease=LEASE, receipt=receipts(4, lease="other").receipt), BadFrame, "another lease, job or worker"),
        (receipts(4, lease="other"), BadFrame, "not known here"),
    ],
)
def test_a_receipt_that_is_not_right_is_not_counted(message: Receipts, error: type[Exception], story: str) -> None:
    worker = leased()
    tell(worker, receipts(3))
    with pytest.raises(error, match=story):
        tell(worker, message)
    assert worker.ledger.credits == 1.0


def test_a_receipt_is_not_another_coordinators_to_give() -> None:
    worker = leased()
    connect(worker, 1, STRANGER.peer_id)
    with pytest.raises(BadFrame, match="not known here"):
        tell(worker, receipts(1, STRANGER), session=1)


def test_the_ledger_remembers_a_bounded_number_of_leases() -> None:
    worker = machine()
    for number in range(LEASES_REMEMBERED_MAX + 5):
        worker.ledger.open(LeaseId(str(number)), JobId("job"), COORDINATOR.peer_id)
    assert not worker.ledger.knows(LeaseId("4"))
    assert worker.ledger.knows(LeaseId("5"))
