"""One run: the shipped peers on a simulated network, faults, healing, the end of all jobs, the checkers."""

import gc
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from itertools import takewhile

import trio

from protocol.worker_policy import WorkerPolicy
from simulations import adversaries, checkers
from simulations.attackers import Attacker, make_attackers
from simulations.book import Book
from simulations.crashes import with_worker_crashes
from simulations.figures import figures_of, tables_of
from simulations.footprint import memory_kib
from simulations.local_executor import LocalExecutor
from simulations.models.churn import Session, make_churn
from simulations.models.latency import make_latency
from simulations.models.speed import Machine, draw_machines
from simulations.network import LinkRules, SimulatedNetwork
from simulations.peers import SimulatedPeer
from simulations.result import Result
from simulations.scenario import Partition, Scenario
from simulations.scheduler import run_seeded
from simulations.submitter import Submitter
from simulations.trace import Trace
from simulations.versions import versions
from simulations.watched_executor import WatchedExecutor
from simulations.workload import Work, true_result
from simulations.world import Tally, World, child, watched_errors

LOOK_INTERVAL_S = 10.0
SETTLE_S = 5.0
"""After the last job: receipts are on their way."""

Progress = Callable[[float, float], None]


def run(scenario: Scenario, seed: int, progress: Progress | None = None) -> Result:
    """Run a scenario; the same scenario and seed give the same trace hash everywhere.

    `progress(virtual_s, wall_s)` is called about every virtual second. The run ends when every job has, or without
    jobs after `limits.duration_s`. Raises `LocalError` for a scenario that cannot be run, or when another run is
    going on in this process.
    """
    started_at, memory_before = time.perf_counter(), memory_kib()
    simulation = Simulation(scenario, seed, progress or (lambda virtual_s, wall_s: None))
    with _rare_collections():
        run_seeded(simulation.main, f"{seed}/scheduler")
    wall_s = time.perf_counter() - started_at
    return simulation.result(wall_s, memory_kib() - memory_before)


class Simulation:
    """One run, made for one call of `main`."""

    def __init__(self, scenario: Scenario, seed: int, progress: Progress) -> None:
        self.scenario = scenario
        self.seed = seed
        self.peers: list[SimulatedPeer] = []
        self._progress = progress
        self._started_at = time.perf_counter()
        self._trace = Trace(trio.current_time, scenario.limits.trace_events_max)
        self._tally = Tally(self._trace)
        self._book = Book(self._trace, self._tally.number_of, range(scenario.workload.coordinators))
        self._jobs_done = trio.Event()
        self._coordinators_left = {*range(scenario.workload.coordinators if scenario.workload.jobs else 0)}

    async def main(self) -> None:
        """The whole story, in virtual time."""
        recording = self._book.recording
        recording.tasks_before = trio.lowlevel.current_statistics().tasks_living
        with watched_errors(self._book):
            async with trio.open_nursery() as nursery:
                await self._go(nursery)
                nursery.cancel_scope.cancel()
        recording.tasks_after = trio.lowlevel.current_statistics().tasks_living
        recording.ended_at_s = trio.current_time()
        self._trace.note("end")

    def result(self, wall_s: float, memory_kib: float) -> Result:
        """What came of it."""
        recording = self._book.recording
        figures = figures_of(self._book, self.peers, self._tally)
        figures["events_per_wall_s"] = self._trace.events / wall_s
        figures["kib_per_peer"] = memory_kib / max(1, len(self.peers))
        return Result(
            scenario=self.scenario,
            seed=self.seed,
            trace_hash=self._trace.hexdigest(),
            events=self._trace.events,
            virtual_s=recording.ended_at_s,
            wall_s=wall_s,
            figures=figures,
            tables=tables_of(self._book, self.peers, self._tally),
            violations=checkers.check(recording, self.scenario),
            trace=self._trace.kept(),
            versions=versions(),
        )

    async def _go(self, nursery: trio.Nursery) -> None:
        world = self._make_world(nursery)
        self._populate(world, nursery)
        for partition in self.scenario.partitions:
            nursery.start_soon(self._part, world, partition)
        nursery.start_soon(self._look)
        limits = self.scenario.limits
        with trio.move_on_after(limits.duration_s):
            await self._wait_jobs(forever=True)
        if not self._over():
            self._heal(world)
            with trio.move_on_after(limits.liveness_s):
                await self._wait_jobs(forever=False)
        with trio.move_on_after(limits.liveness_s):
            await self._book.wait_at_rest()
        await trio.sleep(SETTLE_S)
        for peer in self.peers:
            peer.check_invariants()

    def _over(self) -> bool:
        return self._jobs_done.is_set() or not self.scenario.workload.jobs

    async def _wait_jobs(self, *, forever: bool) -> None:
        if self._coordinators_left or self._jobs_done.is_set():
            await self._jobs_done.wait()
        elif forever:
            await trio.sleep_forever()

    def _heal(self, world: World) -> None:
        self._trace.note("heal")
        self._book.recording.healed_at_s = trio.current_time()
        world.network.heal_all()

    # The population.

    def _make_world(self, nursery: trio.Nursery) -> World:
        scenario, seed = self.scenario, self.seed
        rules = LinkRules(scenario.network.bandwidth_bytes_per_s, scenario.network.loss)
        latency = make_latency(scenario.network.latency, child(seed, "latency"))
        network = SimulatedNetwork(nursery, latency, rules, child(seed, "network"), self._tally.tap)
        return World(scenario, seed, network, self._trace, self._tally, self._book)

    def _populate(self, world: World, nursery: trio.Nursery) -> None:
        scenario = self.scenario
        work = Work(scenario, world.random("work"))
        joins = world.random("joins")
        join_s = scenario.workers.join_s
        for number in range(scenario.workload.coordinators):
            submitter = self._submitter(world, number, work)
            nursery.start_soon(submitter.run, joins.uniform(0, join_s) if number else 0.0)
        churn = make_churn(scenario.churn)
        for peer in self._workers(world, work):
            stays = churn.sessions(peer.number, world.random(f"churn/{peer.number}"))
            stays = with_worker_crashes(stays, scenario.crashes, world.random(f"crashes/{peer.number}"))
            sessions = self._sessions_until_healed(stays)
            joins_at_s = joins.uniform(0, join_s)
            nursery.start_soon(partial(peer.live, joins_at_s, sessions, returns=scenario.churn.returns))
        for attacker in make_attackers(scenario, world.random("attackers")):
            nursery.start_soon(self._attack, world, attacker, joins.uniform(0, join_s))

    def _sessions_until_healed(self, sessions: Iterator[Session]) -> Iterator[Session]:
        """Drawn at once: a random source for each of ten thousand peers takes memory."""
        return iter(list(takewhile(lambda stay: stay.start_s < self.scenario.limits.duration_s, sessions)))

    async def _attack(self, world: World, attacker: Attacker, joins_at_s: float) -> None:
        """A peer that offers nothing and attacks until everything heals."""
        number, executor = len(self.peers), LocalExecutor()
        policy = WorkerPolicy(slots=0)
        peer = SimulatedPeer(world, number, executor, policy, kind="attacker", identity=attacker.identity)
        self.peers.append(peer)
        await trio.sleep_until(joins_at_s)
        await peer.be_there(world.heals_at_s, crashes=True, make_parts=lambda core: [attacker.part(core)])

    def _submitter(self, world: World, number: int, work: Work) -> Submitter:
        executor = LocalExecutor(work.duration_s, true_result)
        watched = WatchedExecutor(executor, number, self._book)
        peer = SimulatedPeer(world, number, watched, WorkerPolicy(slots=0), kind="coordinator")
        self.peers.append(peer)
        return Submitter(peer, work, self._on_ban, self._on_all_ended)

    def _on_all_ended(self, number: int) -> None:
        """All jobs of a coordinator have come to their end."""
        self._coordinators_left.discard(number)
        if not self._coordinators_left:
            self._jobs_done.set()

    def _workers(self, world: World, work: Work) -> list[SimulatedPeer]:
        scenario = self.scenario
        machines = draw_machines(scenario.workers, world.random("machines"))
        hidden = round(scenario.network.unreachable * len(machines))
        unreachable = set(world.random("unreachable").sample(range(len(machines)), hidden))
        member = adversaries.make_gang(scenario.adversary, world.random("gang"))
        made = [self._worker(world, work, one, member, one.number not in unreachable) for one in machines]
        self._book.recording.liars = frozenset(peer.identity.peer_id for peer in made if peer.kind == "liar")
        self.peers += made
        return made

    def _worker(
        self, world: World, work: Work, machine: Machine, member: adversaries.Member, reachable: bool
    ) -> SimulatedPeer:
        number = self.scenario.workload.coordinators + machine.number
        character, kind = adversaries.Adversary(), "worker"
        if machine.liar:
            character, kind = member(world.random(f"adversary/{number}")), "liar"
        elif machine.no_show:
            character, kind = adversaries.no_show(world.random(f"adversary/{number}")), "no-show"
        executor = LocalExecutor(partial(work.duration_s, speed=machine.speed), true_result)
        policy = WorkerPolicy(slots=machine.slots, price=machine.price, speed=machine.claimed_speed)
        peer = SimulatedPeer(
            world,
            number,
            WatchedExecutor(character.executor(executor), number, self._book),
            character.policy(policy),
            kind=kind,
            reachable=reachable,
            memory=character.memory,
        )
        peer.renews_identity = character.renews_identity
        return peer

    # What goes on.

    async def _part(self, world: World, partition: Partition) -> None:
        end_s = min(partition.end_s, self.scenario.limits.duration_s)
        if partition.start_s >= end_s:
            return
        await trio.sleep_until(partition.start_s)
        random = world.random(f"partition/{partition.start_s}")
        island = [peer.number for peer in self.peers if random.random() < partition.share]
        self._trace.note("partition", *island)
        await world.network.part([self.peers[number].identity.peer_id for number in island], end_s)
        self._trace.note("partition heals")

    async def _look(self) -> None:
        """Progress every virtual second, tables now and then."""
        while True:
            self._progress(trio.current_time(), time.perf_counter() - self._started_at)
            await trio.sleep(1.0)
            if trio.current_time() % LOOK_INTERVAL_S < 1.0:
                for peer in self.peers:
                    peer.look_at_tables()

    def _on_ban(self, banned: str) -> None:
        """Whoever takes a new name once it is caught does so."""
        peer = self.peers[self._tally.number_of[banned]]
        if peer.renews_identity and peer.identity.peer_id == banned:
            peer.change_identity()


@contextmanager
def _rare_collections() -> Iterator[None]:
    """Python looks for cycles less often: a big network has millions of objects, and a quarter of a run went there."""
    before = gc.get_threshold()
    gc.set_threshold(50_000, 4, 100)
    try:
        yield
    finally:
        gc.set_threshold(*before)
