"""A worker that plays by the book until it has been given chunks, and what it may do then."""

from collections.abc import Awaitable, Callable, Sequence

import trio
from village import OFFER, Village

from protocol import encoding
from protocol.capability import Capability
from protocol.channel import MessageChannel
from protocol.commitments import CommitmentTerms, Committed, commit
from protocol.errors import ParallelPeerError
from protocol.ids import BidId, PeerId, digest
from protocol.messages import Message
from protocol.messages.job import JOB_CODEC, Assign, Award, Bid, Call, ChunkResult, Ready, Results
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

    @property
    def peer(self) -> PeerId:
        return self.identity.peer_id

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
        call = await self.next(Call)
        bid = Bid(call_id=call.call_id, bid=BidId("1"), price=1.0, slots=1, speed=1.0, ready_s=0.0, expires_s=9.0)
        await self.channel.send(bid)
        award = await self.next(Award)
        self.lease, self.job, self.manifest = award.lease, call.job, digest(award.manifest.body)
        await self.channel.send(Ready(lease=self.lease, chunk_credit=8, environment=ENVIRONMENT))
        self.assigned = await self.next(Assign)

    async def next(self, wanted: type[Message]) -> Message:
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
                compute_s=changes.get("compute_s", 0.01),  # type: ignore[arg-type]
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
            slots=1,
        )
    )
