"""Whole peers on strings: every execution waits for the test to say what comes of it, and time passes when it says so.

Coordinator, workers and journal are the shipped ones. They run in a thread of their own, which the test enters for each
step and leaves when nobody there has anything to do any more.
"""

import threading
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from math import inf
from pathlib import Path
from random import Random
from sqlite3 import Connection
from typing import TypeVar

import trio
import trio.testing
from dying_journal import DyingJournal, Killed
from village import OFFER, FixedDirectory

from peer.coordinator import Coordinator
from peer.seam import Execution, ExecutionFailure, Seam
from peer.views import JobRequest
from peer.witness import NoWitness
from peer.worker import Worker
from protocol import encoding
from protocol.bodies import Manifest, Receipt
from protocol.capability import Capability, RuntimeOffer
from protocol.ids import JobId, PeerId
from protocol.job_events import AssignChunks, Effect, RunAudit
from protocol.messages.job import FailureKind
from protocol.signing import Envelope, Identity
from protocol.worker_policy import WorkerPolicy
from simulations.memory_host import MemoryHost, MemoryNetwork, open_memory_network
from simulations.scheduler import run_seeded

T = TypeVar("T")
STEP_S = 0.5
LATENCY_S = 0.005


@dataclass(eq=False)
class Pending:
    """One chunk in execution."""

    items: list[int]
    done: trio.Event = field(default_factory=trio.Event)
    answer: Execution | ExecutionFailure | None = None

    def end(self, how: str, liar: int) -> None:
        """`right`, `lie` or `fail`; two liars never agree."""
        if how == "fail":
            self.answer = ExecutionFailure(FailureKind.CRASHED, 0, "the runner was killed by signal 9")
        else:
            off = liar if how == "lie" else 0
            outcomes = [[True, item * item + off] for item in self.items]
            self.answer = Execution(encoding.encode(outcomes), float(len(self.items)))
        self.done.set()


class PuppetExecutor:
    """Chunks wait in `pending`, the oldest first, until somebody ends them; with `by_itself` they end right."""

    def __init__(self) -> None:
        self.pending: list[Pending] = []
        self.by_itself = False
        self.right = Counter[int]()
        """How often each item was executed to a right end, or to any."""

    def offers(self) -> Sequence[RuntimeOffer]:
        return (OFFER,)

    def environment(self, runtime: str) -> bytes:
        return bytes(32)

    @asynccontextmanager
    async def open_runner(self, manifest: Manifest) -> AsyncIterator["PuppetExecutor"]:
        yield self

    async def run(self, payload: bytes) -> Execution | ExecutionFailure:
        items = encoding.decode(payload)
        assert isinstance(items, list)
        one = Pending(items)
        self.pending.append(one)
        try:
            if self.by_itself:
                one.end("right", 0)
            # A chunk takes a second for each item, as its worker will say.
            await trio.sleep(float(len(items)))
            await one.done.wait()
        finally:
            self.pending.remove(one)
        assert one.answer is not None
        self.right.update(items)
        return one.answer


class MortalJournal(DyingJournal):
    """Says that it dies before anything else can happen."""

    on_death: Callable[[], None]

    @contextmanager
    def transaction(self, *, durable: bool = False) -> Iterator[Connection]:
        try:
            with super().transaction(durable=durable) as connection:
                yield connection
        except Killed:
            self.on_death()
            raise

    def die_at_next_write(self, *, after: bool) -> None:
        self.dies_at, self.after = self.writes + 1, after


@dataclass
class Player:
    """A worker that is there."""

    name: str
    host: MemoryHost
    executor: PuppetExecutor
    worker: Worker
    scope: trio.CancelScope


class Stage:
    """One coordinator, which lives and dies, and workers, which come and go. Runs within trio."""

    def __init__(
        self, nursery: trio.Nursery, network: MemoryNetwork, clock: trio.testing.MockClock, path: Path
    ) -> None:
        self._nursery = nursery
        self._network = network
        self._clock = clock
        self._path = path
        self.me = Identity(bytes([1]) * 32)
        self.players: dict[str, Player] = {}
        self.earned = Counter[PeerId]()
        """By worker, from the receipts that it has."""
        self.given_out: Callable[[int], None] = lambda item: None
        """Told of each item that is to be executed. What a worker has from a life before it may still begin with."""
        self.executed = Counter[PeerId]()
        """By worker, seconds of all chunks that it has ever executed to their ends."""
        self._records: list[Capability] = []
        """Of those that are there: what the directory finds."""
        self.coordinator: Coordinator | None = None
        self.journal: MortalJournal = self._open()
        self.executor = PuppetExecutor()
        self._scope = trio.CancelScope()
        self._host: MemoryHost | None = None

    def _open(self) -> MortalJournal:
        journal = MortalJournal.open_dying(self._path)
        assert isinstance(journal, MortalJournal)
        journal.on_death = self._fall
        return journal

    def _decided(self, job: JobId, effect: Effect) -> None:
        match effect:
            case AssignChunks(_, pieces):
                pass
            case RunAudit(piece):
                pieces = (piece,)
            case _:
                return
        assert self.coordinator is not None
        items = self.coordinator._runners[job]._items
        for piece in pieces:
            for place in range(piece.start, piece.stop):
                self.given_out(items.number(place))

    # The coordinator.

    async def begin(self) -> None:
        """Another life: it goes on with what it finds in the journal."""
        self.journal.close()
        self.journal = self._open()
        self.executor = PuppetExecutor()
        host = self._host = self._network.host(self.me)
        random = Random(f"{trio.current_time()}")
        seam = Seam(self.me, host, lambda: 1e9 + trio.current_time(), random, self.executor, None)
        directory = FixedDirectory(host, self._records)
        self.coordinator = Coordinator(seam, directory, self.journal, NoWitness(), self._decided)  # type: ignore[arg-type]
        self._scope = trio.CancelScope()
        await self._nursery.start(self._live, self.coordinator, self._scope)
        with suppress(Killed):
            self.coordinator.resume_unfinished()
        await self.settle()

    async def _live(self, coordinator: Coordinator, scope: trio.CancelScope, *, task_status: object) -> None:
        try:
            with scope:
                async with trio.open_nursery() as nursery:
                    await nursery.start(coordinator.run)
                    await nursery.start(coordinator.redo_doubtful)
                    task_status.started()  # type: ignore[attr-defined]
                    await trio.sleep_forever()
        except* Killed:
            pass

    def _fall(self) -> None:
        """What is seen of it from outside ends at once."""
        if self._host is not None:
            self._network.kill(self._host)
        self.coordinator = None
        self._scope.cancel()

    async def kill(self) -> None:
        """Between two events."""
        self.journal.dies_at = -inf
        self._fall()
        await self.settle()

    # The workers.

    async def join(self, name: str) -> None:
        identity = Identity(name.encode().ljust(32, b"."))
        host = self._network.host(identity)
        executor = PuppetExecutor()
        seam = Seam(identity, host, lambda: 1e9 + trio.current_time(), Random(name), executor, None)
        worker = Worker(seam, WorkerPolicy(), on_receipt=self._keep)
        scope = trio.CancelScope()
        self.players[name] = Player(name, host, executor, worker, scope)
        await self._nursery.start(self._work, worker, scope)
        addresses = tuple(host.addresses())
        self._records.append(
            Capability(
                peer=host.peer_id, sequence=1, expires_at_unix_s=2e9, addresses=addresses, runtimes=(OFFER,), slots=1
            )
        )

    async def _work(self, worker: Worker, scope: trio.CancelScope, *, task_status: object) -> None:
        with scope:
            await worker.run(task_status=task_status)  # type: ignore[arg-type]

    async def leave(self, name: str, *, politely: bool) -> None:
        player = self.players.pop(name)
        self._records[:] = [one for one in self._records if one.peer != player.host.peer_id]
        if politely:
            self._nursery.start_soon(player.worker.stop_politely)
            await self.settle()
        self._network.kill(player.host)
        player.scope.cancel()
        self.executed[player.host.peer_id] += player.executor.right.total()
        await self.settle()

    def _keep(self, envelope: Envelope, receipt: Receipt) -> None:
        self.earned[receipt.worker] += receipt.credits

    def executed_by(self, peer: PeerId) -> int:
        """Items that it has executed, each as often as it did."""
        now = sum(one.executor.right.total() for one in self.players.values() if one.host.peer_id == peer)
        return self.executed[peer] + now

    # Time.

    async def settle(self) -> None:
        """Until nobody has anything to do before more time passes than messages take."""
        for _ in range(4):
            await trio.testing.wait_all_tasks_blocked()
            self._clock.jump(2 * LATENCY_S)
        await trio.testing.wait_all_tasks_blocked()

    async def pass_time(self, seconds: float) -> None:
        end = trio.current_time() + seconds
        while trio.current_time() < end:
            self._clock.jump(STEP_S)
            await self.settle()

    def submit(self, request: JobRequest) -> JobId:
        assert self.coordinator is not None
        return self.coordinator.submit(request)


class Theatre:
    """A stage in a thread; `do` runs one step on it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._ready = threading.Event()
        self._failure: BaseException | None = None
        self.stage: Stage
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        self._ready.wait()

    def _run(self) -> None:
        try:
            run_seeded(self._main, "puppets")
        except BaseException as failure:  # noqa: BLE001 - raised where the test waits
            self._failure = failure
        self._ready.set()

    async def _main(self) -> None:
        clock = trio.lowlevel.current_clock()
        assert isinstance(clock, trio.testing.MockClock)
        clock.autojump_threshold = inf
        # A call from the other thread may come a turn of the loop sooner or later, and each turn draws once.
        trio._core._run._r.random = lambda: 1.0  # type: ignore[attr-defined]
        async with open_memory_network(latency_s=LATENCY_S) as network, trio.open_nursery() as nursery:
            self.stage = Stage(nursery, network, clock, self._path)
            self._token = trio.lowlevel.current_trio_token()
            self._end = trio.Event()
            self._ready.set()
            await self._end.wait()
            self.stage.journal.dies_at = inf
            nursery.cancel_scope.cancel()
        self.stage.journal.close()

    def do(self, step: Callable[..., Awaitable[T]], *values: object) -> T:
        """Run one step to its end; raises what it raises, or what the stage has fallen over."""
        try:
            return trio.from_thread.run(step, *values, trio_token=self._token)
        except trio.RunFinishedError:
            self._thread.join()
            raise (self._failure or AssertionError("the stage is closed")) from None

    def close(self) -> None:
        """Everybody goes home."""

        async def end() -> None:
            self._end.set()

        if self._thread.is_alive():
            self.do(end)
        self._thread.join()
        if self._failure is not None:
            raise self._failure
