"""What the tests of the worker driver share: an executor that does as it is told, and a hand-written coordinator."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from random import Random
from typing import Self

import trio

from peer.seam import Execution, ExecutionFailure, Seam
from peer.worker import Worker
from protocol.bodies import Manifest, Receipt
from protocol.capability import RuntimeOffer
from protocol.channel import MessageChannel
from protocol.errors import LocalError
from protocol.ids import BidId, ChunkId, JobId, LeaseId, digest
from protocol.limits import MIB
from protocol.messages import Message
from protocol.messages.job import (
    JOB_CODEC,
    Assign,
    Assignment,
    Award,
    Bid,
    Call,
    CancelChunks,
    FailureKind,
    Heartbeat,
    PayloadPart,
    Ready,
    Receipts,
    Release,
    Results,
)
from protocol.network import JOB_PROTOCOL
from protocol.payloads import PayloadCollector, inline_or_parts
from protocol.signing import Envelope, Identity
from protocol.worker_policy import WorkerPolicy
from simulations.memory_host import MemoryHost, MemoryNetwork, open_memory_network

WORKER = Identity(bytes([1]) * 32)
ALICE = Identity(bytes([2]) * 32)
BOB = Identity(bytes([3]) * 32)
LEASE = LeaseId("lease")


class FakeExecutor:
    """Answers a payload in capitals. `hang` never ends, `fail` is a failure, `burst` a broken runner, `bug` a bug."""

    def __init__(self) -> None:
        self.opened = 0
        self.open = 0
        self.open_max = 0
        self.ended: list[bytes] = []
        self.started: dict[bytes, trio.Event] = {}
        self.broken: str | None = None
        self.close_s = 0.0

    def offers(self) -> Sequence[RuntimeOffer]:
        return [RuntimeOffer(name="python", version="3", sandbox="none"),
                RuntimeOffer(name="wasm", version="1", sandbox="none")]  # fmt: skip

    def environment(self, runtime: str) -> bytes:
        return digest(runtime.encode())

    @asynccontextmanager
    async def open_runner(self, manifest: Manifest) -> AsyncIterator["FakeRunner"]:
        await trio.lowlevel.checkpoint()
        if self.broken:
            raise LocalError(self.broken)
        self.opened += 1
        self.open += 1
        self.open_max = max(self.open_max, self.open)
        try:
            yield FakeRunner(self)
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(self.close_s)
            self.open -= 1

    async def wait_started(self, payload: bytes) -> None:
        await self.started.setdefault(payload, trio.Event()).wait()


class FakeRunner:
    def __init__(self, executor: FakeExecutor) -> None:
        self._executor = executor

    async def run(self, payload: bytes) -> Execution | ExecutionFailure:
        self._executor.started.setdefault(payload, trio.Event()).set()
        try:
            await trio.lowlevel.checkpoint()
            if payload.startswith(b"hang"):
                await trio.sleep_forever()
            if payload.startswith(b"sleep"):
                await trio.sleep(float(payload[5:]))
            if payload == b"fail":
                return ExecutionFailure(FailureKind.TIMEOUT, 2, "too slow", b"a log")
            if payload == b"burst":
                raise LocalError("no runner can be started")
            if payload == b"bug":
                raise ZeroDivisionError("a bug of ours")
            return Execution(payload.upper(), 0.25, b"log")
        finally:
            self._executor.ended.append(payload)


class Coordinator:
    """The other end of a job stream, by hand: each method is one step."""

    def __init__(self, channel: MessageChannel[Message], identity: Identity) -> None:
        self.channel = channel
        self.identity = identity
        self.collector = PayloadCollector(64 * MIB)

    async def send(self, *messages: Message) -> None:
        await self.channel.send(*messages)

    async def raw(self, data: bytes) -> None:
        await self.channel.stream.send(data)

    async def next(self) -> Message:
        """The next message but heartbeats."""
        while True:
            message = await self.channel.receive()
            if isinstance(message, PayloadPart):
                self.collector.feed(message)
            elif not isinstance(message, Heartbeat):
                return message

    async def call(self, **fields: object) -> Message:
        values = {"call_id": 1, "job": "job", "runtime": "python", "slots_wanted": 1, "memory_bytes": 64 * MIB,
                  "price_max": 2.0}  # fmt: skip
        await self.send(Call(**(values | fields)))  # type: ignore[arg-type]
        return await self.next()

    def manifest(self, **fields: object) -> Envelope:
        values = {"job": "job", "runtime": "python", "code": b"", "memory_bytes_max": 64 * MIB}
        return self.identity.sign(Manifest(**(values | fields)))  # type: ignore[arg-type]

    async def award(self, bid: Message, lease: LeaseId = LEASE, manifest: Envelope | None = None) -> Message:
        assert isinstance(bid, Bid), bid
        await self.send(Award(call_id=bid.call_id, bid=BidId(bid.bid), lease=lease, price=bid.price, slots=bid.slots,
                              manifest=manifest or self.manifest()))  # fmt: skip
        return await self.next()

    async def lease(self, slots: int = 1, lease: LeaseId = LEASE) -> Ready:
        ready = await self.award(await self.call(slots_wanted=slots), lease)
        assert isinstance(ready, Ready), ready
        return ready

    async def assign(self, chunks: dict[int, bytes], lease: LeaseId = LEASE) -> None:
        assignments = []
        for chunk, data in chunks.items():
            inline, parts = inline_or_parts(data)
            await self.send(*parts)
            assignments.append(Assignment(chunk=ChunkId(chunk), digest=digest(data), data=inline))
        await self.send(Assign(lease=lease, chunks=tuple(assignments)))

    async def results(self, count: int) -> dict[int, object]:
        """What each chunk came to: its data, or its failure."""
        found: dict[int, object] = {}
        while len(found) < count:
            message = await self.next()
            assert isinstance(message, Results), message
            for result in message.results:
                found[result.chunk] = self.collector.open(result.digest, result.data)
            found.update((failure.chunk, failure.kind) for failure in message.failures)
        return found

    async def cancel(self, *chunks: int) -> None:
        await self.send(CancelChunks(lease=LEASE, chunks=tuple(ChunkId(chunk) for chunk in chunks)))

    async def release(self, lease: LeaseId = LEASE) -> None:
        await self.send(Release(lease=lease))

    async def receipt(self, sequence: int) -> None:
        body = Receipt(job=JobId("job"), lease=LEASE, sequence=sequence, worker=WORKER.peer_id, chunks=(),
                       credits=1.5, price=1.0)  # fmt: skip
        await self.send(Receipts(lease=LEASE, receipt=self.identity.sign(body)))

    async def ends(self) -> None:
        """Wait until the worker ends the stream; raises `Unavailable` then."""
        while True:
            await self.next()


class Stage:
    """A worker on a network in memory, and coordinators who visit it."""

    def __init__(self, network: MemoryNetwork, worker: Worker, host: MemoryHost, executor: FakeExecutor) -> None:
        self.network = network
        self.worker = worker
        self.host = host
        self.executor = executor
        self.receipts: list[Receipt] = []
        self._hosts: dict[str, MemoryHost] = {}

    async def coordinator(self, identity: Identity = ALICE) -> Coordinator:
        """A coordinator with a new job stream."""
        host = self.visitor(identity)
        stream = await host.open_stream(WORKER.peer_id, JOB_PROTOCOL)
        return Coordinator(MessageChannel(stream, JOB_CODEC), identity)

    def visitor(self, identity: Identity) -> MemoryHost:
        """The host of a coordinator."""
        if identity.peer_id not in self._hosts:
            self._hosts[identity.peer_id] = self.network.host(identity)
            self._hosts[identity.peer_id].add_addresses(WORKER.peer_id, self.host.addresses())
        return self._hosts[identity.peer_id]

    async def until(self, condition: Callable[[Self], bool]) -> None:
        """Let others run until the condition holds."""
        with trio.fail_after(60):
            while not condition(self):  # noqa: ASYNC110 - in virtual time, any condition
                await trio.sleep(0.001)


@asynccontextmanager
async def stage(**policy: object) -> AsyncIterator[Stage]:
    """A worker with two slots, or as given; its books are checked at the end."""
    executor = FakeExecutor()
    async with open_memory_network(latency_s=0.001) as network:
        host = network.host(WORKER)
        seam = Seam(WORKER, host, lambda: 0.0, Random(0), executor, None)
        values = {"slots": 2} | policy
        receipts: list[Receipt] = []
        worker = Worker(seam, WorkerPolicy(**values), on_receipt=lambda _, receipt: receipts.append(receipt))  # type: ignore[arg-type]
        async with trio.open_nursery() as nursery:
            await nursery.start(worker.run)
            scene = Stage(network, worker, host, executor)
            scene.receipts = receipts
            yield scene
            worker.check_invariants()
            nursery.cancel_scope.cancel()
