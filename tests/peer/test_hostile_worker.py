"""Workers that break the protocol: each is let go, named, and costs the job nothing but a moment."""

from collections.abc import Awaitable, Callable, Sequence

import pytest
import trio.testing
from village import OFFER, FunctionExecutor, Village, request, village

from peer.views import JobState
from protocol import encoding
from protocol.capability import Capability
from protocol.channel import MessageChannel
from protocol.commitments import CommitmentTerms, Committed, commit
from protocol.errors import ParallelPeerError
from protocol.framing import frame
from protocol.ids import BidId, ChunkId, LeaseId, digest
from protocol.limits import FRAME_SIZE_BYTES_MAX
from protocol.messages import Message
from protocol.messages.job import (
    JOB_CODEC,
    Assign,
    Award,
    Bid,
    Call,
    ChunkResult,
    PayloadPart,
    Ready,
    Results,
)
from protocol.network import JOB_PROTOCOL, Stream
from protocol.signing import Identity

ENVIRONMENT = bytes(32)
SEED = (777).to_bytes(32, "big")


def square(item: object) -> object:
    assert isinstance(item, int)
    return item * item


class Hostile:
    """Plays a worker by the book until it has been given chunks, then `attack` takes over."""

    def __init__(self, attack: Callable[["Hostile"], Awaitable[None]]) -> None:
        self.identity = Identity(SEED)
        self.attack = attack
        self.attacked = trio.Event()

    async def serve(self, stream: Stream) -> None:
        self.stream = stream
        self.channel: MessageChannel[Message] = MessageChannel(stream, JOB_CODEC)
        try:
            await self._by_the_book()
            await self.attack(self)
            self.attacked.set()
            while True:
                await self.channel.receive()
        except ParallelPeerError:
            await stream.reset()

    async def _by_the_book(self) -> None:
        call = await self._next(Call)
        bid = Bid(call_id=call.call_id, bid=BidId("1"), price=1.0, slots=1, speed=1.0, ready_s=0.0, expires_s=9.0)
        await self.channel.send(bid)
        award = await self._next(Award)
        self.lease, self.job, self.manifest = award.lease, call.job, digest(award.manifest.body)
        await self.channel.send(Ready(lease=self.lease, chunk_credit=8, environment=ENVIRONMENT))
        self.assigned = await self._next(Assign)

    async def _next(self, wanted: type[Message]) -> Message:
        while not isinstance(message := await self.channel.receive(), wanted):
            pass
        return message

    def results(self, **changes: object) -> Results:
        """Right results with a right commitment, but for what is changed."""
        data = {one.chunk: self._data(one.data or b"", changes) for one in self.assigned.chunks}
        results = tuple(
            ChunkResult(
                chunk=changes.get("chunk", chunk),  # type: ignore[arg-type]
                digest=changes.get("digest", digest(one)),  # type: ignore[arg-type]
                size_bytes=len(one),
                data=one,
                compute_s=0.01,
            )
            for chunk, one in data.items()
        )
        terms = {"job": self.job, "lease": self.lease, "manifest": self.manifest, "environment": ENVIRONMENT}
        inputs = {one.chunk: one.digest for one in self.assigned.chunks}
        envelope = commit(
            changes.get("signer", self.identity),  # type: ignore[arg-type]
            CommitmentTerms(**{name: changes.get(name, value) for name, value in terms.items()}),  # type: ignore[arg-type]
            changes.get("sequence", 0),  # type: ignore[arg-type]
            [
                Committed(
                    one.chunk,
                    changes.get("input", inputs.get(one.chunk, bytes(32))),  # type: ignore[arg-type]
                    changes.get("committed", one.digest),  # type: ignore[arg-type]
                )
                for one in results
            ],
        )
        return Results(lease=self.lease, commitment=changes.get("commitment", envelope), results=results)  # type: ignore[arg-type]

    @staticmethod
    def _data(payload: bytes, changes: dict[str, object]) -> bytes:
        if "data" in changes:
            return changes["data"]  # type: ignore[return-value]
        items = encoding.decode(payload)
        assert isinstance(items, list)
        return encoding.encode([[True, square(item)] for item in items])


def changed(**changes: object) -> Callable[[Hostile], Awaitable[None]]:
    async def attack(hostile: Hostile) -> None:
        await hostile.channel.send(hostile.results(**changes))

    return attack


def raw(data: bytes) -> Callable[[Hostile], Awaitable[None]]:
    async def attack(hostile: Hostile) -> None:
        await hostile.stream.send(data)

    return attack


def says(make: Callable[[Hostile], Sequence[Message]]) -> Callable[[Hostile], Awaitable[None]]:
    async def attack(hostile: Hostile) -> None:
        await hostile.channel.send(*make(hostile))

    return attack


async def truncated(hostile: Hostile) -> None:
    await hostile.stream.send(frame(JOB_CODEC.encode(hostile.results()))[:-5])
    await hostile.stream.close()


def part(offset: int, size: int) -> PayloadPart:
    return PayloadPart(digest=digest(b"x"), offset=offset, size_bytes=size, data=b"x")


ATTACKS = {
    "no commitment": (changed(commitment=None), "without a commitment"),
    "signed by another": (changed(signer=Identity(bytes(32))), "expected"),
    "another lease": (changed(lease=LeaseId("other")), "another job or lease"),
    "skipped sequence": (changed(sequence=3), "number 0 is due"),
    "replayed": (says(lambda h: [h.results(), h.results()]), "which it was not given"),
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
    "part too large": (says(lambda h: [part(0, 2**40)]), "in all"),
    "out of turn": (says(lambda h: [Ready(lease=h.lease, chunk_credit=9, environment=ENVIRONMENT)]), "out of turn"),
    "frame too long": (raw(b"\xff\xff\xff\xff\x0f"), str(FRAME_SIZE_BYTES_MAX)),
    "length overflow": (raw(b"\xff" * 9), "five bytes"),
    "frame not CBOR": (raw(frame(b"\xff\x00")), "CBOR"),
    "unknown type": (raw(frame(encoding.encode({"type": "conquer"}))), "conquer"),
    "truncated frame": (truncated, "inside a frame"),
}


def join(v: Village, hostile: Hostile) -> None:
    host = v.network.host(hostile.identity)
    host.serve(JOB_PROTOCOL, hostile.serve)
    v.hosts["hostile"] = host
    v.records.append(
        Capability(
            peer=hostile.identity.peer_id,
            sequence=1,
            expires_at_unix_s=1e9,
            addresses=tuple(host.addresses()),
            runtimes=(OFFER,),
        )
    )


@pytest.mark.parametrize("name", ATTACKS)
async def test_a_worker_that_breaks_the_protocol_is_let_go(name: str, autojump_clock: trio.testing.MockClock) -> None:
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
