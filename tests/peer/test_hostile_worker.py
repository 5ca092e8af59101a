"""Workers that break the protocol: each is let go, named, and costs the job nothing but a moment."""

import logging

import pytest
import trio
import trio.testing
from hostile import ENVIRONMENT, Hostile, changed, join, raw, says, square
from msgspec.structs import replace
from village import FunctionExecutor, request, village

from peer.views import JobState
from protocol import encoding
from protocol.bodies import Receipt
from protocol.framing import frame
from protocol.ids import ChunkId, LeaseId, digest
from protocol.limits import CHUNK_RESULT_BYTES_MAX, FRAME_SIZE_BYTES_MAX, PAYLOADS_WAITING_MAX
from protocol.messages.job import JOB_CODEC, Assign, PayloadPart, Ready, Receipts, Results
from protocol.signing import Identity


async def truncated(hostile: Hostile) -> None:
    await hostile.stream.send(frame(JOB_CODEC.encode(hostile.results()))[:-5])
    await hostile.stream.close()


def part(offset: int, size: int) -> PayloadPart:
    return PayloadPart(digest=digest(b"x"), offset=offset, size_bytes=size, data=b"x")


async def one_number_twice(hostile: Hostile) -> None:
    """Two commitments of one lease with one number, each to other chunks: it could show either."""
    await hostile.channel.send(hostile.results())
    hostile.assigned = await hostile.next(Assign)
    await hostile.channel.send(hostile.results(sequence=0))


def forged_in_its_name(hostile: Hostile) -> list[Results]:
    forged = hostile.results(signer=Identity(bytes(32)))
    assert forged.commitment is not None
    return [replace(forged, commitment=replace(forged.commitment, signer=hostile.peer))]


def more_than_it_says(hostile: Hostile) -> list[Results]:
    results = hostile.results()
    return [replace(results, results=tuple(replace(one, size_bytes=one.size_bytes - 1) for one in results.results))]


def a_receipt(hostile: Hostile) -> list[Receipts]:
    receipt = Receipt(job=hostile.job, lease=hostile.lease, sequence=0, worker=hostile.peer, chunks=(), credits=9.0,
                      price=9.0)  # fmt: skip
    return [Receipts(lease=hostile.lease, receipt=hostile.identity.sign(receipt))]


OTHER_VALUES = encoding.encode([[True, -1]])


ATTACKS = {
    "no commitment": (changed(commitment=None), "without a commitment"),
    "signed by another": (changed(signer=Identity(bytes(32))), "expected"),
    "another lease": (changed(lease=LeaseId("other")), "another job or lease"),
    "skipped sequence": (changed(sequence=3), "number 0 is due"),
    "replayed": (says(lambda h: [h.results(), h.results()]), "which it was not given"),
    "changed its mind": (
        says(lambda h: [h.results(), h.results(data=OTHER_VALUES, sequence=1)]),
        "which it was not given",
    ),
    "one number twice": (one_number_twice, "replayed: number 1 is due"),
    "forged in its name": (says(forged_in_its_name), "is not valid"),
    "another manifest": (changed(manifest=digest(b"m")), "another manifest"),
    "another input": (changed(input=digest(b"i")), "root"),
    "equivocation": (changed(committed=digest(b"something else")), "root"),
    "another environment": (changed(environment=digest(b"e")), "its environment is not the one"),
    "not its chunk": (changed(chunk=ChunkId(4711)), "which it was not given"),
    "wrong digest": (changed(digest=digest(b"d")), "digest"),
    "too few outcomes": (changed(data=encoding.encode([])), "outcomes"),
    "not outcomes": (changed(data=encoding.encode([7])), "outcome"),
    "not CBOR": (changed(data=b"\xff\xff"), "CBOR"),
    "part out of order": (says(lambda h: [part(5, 10)]), "is due"),
    "part too large": (says(lambda h: [part(0, CHUNK_RESULT_BYTES_MAX + 1)]), f"{CHUNK_RESULT_BYTES_MAX} is the most"),
    "payloads that nothing names": (says(lambda h: [part(0, 1)] * (PAYLOADS_WAITING_MAX + 1)), "no message has named"),
    "more than it says": (says(more_than_it_says), "not of the size it says"),
    "a receipt of its own": (says(a_receipt), "Receipts out of turn"),
    "out of turn": (says(lambda h: [Ready(lease=h.lease, chunk_credit=9, environment=ENVIRONMENT)]), "out of turn"),
    "frame too long": (raw(b"\xff\xff\xff\xff\x0f"), str(FRAME_SIZE_BYTES_MAX)),
    "length overflow": (raw(b"\xff" * 9), "five bytes"),
    "frame not CBOR": (raw(frame(b"\xff\x00")), "CBOR"),
    "unknown type": (raw(frame(encoding.encode({"type": "conquer"}))), "conquer"),
    "truncated frame": (truncated, "inside a frame"),
}


@pytest.mark.parametrize("name", ATTACKS)
async def test_a_worker_that_breaks_the_protocol_is_let_go(
    name: str, autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    attack, words = ATTACKS[name]
    hostile = Hostile(attack)
    async with village() as v:
        for honest in "ab":
            await v.worker(honest, FunctionExecutor(square, item_s=0.2))
        join(v, hostile)
        coordinator = await v.coordinator(FunctionExecutor(square))
        view, lines = await v.finish(coordinator, coordinator.submit(request(range(30), local=0)))
        assert hostile.attacked.is_set()
        assert view.state is JobState.DONE and [line.result for line in lines] == [n * n for n in range(30)]
        state = next(one.state for one in view.workers if one.peer == hostile.identity.peer_id)
        assert state.startswith("left:") and words in state
        assert [one.levelname for one in caplog.records if one.levelno > logging.WARNING or one.exc_info] == []


async def test_by_the_book_the_same_worker_is_accepted(autojump_clock: trio.testing.MockClock) -> None:
    """The control: without an attack the script above does its first batch and is believed."""
    hostile = Hostile(changed())
    async with village() as v:
        await v.worker("a", FunctionExecutor(square, item_s=0.2))
        join(v, hostile)
        coordinator = await v.coordinator(FunctionExecutor(square, item_s=0.2))
        view, _ = await v.finish(coordinator, coordinator.submit(request(range(20), local=1)))
        mine = next(one for one in view.workers if one.peer == hostile.identity.peer_id)
        assert view.state is JobState.DONE and mine.chunks_done == len(hostile.assigned.chunks)


@pytest.mark.parametrize("verify", ["none", "adaptive"])
async def test_nobody_has_computed_longer_than_it_had_the_chunk(
    verify: str, autojump_clock: trio.testing.MockClock
) -> None:
    """Neither is it paid for that, nor does it spoil what is expected of the others."""
    hostile = Hostile(changed(compute_s=1e15))
    async with village() as v:
        for honest in "ab":
            await v.worker(honest, FunctionExecutor(square, item_s=0.2))
        join(v, hostile)
        coordinator = await v.coordinator(FunctionExecutor(square, item_s=0.2))
        view, lines = await v.finish(coordinator, coordinator.submit(request(range(60), local=0, verify=verify)))
        assert view.state is JobState.DONE and [line.result for line in lines] == [n * n for n in range(60)]
        assert view.compute_total_s < 4 * view.elapsed_s and view.credits < 3 * view.elapsed_s
        assert sum(view.chunks.values()) < 60, "several items to a chunk, as they are cheap"
