"""Workers that misuse the hand-over: they give what they were never given, forge, replay, promise, claim too much."""

import logging
from collections.abc import Awaitable, Callable

import pytest
import trio
import trio.testing
from hostile import ENVIRONMENT, Hostile, join
from lives import SQUARES, finish, pass_time, running, square, wanted
from msgspec.structs import replace
from village import FunctionExecutor, village

from peer.hand_over import OFFERS_MAX
from peer.views import JobState, JobView
from protocol.errors import ParallelPeerError
from protocol.ids import ChunkId, LeaseId, digest
from protocol.limits import HAND_OVER_S_MAX, KEPT_PER_MESSAGE_MAX
from protocol.messages import Message
from protocol.messages.job import Call, Refusal, RefusalReason, Results
from protocol.messages.kept import FetchKept, ForgetKept, Kept, KeptChunk
from protocol.network import Stream
from protocol.signing import Identity

Attack = Callable[["Returning"], Awaitable[None]]


class Returning(Hostile):
    """Takes a chunk and keeps it until its coordinator has died; then it plays a trick, and refuses the call."""

    def __init__(self, attack: Attack) -> None:
        super().__init__(self._wait)
        self.trick = attack
        self.visits = 0
        self.heard: list[Message] = []

    @staticmethod
    async def _wait(_: Hostile) -> None:
        await trio.lowlevel.checkpoint()

    async def serve(self, stream: Stream) -> None:
        self.visits += 1
        if self.visits == 1:
            await super().serve(stream)
            return
        self.stream, self.channel = stream, type(self.channel)(stream, self.channel._codec)
        try:
            self.call = await self.next(Call)
            if self.visits == 2:
                await self.trick(self)
            refusal = Refusal(call_id=self.call.call_id, reason=RefusalReason.NO_FREE_SLOT)
            await self.channel.send(refusal)
            while True:
                self.heard.append(await self.channel.receive())
        except ParallelPeerError:
            await stream.reset()

    def offer(self, **changes: object) -> KeptChunk:
        """What it was given and has a right result of, but for what is changed."""
        (one,) = self.assigned.chunks
        (result,) = self.results().results
        assert one.handed_out is not None
        kept = KeptChunk(lease=self.lease, chunk=one.chunk, handed_out=one.handed_out, input=one.digest,
                         environment=ENVIRONMENT, size_bytes=result.size_bytes)  # fmt: skip
        return replace(kept, **changes)

    async def offers(self, **changes: object) -> None:
        await self.channel.send(Kept(chunks=(self.offer(**changes),)))

    async def gives(self, results: Results, **changes: object) -> None:
        await self.offers(**changes)
        self.heard.append(await self.next(FetchKept))
        await self.channel.send(results)


def offering(**changes: object) -> Attack:
    async def attack(one: Returning) -> None:
        await one.offers(**changes)

    return attack


def giving(**changes: object) -> Attack:
    async def attack(one: Returning) -> None:
        await one.gives(one.results(**changes))

    return attack


def marked(**changes: object) -> Attack:
    async def attack(one: Returning) -> None:
        await one.offers(handed_out=replace(one.offer().handed_out, **changes))

    return attack


async def twice(one: Returning) -> None:
    await one.gives(one.results())
    await one.channel.send(one.results())


async def unasked(one: Returning) -> None:
    await one.channel.send(one.results())


async def far_too_many(one: Returning) -> None:
    for _ in range(OFFERS_MAX // KEPT_PER_MESSAGE_MAX + 1):
        await one.channel.send(Kept(chunks=(one.offer(lease=LeaseId("?")),) * KEPT_PER_MESSAGE_MAX))


async def two_lives(one: Returning, caplog: pytest.LogCaptureFixture, end_lease: bool = False) -> tuple[JobView, float]:
    """The job after its coordinator was cut off and went on; with the seconds that the rest took."""
    async with village() as v:
        await v.worker("a", FunctionExecutor(square, item_s=1.0))
        join(v, one)
        seam = v.seam("coordinator", FunctionExecutor(square))
        async with running(v, seam) as coordinator:
            job = coordinator.submit(wanted())
            await pass_time(3.5)
            if end_lease:
                await one.stream.reset()
                one.visits = 2
                await pass_time(1.0)
                one.visits = 1
        await pass_time(5.0)
        async with running(v, seam) as coordinator:
            began_at = trio.current_time()
            coordinator.resume_unfinished()
            view, lines = await finish(v, coordinator, job)
            took_s = trio.current_time() - began_at
            assert (view.state, [line.result for line in lines]) == (JobState.DONE, SQUARES)
            await pass_time(10.0)
        assert not [record for record in caplog.records if record.levelno >= logging.ERROR]
        return view, took_s


def of(view: JobView, one: Hostile) -> int:
    return sum(worker.handed_over for worker in view.workers if worker.peer == one.peer)


async def test_what_it_was_given_is_taken_and_paid(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    one = Returning(giving())
    view, _ = await two_lives(one, caplog)
    assert of(view, one) == 1 and isinstance(one.heard[-1], ForgetKept)
    (worker,) = [worker for worker in view.workers if worker.peer == one.peer]
    assert worker.credits == pytest.approx(0.01)


REFUSED = {
    "other items": marked(first=20, last=20),
    "more items": marked(last=1, count=2),
    "another day": marked(at_unix_s=1.0),
    "no mark": marked(mark=bytes(32)),
    "another lease": offering(lease=LeaseId("another")),
    "another input": offering(input=digest(b"another")),
}


@pytest.mark.parametrize("name", REFUSED)
async def test_what_it_was_not_given_is_refused(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    one = Returning(REFUSED[name])
    view, took_s = await two_lives(one, caplog)
    kinds = [type(message) for message in one.heard]
    assert ForgetKept in kinds and FetchKept not in kinds
    assert of(view, one) == 0 and took_s < 40.0


async def test_what_it_was_given_in_a_lease_that_had_ended_is_refused(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """Its chunks went to others while the coordinator lived: it could collect what an accomplice has as well."""
    one = Returning(offering())
    view, _ = await two_lives(one, caplog, end_lease=True)
    assert of(view, one) == 0 and FetchKept not in map(type, one.heard)


BREACHES = {
    "signed by another": (giving(signer=Identity(bytes(32))), "expected"),
    "no commitment": (giving(commitment=None), "without a commitment"),
    "about another job": (giving(job="other"), "another job"),
    "about another manifest": (giving(manifest=bytes(32)), "another manifest"),
    "about another input": (giving(input=bytes(32)), "root does not fit"),
    "another result": (giving(digest=bytes(32)), "does not have the digest"),
    "of another size": (giving(data=b"\x81\x82\xf5\x19\xff\xff"), "not of the size"),
    "for another chunk": (giving(chunk=ChunkId(77)), "not asked for"),
    "twice": (twice, "not asked for"),
    "unasked": (unasked, "not asked for"),
    "far too many": (far_too_many, "keeps more than"),
}


@pytest.mark.parametrize("name", BREACHES)
async def test_a_breach_ends_its_stream_and_nothing_else(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    attack, complaint = BREACHES[name]
    one = Returning(attack)
    view, took_s = await two_lives(one, caplog)
    assert any("broke the protocol" in line and complaint in line for line in caplog.messages), caplog.messages
    assert of(view, one) == (name == "twice") and took_s < 40.0


async def test_who_promises_and_does_not_give_holds_up_little(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    one = Returning(offering())
    view, took_s = await two_lives(one, caplog)
    assert FetchKept in map(type, one.heard)
    assert of(view, one) == 0 and HAND_OVER_S_MAX - 1.0 < took_s < HAND_OVER_S_MAX + 40.0


async def test_it_is_not_paid_for_longer_than_it_had_the_chunk(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    one = Returning(giving(compute_s=1e9))
    view, _ = await two_lives(one, caplog)
    (worker,) = [worker for worker in view.workers if worker.peer == one.peer]
    assert 0 < worker.credits < 15.0
