"""One simulated peer: the shipped core, on a simulated host, through its sessions.

A worker comes and goes as the churn model says; the lives of a coordinator are in `submitter.py`. What differs from a
peer on a machine is the seam alone.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from math import inf

import trio

from peer.core import NodeEvent, NodeSettings, Part, PeerCore
from peer.seam import Executor, Seam
from protocol.bodies import Receipt
from protocol.errors import LocalError
from protocol.ids import PeerId
from protocol.limits import BUCKET_SIZE, KEYS_PER_PEER_MAX, LEASES_PER_WORKER_MAX, RECORDS_PER_KEY_MAX
from protocol.signing import Envelope, Identity
from protocol.worker_memory import NO_MEMORY, WorkerMemory
from protocol.worker_policy import WorkerPolicy
from simulations.crashes import Killed
from simulations.memory_host import MemoryHost
from simulations.models.churn import Session
from simulations.world import World, wall_clock

ID_BITS = 160
NEW_IDENTITY_AFTER_S = 5.0


MakeParts = Callable[[PeerCore], Sequence[Part]]


class SimulatedPeer:
    """One machine. Its identity stays the same over its sessions, until `change_identity`."""

    def __init__(
        self,
        world: World,
        number: int,
        executor: Executor,
        policy: WorkerPolicy,
        *,
        kind: str,
        reachable: bool = True,
        identity: Identity | None = None,
        memory: Callable[[PeerId], WorkerMemory] = lambda own: NO_MEMORY,
    ) -> None:
        self.world = world
        self.number = number
        self.executor = executor
        self.policy = policy
        self.kind = kind
        self.reachable = reachable
        self.renews_identity = False
        self.on_event: Callable[[NodeEvent], None] = lambda event: None
        """Told of what the core tells; set by what runs beside it."""
        self._memory = memory
        self.identity = identity or world.identity(number)
        self.random = world.random(f"peer/{number}")
        self.core: PeerCore | None = None
        self.host: MemoryHost | None = None
        self.credits_earned = 0.0
        self.sessions = 0
        self.crashes = 0
        self.online_s = 0.0
        self.joined_after_s: float | None = None
        self.chunks_run = 0
        self.contacts = 0
        self.records = 0
        self._life = 0
        self._renewing = False
        self._leaving = False
        self._session = trio.CancelScope()
        world.enroll(self.identity.peer_id, number)

    async def live(self, joins_at_s: float, sessions: Iterator[Session], *, returns: bool) -> None:
        """Be there as the sessions say until everything heals; from then on for good, if it ever `returns`."""
        heals_at_s = self.world.heals_at_s
        for stay in sessions:
            if stay.start_s >= heals_at_s:
                break
            await trio.sleep_until(max(joins_at_s, stay.start_s))
            stays_on = stay.end_s >= heals_at_s
            await self.be_there(inf if stays_on else stay.end_s, crashes=stay.crashes)
        if returns:
            await trio.sleep_until(heals_at_s)
            await self.be_there(inf, crashes=False)

    async def be_there(self, until_s: float, *, crashes: bool, make_parts: MakeParts = lambda _: ()) -> None:
        """Start, stay, leave politely or crash; in between perhaps become somebody else."""
        while until_s > trio.current_time():
            await self._one_session(until_s, crashes, make_parts)
            if not self._renewing:
                return
            self._renewing = False
            self._life += 1
            self.identity = self.world.identity(self.number, self._life)
            self.world.enroll(self.identity.peer_id, self.number)
            await trio.sleep(NEW_IDENTITY_AFTER_S)

    def crash(self) -> None:
        """Be killed, if it is there at all."""
        if self.core is not None:
            self._leave(self.core, crashes=True)

    def change_identity(self) -> None:
        """Leave, and come back soon as somebody else."""
        self._renewing = True
        if self.core is not None:
            self._leave(self.core, crashes=False)

    async def _one_session(self, until_s: float, crashes: bool, make_parts: MakeParts) -> None:
        came_at_s = trio.current_time()
        core, host = self._start()
        if until_s < inf:
            self.world.network.courier.call_at(until_s, partial(self._leave, core, crashes))
        try:
            with self._session:
                await self._run(core, make_parts(core))
        finally:
            self.online_s += trio.current_time() - came_at_s
            self.chunks_run += core.worker.view().chunks_run
            self.contacts, self.records = core.dht.contact_count, core.dht.record_count
            self.core = self.host = None
            self.world.entries.discard(host.peer_id)
            host.end("the other side closed the connection")

    def _leave(self, core: PeerCore, crashes: bool) -> None:
        """End the session of this core, if it has not ended: killed when it `crashes`, else politely."""
        if self.core is not core or self.host is None or self._leaving:
            return
        self._leaving = True
        self.world.trace.note("crash" if crashes else "leave", self.number)
        self.crashes += crashes
        if crashes:
            self.world.network.kill(self.host)
            self._session.cancel()
        else:
            core.stop()

    def check_invariants(self) -> None:
        """Record what is broken in this peer's books."""
        if self.core is None:
            return
        try:
            self.core.dht.check_invariants()
            self.core.worker.check_invariants()
        except (LocalError, AssertionError) as error:
            self.world.book.broke("invariants", f"peer {self.number}: {error!r}")
        self.look_at_tables()

    def look_at_tables(self) -> None:
        """Record how full this peer's tables are."""
        if self.core is None:
            return
        recording = self.world.book.recording
        recording.see("contacts of a peer", self.core.dht.contact_count, ID_BITS * BUCKET_SIZE)
        recording.see("records at a peer", self.core.dht.record_count, KEYS_PER_PEER_MAX * RECORDS_PER_KEY_MAX)
        recording.see("leases of a worker", self.core.worker.view().leases, LEASES_PER_WORKER_MAX)

    def _start(self) -> tuple[PeerCore, MemoryHost]:
        world, peer = self.world, self.identity.peer_id
        self.sessions += 1
        self._leaving, self._session = False, trio.CancelScope()
        world.trace.note("join", self.number, peer)
        host = self.host = world.network.host(self.identity, reachable=self.reachable)
        seam = Seam(self.identity, host, wall_clock, self.random, self.executor, None)
        settings = NodeSettings(policy=self.policy, bootstrap=world.entries.some(self.random))
        tell = partial(self._tell, trio.current_time())
        lookups = partial(world.book.on_lookup, self.number)
        core = self.core = PeerCore(
            seam, settings, tell=tell, on_receipt=self._keep_receipt, memory=self._memory(peer), on_lookup=lookups
        )
        if self.reachable:
            world.entries.add(peer, host.own_address)
        return core, host

    async def _run(self, core: PeerCore, parts: Sequence[Part]) -> None:
        try:
            await core.run(*parts)
        except* Killed:
            pass  # By itself, at a write of its journal: nobody is told.
        except* LocalError as group:
            self.world.book.broke("no_peer_falls_over", f"peer {self.number}: {_text(group)}")

    def _tell(self, started_at_s: float, event: NodeEvent) -> None:
        self.world.trace.note("tell", self.number, type(event).__name__)
        self.on_event(event)
        if self.joined_after_s is None:
            self.joined_after_s = trio.current_time() - started_at_s

    def _keep_receipt(self, envelope: Envelope, receipt: Receipt) -> None:
        self.world.book.on_receipt_got(self.number, receipt.worker, receipt.job, receipt.credits)
        self.credits_earned += receipt.credits


def _text(group: BaseExceptionGroup[LocalError]) -> str:
    """The first cause."""
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return str(error)
