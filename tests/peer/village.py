"""A small network of whole peers in one process and in virtual time, for tests of jobs."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import trio

from peer.coordinator import Coordinator
from peer.journal import Journal
from peer.seam import Execution, ExecutionFailure, Seam
from peer.views import JobRequest, JobView, ResultLine
from peer.witness import NoWitness
from peer.worker import OnComplaint, Worker
from protocol import encoding
from protocol.bodies import Manifest
from protocol.capability import Capability, RuntimeOffer
from protocol.ids import JobId, PeerId
from protocol.kept_results import KeptShelf
from protocol.signing import Identity
from protocol.worker_memory import NO_MEMORY, WorkerMemory
from protocol.worker_policy import WorkerPolicy
from simulations.memory_host import MemoryHost, MemoryNetwork, open_memory_network

OFFER = RuntimeOffer(name="python", version="3.11", sandbox="none (test)")
Function = Callable[[object], object]


@dataclass
class FunctionExecutor:
    """Runs a Python function in this process; each item takes `item_s` of virtual time."""

    function: Function
    item_s: float = 0.01
    failing: dict[object, ExecutionFailure] = field(default_factory=dict)
    runs: list[object] = field(default_factory=list)
    hang: bool = False

    def offers(self) -> Sequence[RuntimeOffer]:
        return (OFFER,)

    def environment(self, runtime: str) -> bytes:
        return bytes(32)

    @asynccontextmanager
    async def open_runner(self, manifest: Manifest) -> AsyncIterator["FunctionExecutor"]:
        yield self

    async def run(self, payload: bytes) -> Execution | ExecutionFailure:
        items = encoding.decode(payload)
        assert isinstance(items, list)
        outcomes: list[object] = []
        for place, item in enumerate(items):
            self.runs.append(item)
            await trio.sleep(float("inf") if self.hang else self.item_s)
            if self.failing and item in self.failing:
                failure = self.failing[item]
                return ExecutionFailure(failure.kind, place, failure.detail)
            outcomes.append(self._outcome(item))
        return Execution(encoding.encode(outcomes), self.item_s * len(items), b"")

    def _outcome(self, item: object) -> list[object]:
        try:
            return [True, self.function(item)]
        except ValueError as error:
            return [False, type(error).__name__, str(error), "Traceback ..."]


class FixedDirectory:
    """A directory that knows a fixed list of peers; the real one is tested in tests/dht."""

    def __init__(self, host: MemoryHost, peers: list[Capability]) -> None:
        self._host = host
        self._peers = peers

    async def find(self, runtime: str, wanted: int) -> list[Capability]:
        for one in self._peers:
            self._host.add_addresses(one.peer, one.addresses)
        return [one for one in self._peers if one.offers(runtime) and one.peer != self._host.peer_id]


class Village:
    """Workers and one coordinator on a memory network."""

    def __init__(self, nursery: trio.Nursery, network: MemoryNetwork, folder: Path | None) -> None:
        self.nursery = nursery
        self._folder = folder
        self.network = network
        self.records: list[Capability] = []
        self.hosts: dict[str, MemoryHost] = {}
        self.workers: dict[str, Worker] = {}
        self.seams: dict[str, Seam] = {}
        self.executors: dict[str, FunctionExecutor] = {}
        self.journal = Journal.open(None)
        self._numbers = iter(range(1, 1000))

    def seam(self, name: str, executor: FunctionExecutor) -> Seam:
        number = next(self._numbers)
        identity = Identity(number.to_bytes(32, "big"))
        self.hosts[name] = self.network.host(identity)
        self.executors[name] = executor
        return Seam(
            identity, self.hosts[name], lambda: 1000.0 + trio.current_time(), Random(number), executor, self._folder
        )

    def peer(self, name: str) -> PeerId:
        return self.hosts[name].peer_id

    async def worker(
        self,
        name: str,
        executor: FunctionExecutor,
        memory: WorkerMemory = NO_MEMORY,
        on_complaint: OnComplaint = lambda coordinator, text: None,
        shelf: KeptShelf | None = None,
        **policy: object,
    ) -> Worker:
        seam = self.seam(name, executor)
        rules = WorkerPolicy(**policy)  # type: ignore[arg-type]
        worker = Worker(seam, rules, memory=memory, on_complaint=on_complaint, shelf=shelf)
        self.workers[name] = worker
        self.seams[name] = seam
        await self.nursery.start(worker.run)
        self.records.append(
            Capability(
                peer=seam.identity.peer_id,
                sequence=1,
                expires_at_unix_s=1e9,
                addresses=tuple(seam.host.addresses()),
                runtimes=(OFFER,),
                slots=1,
            )
        )
        return worker

    async def restart(self, name: str, shelf: KeptShelf) -> Worker:
        """The worker is stopped and started again, with what is on this shelf."""
        await self.workers[name].stop_politely()
        self.workers[name] = worker = Worker(self.seams[name], WorkerPolicy(), shelf=shelf)
        await self.nursery.start(worker.run)
        return worker

    def directory(self, name: str) -> FixedDirectory:
        """All workers, as found by this peer."""
        return FixedDirectory(self.hosts[name], self.records)

    async def coordinator(self, executor: FunctionExecutor) -> Coordinator:
        seam = self.seam("coordinator", executor)
        coordinator = Coordinator(seam, self.directory("coordinator"), self.journal, NoWitness())  # type: ignore[arg-type]
        await self.nursery.start(coordinator.run)
        return coordinator

    async def finish(self, coordinator: Coordinator, job: JobId) -> tuple[JobView, list[ResultLine]]:
        version = 0
        while not coordinator.view(job).state.is_final:
            version = await coordinator.wait_change(job, version)
        return coordinator.view(job), list(self.journal.results(job))


@asynccontextmanager
async def village(folder: Path | None = None) -> AsyncIterator[Village]:
    """`folder`: where the peers may write."""
    async with open_memory_network(latency_s=0.005) as network, trio.open_nursery() as nursery:
        yield Village(nursery, network, folder)
        nursery.cancel_scope.cancel()


def request(items: Sequence[object], **changes: object) -> JobRequest:
    return JobRequest(name="test", code="def run(item): ...", items=list(items), **changes)  # type: ignore[arg-type]
