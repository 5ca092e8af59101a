"""The worker driver under a hand-written coordinator, in virtual time: the happy path and every bad one."""

import logging
from collections.abc import Awaitable, Callable

import pytest
import trio
from trio.testing import MockClock
from worker_fakes import ALICE, BOB, LEASE, WORKER, Coordinator, Stage, stage

from protocol import encoding
from protocol.commitments import CommitmentTerms, Committed, check_commitment
from protocol.errors import StreamClosed, Unavailable
from protocol.framing import frame
from protocol.ids import BidId, ChunkId, JobId, LeaseId, digest
from protocol.limits import (
    CHUNK_CREDIT_PER_SLOT,
    FRAME_SIZE_BYTES_MAX,
    HEARTBEAT_INTERVAL_S,
    HEARTBEATS_MISSED_MAX,
    INLINE_SIZE_BYTES_MAX,
    MIB,
    SESSION_IDLE_S,
)
from protocol.messages.job import (
    Award,
    Bid,
    Call,
    FailureKind,
    Heartbeat,
    Leaving,
    Ready,
    Refusal,
    RefusalReason,
    Results,
)

HEARTBEAT = Heartbeat(lease=LEASE)


async def still_works(scene: Stage) -> None:
    """Somebody else gets a whole job through."""
    bob = await scene.coordinator(BOB)
    await bob.lease(lease=LeaseId("of bob"))
    await bob.assign({1: b"yes"}, LeaseId("of bob"))
    assert await bob.results(1) == {1: b"YES"}
    await bob.release(LeaseId("of bob"))


async def test_a_chunk_goes_in_and_its_committed_result_comes_out(autojump_clock: MockClock) -> None:
    async with stage() as scene:
        alice = await scene.coordinator()
        bid = await alice.call()
        assert isinstance(bid, Bid)
        ready = await alice.award(bid)
        assert isinstance(ready, Ready)
        assert ready.environment == digest(b"python")
        await alice.assign({7: b"seven"})
        message = await alice.next()
        assert isinstance(message, Results)
        (result,) = message.results
        assert (result.chunk, result.data, result.compute_s, result.log) == (7, b"SEVEN", 0.25, b"log")
        assert message.commitment is not None
        terms = CommitmentTerms(JobId("job"), LEASE, digest(alice.manifest().body), digest(b"python"))
        committed = [Committed(ChunkId(7), digest(b"seven"), digest(b"SEVEN"))]
        check_commitment(message.commitment, terms, 0, committed, WORKER.peer_id)
        numbers = scene.worker.view()
        assert (numbers.slots, numbers.slots_busy, numbers.leases, numbers.chunks_run) == (2, 1, 1, 1)
        await alice.release()
        await scene.until(lambda s: s.worker.view().leases == 0 and s.executor.open == 0)


async def test_many_chunks_of_all_sizes_come_back_each_once(autojump_clock: MockClock) -> None:
    async with stage() as scene:
        alice = await scene.coordinator()
        await alice.lease(2)
        chunks = {n: bytes([97 + n]) * (INLINE_SIZE_BYTES_MAX * (n % 3) + 1) for n in range(20)}
        async with trio.open_nursery() as nursery:
            nursery.start_soon(alice.assign, dict(list(chunks.items())[:10]))
            found = await alice.results(10)
        await alice.assign(dict(list(chunks.items())[10:]))
        found |= await alice.results(10)
        assert found == {n: data.upper() for n, data in chunks.items()}
        assert scene.executor.opened == 2


async def test_failures_of_each_sort_are_answered_and_the_slot_goes_on(autojump_clock: MockClock) -> None:
    async with stage() as scene:
        alice = await scene.coordinator()
        await alice.lease()
        await alice.assign({1: b"fail", 2: b"burst", 3: b"fine"})
        assert await alice.results(3) == {1: FailureKind.TIMEOUT, 2: FailureKind.ENVIRONMENT, 3: b"FINE"}


async def test_a_runner_that_cannot_be_opened_is_an_environment_failure(autojump_clock: MockClock) -> None:
    async with stage() as scene:
        scene.executor.broken = "no sandbox here"
        alice = await scene.coordinator()
        await alice.lease(2)
        await alice.assign({1: b"a", 2: b"b"})
        message = await alice.next()
        assert isinstance(message, Results)
        assert {(one.kind, one.detail) for one in message.failures} == {(FailureKind.ENVIRONMENT, "no sandbox here")}


async def test_a_call_for_what_is_not_offered_is_refused(autojump_clock: MockClock) -> None:
    async with stage(runtimes=("python",)) as scene:
        alice = await scene.coordinator()
        refusal = await alice.call(runtime="wasm")
        assert isinstance(refusal, Refusal)
        assert refusal.reason is RefusalReason.RUNTIME_NOT_OFFERED


async def test_an_award_for_an_unknown_bid_is_refused(autojump_clock: MockClock) -> None:
    async with stage() as scene:
        alice = await scene.coordinator()
        await alice.send(Award(call_id=4, bid=BidId("?"), lease=LEASE, price=1.0, slots=1, manifest=alice.manifest()))
        refusal = await alice.next()
        assert isinstance(refusal, Refusal)
        assert (refusal.call_id, refusal.reason) == (4, RefusalReason.BID_UNKNOWN)


async def test_a_manifest_signed_by_somebody_else_is_refused(autojump_clock: MockClock) -> None:
    async with stage() as scene:
        alice = await scene.coordinator()
        bob = await scene.coordinator(BOB)
        refusal = await alice.award(await alice.call(), manifest=bob.manifest())
        assert isinstance(refusal, Refusal)
        assert refusal.reason is RefusalReason.BAD_MANIFEST
        assert scene.executor.opened == 0


async def send_too_many(alice: Coordinator) -> None:
    await alice.assign(dict.fromkeys(range(CHUNK_CREDIT_PER_SLOT), b"hang"))
    await alice.assign({1000: b"one more"})


async def send_receipt_twice(alice: Coordinator) -> None:
    await alice.receipt(1)
    await alice.receipt(1)


VIOLATIONS: dict[str, Callable[[Coordinator], Awaitable[None]]] = {
    "more than 64 chunks": send_too_many,
    "announced; at most": lambda alice: alice.raw(b"\xff\xff\xff\x7f"),
    "not valid CBOR": lambda alice: alice.raw(frame(b"\xff\xfe")),
    "does not fit its type": lambda alice: alice.raw(frame(encoding.encode({"type": "assign", "lease": 5}))),
    "unknown message type 'gossip'": lambda alice: alice.raw(frame(encoding.encode({"type": "gossip"}))),
    "receipt 1 is replayed": send_receipt_twice,
    "Results does not belong here": lambda alice: alice.send(Results(lease=LEASE)),
    "has no lease 'other'": lambda alice: alice.send(Heartbeat(lease=LeaseId("other"))),
}


@pytest.mark.parametrize("story", VIOLATIONS)
async def test_a_breach_resets_that_stream_alone(
    autojump_clock: MockClock, story: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with stage() as scene:
        alice = await scene.coordinator()
        await alice.lease()
        with pytest.raises(Unavailable, match="reset"):
            await VIOLATIONS[story](alice)
            await alice.ends()
        await scene.until(lambda s: s.worker.view().sessions == 0)
        assert scene.worker.view().violations == 1
        assert scene.worker.violations() == {ALICE.peer_id: 1}
        assert scene.worker.view().leases == 0
        assert story in caplog.text
        await still_works(scene)


async def test_a_frame_of_the_greatest_length_is_not_too_long(autojump_clock: MockClock) -> None:
    async with stage() as scene:
        alice = await scene.coordinator()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(alice.raw, frame(bytes(FRAME_SIZE_BYTES_MAX)))
            with pytest.raises(Unavailable):
                await alice.ends()


async def test_a_stream_that_ends_inside_a_frame_is_a_breach(autojump_clock: MockClock) -> None:
    async with stage() as scene:
        alice = await scene.coordinator()
        await alice.lease()
        await alice.raw(b"\x20half")
        await alice.channel.stream.close()
        await scene.until(lambda s: s.worker.view().sessions == 0)
        assert scene.worker.view().violations == 1


async def test_a_coordinator_that_vanishes_in_the_middle_of_a_chunk_frees_everything(autojump_clock: MockClock) -> None:
    async with stage() as scene:
        alice = await scene.coordinator()
        await alice.lease(2)
        await alice.assign({1: b"hang", 2: b"hang on", 3: b"three"})
        await scene.executor.wait_started(b"hang")
        await scene.executor.wait_started(b"hang on")
        scene.network.kill(scene.visitor(ALICE))
        await scene.until(lambda s: s.executor.open == 0)
        assert sorted(scene.executor.ended) == [b"hang", b"hang on"]
        numbers = scene.worker.view()
        assert (numbers.slots_busy, numbers.leases, numbers.sessions, numbers.violations) == (0, 0, 0, 0)
        await still_works(scene)


async def test_a_coordinator_that_falls_silent_loses_its_lease(autojump_clock: MockClock) -> None:
    async with stage() as scene:
        alice = await scene.coordinator()
        await alice.lease()
        await alice.assign({1: b"hang"})
        began = trio.current_time()
        leaving = await alice.next()
        assert isinstance(leaving, Leaving)
        assert trio.current_time() - began < HEARTBEAT_INTERVAL_S * HEARTBEATS_MISSED_MAX + 1
        await scene.until(lambda s: s.executor.open == 0)
        # The stream is still good for another try.
        assert isinstance(await alice.call(call_id=2), Bid)


async def test_heartbeats_keep_a_long_chunk_alive_and_tell_of_it(autojump_clock: MockClock) -> None:
    async with stage() as scene:
        alice = await scene.coordinator()
        await alice.lease()
        await alice.assign({1: b"sleep60"})
        for _ in range(25):
            message = await alice.channel.receive()
            assert message == Heartbeat(lease=LEASE, running=(ChunkId(1),))
            await alice.send(HEARTBEAT)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_beat, alice)
            assert await alice.results(1) == {1: b"SLEEP60"}
            nursery.cancel_scope.cancel()


async def _beat(alice: Coordinator) -> None:
    while True:
        await alice.send(HEARTBEAT)
        await trio.sleep(HEARTBEAT_INTERVAL_S)


async def test_cancelled_chunks_stop_and_the_others_go_on(autojump_clock: MockClock) -> None:
    async with stage() as scene:
        alice = await scene.coordinator()
        await alice.lease()
        await alice.assign({1: b"hang", 2: b"two", 3: b"three"})
        await scene.executor.wait_started(b"hang")
        await alice.cancel(1, 2)
        assert await alice.results(1) == {3: b"THREE"}
        assert scene.executor.ended == [b"hang", b"three"]


async def test_a_bug_in_one_session_ends_that_one_alone(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async with stage() as scene:
        alice = await scene.coordinator()
        await alice.lease()
        await alice.assign({1: b"bug"})
        with pytest.raises(Unavailable):
            await alice.ends()
        assert [r.levelno for r in caplog.records if "failed here" in r.message] == [logging.ERROR]
        assert scene.worker.view().violations == 0
        await still_works(scene)


async def test_no_more_runners_than_slots_even_while_old_ones_close(autojump_clock: MockClock) -> None:
    async with stage() as scene:
        scene.executor.close_s = 5.0
        for number in range(4):
            alice = await scene.coordinator()
            lease = LeaseId(f"lease {number}")
            await alice.lease(2, lease)
            await alice.assign({1: b"a"}, lease)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_beat_for, alice, lease)
                await alice.results(1)
                nursery.cancel_scope.cancel()
            await alice.release(lease)
            await scene.until(lambda s: s.worker.view().leases == 0)
        assert scene.executor.open_max == 2


async def _beat_for(alice: Coordinator, lease: LeaseId) -> None:
    while True:
        await alice.send(Heartbeat(lease=lease))
        await trio.sleep(HEARTBEAT_INTERVAL_S)


async def test_receipts_are_handed_over_and_summed(autojump_clock: MockClock) -> None:
    async with stage() as scene:
        alice = await scene.coordinator()
        await alice.lease()
        await alice.receipt(0)
        await alice.receipt(3)
        await alice.release()
        await scene.until(lambda s: s.worker.view().leases == 0)
        assert [receipt.sequence for receipt in scene.receipts] == [0, 3]
        assert scene.worker.view().credits_earned == 3.0


async def test_a_stop_tells_everyone_and_ends_the_streams_in_order(autojump_clock: MockClock) -> None:
    async with stage() as scene:
        alice, bob = await scene.coordinator(), await scene.coordinator(BOB)
        await alice.lease()
        await alice.assign({1: b"hang"})
        await scene.executor.wait_started(b"hang")
        await bob.call()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(scene.worker.stop_politely)
            leaving, refusal = await alice.next(), await bob.next()
            assert isinstance(leaving, Leaving)
            assert "stopping" in leaving.reason
            assert isinstance(refusal, Refusal)
            assert refusal.reason is RefusalReason.STOPPING
            for one in (alice, bob):
                with pytest.raises(StreamClosed):
                    await one.ends()
                await one.channel.stream.close()
        assert scene.worker.view().sessions == 0
        assert scene.executor.open == 0
        late = await scene.coordinator()
        with pytest.raises(Unavailable):
            await late.call()


async def test_a_stop_does_not_wait_for_those_who_do_not_answer(autojump_clock: MockClock) -> None:
    async with stage() as scene:
        alice = await scene.coordinator()
        await alice.lease()
        began = trio.current_time()
        await scene.worker.stop_politely()
        assert trio.current_time() - began < 5.0


async def test_a_stream_without_a_call_is_closed_in_the_end(autojump_clock: MockClock) -> None:
    async with stage() as scene:
        alice = await scene.coordinator()
        began = trio.current_time()
        with pytest.raises(StreamClosed):
            await alice.ends()
        assert abs(trio.current_time() - began - SESSION_IDLE_S) < 1.0


async def test_who_lives_but_does_not_read_results_is_cut_off(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    async with stage() as scene:
        alice = await scene.coordinator()
        await alice.lease()
        await alice.assign({number: bytes([number]) * MIB for number in range(3)})
        with pytest.raises(Unavailable):
            await _beat(alice)
        await scene.until(lambda s: s.worker.view().sessions == 0)
        assert "did not read for 30 s" in caplog.text
        await still_works(scene)


async def test_who_calls_and_calls_without_reading_is_cut_off(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async with stage() as scene:
        alice = await scene.coordinator()
        pile = Call(call_id=1, job=JobId("job"), runtime="x" * 200, slots_wanted=1, price_max=1.0)
        with pytest.raises(Unavailable):
            for _ in range(10_000):
                await alice.send(*[pile] * 50)
        await scene.until(lambda s: s.worker.view().sessions == 0)
        assert "asks without reading the answers" in caplog.text
        await still_works(scene)
