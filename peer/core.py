"""What every peer is made of, real or simulated: DHT, directory and worker in one nursery, joined to the network.

The seam comes from outside. `Node` adds what a peer on a machine has besides: coordinator, journal, control
API. The parts end in the order in which they need one another: first the work, politely, while the network
still carries messages, then the network.
"""

import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from math import inf
from typing import TYPE_CHECKING, Protocol

import trio

from dht.directory import Directory
from dht.lookup_driver import OnLookup
from dht.service import DhtService
from peer.seam import Executor, Seam
from peer.worker import OnComplaint, OnReceipt, Worker
from protocol.capability import Capability
from protocol.errors import LocalError
from protocol.ids import PeerId
from protocol.kept_results import KeptShelf
from protocol.limits import RECORD_LIFETIME_S
from protocol.messages.dht import Contact
from protocol.worker_memory import NO_MEMORY, WorkerMemory
from protocol.worker_policy import WorkerPolicy

if TYPE_CHECKING:
    from trio_typing import TaskStatus

REMEMBER_INTERVAL_S = 60.0
REMEMBERED_TRIED_MAX = 20
REMEMBERED_KEPT_MAX = 100

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class BootstrapTried:
    """What came of one address that the user gave; `reason` is empty when the peer answered."""

    address: str
    reason: str


@dataclass(frozen=True, slots=True)
class Joined:
    """The attempt to join is over; with no contacts the peer stands alone for now."""

    contacts: int


@dataclass(frozen=True, slots=True)
class ComplaintHeard:
    """A coordinator says, in its own words, that a result of this machine was wrong."""

    coordinator: PeerId
    text: str


@dataclass(frozen=True, slots=True)
class AvailabilityChanged:
    """The worker may work again (None), or why it may not."""

    why_not: str | None


@dataclass(frozen=True, slots=True)
class JobsResumed:
    """So many jobs of this peer go on that ran when it last ended."""

    jobs: int


NodeEvent = BootstrapTried | Joined | ComplaintHeard | AvailabilityChanged | JobsResumed


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeSettings:
    """What the owner wants of this peer."""

    policy: WorkerPolicy
    bootstrap: Sequence[tuple[PeerId, str]] = ()
    fault: str | None = None
    version: str = ""


class AddressBook(Protocol):
    """Where a peer keeps the addresses of others from one start to the next. May raise `LocalError`."""

    def remember_addresses(self, peer: str, addresses: Sequence[str]) -> None:
        """Where a peer was last reached."""

    def addresses(self) -> list[tuple[str, list[str]]]:
        """(peer, addresses), the peer seen last first."""


@dataclass(frozen=True, slots=True)
class Part:
    """Something that runs for as long as the peer does; `run` tells its `task_status` when it is ready."""

    name: str
    run: Callable[..., Awaitable[object]]


class PeerCore:
    """A peer without its surroundings. `tell` is called, without waiting, as joining goes on.

    Without a `book` no addresses are remembered. `worker_executor`: for the work of others, else the seam's.
    """

    def __init__(
        self,
        seam: Seam,
        settings: NodeSettings,
        *,
        tell: Callable[[NodeEvent], None],
        on_receipt: OnReceipt | None = None,
        on_complaint: OnComplaint = lambda coordinator, text: None,
        memory: WorkerMemory = NO_MEMORY,
        book: AddressBook | None = None,
        on_lookup: OnLookup | None = None,
        worker_executor: Executor | None = None,
        shelf: KeptShelf | None = None,
    ) -> None:
        self.seam = seam
        self.settings = settings
        self.dht = DhtService(
            seam.host, identity=seam.identity, random=seam.random, wall_clock=seam.wall_clock, on_lookup=on_lookup
        )
        self.directory = Directory(self.dht, seam.identity, random=seam.random, wall_clock=seam.wall_clock)
        theirs = seam if worker_executor is None else replace(seam, executor=worker_executor)
        self.worker = Worker(
            theirs, settings.policy, on_receipt=on_receipt, on_complaint=on_complaint, memory=memory, shelf=shelf
        )
        self.started_at = -inf
        self._tell = tell
        self._book = book
        self._stopping = trio.Event()

    async def run(self, *parts: Part, task_status: "TaskStatus[None]" = trio.TASK_STATUS_IGNORED) -> None:
        """Run until `stop`, with further `parts` beside the worker; started once all of them are.

        Raises `LocalError` (in an exception group) when a part fails: a peer of which a part is dead does not go on.
        """
        self.started_at = trio.current_time()
        async with trio.open_nursery() as network:
            await network.start(self._run_part, Part("the DHT", self.dht.run))
            async with trio.open_nursery() as work:
                for part in (Part("the worker", self.worker.run), *parts):
                    await work.start(self._run_part, part)
                network.start_soon(self._run_part, Part("joining", self._take_part))
                task_status.started()
                await self._stopping.wait()
                await self.worker.stop_politely()
                work.cancel_scope.cancel()
            self._remember_contacts()
            network.cancel_scope.cancel()

    def stop(self) -> None:
        """End `run` within a couple of seconds. Idempotent."""
        self._stopping.set()

    def capability(self, sequence: int) -> Capability:
        """What this peer offers, for the directory."""
        policy = self.settings.policy
        offers = [one for one in self.seam.executor.offers() if policy.offers(one.name)]
        return Capability(
            peer=self.seam.identity.peer_id,
            sequence=sequence,
            expires_at_unix_s=self.seam.wall_clock() + RECORD_LIFETIME_S,
            addresses=tuple(self.seam.host.addresses()),
            runtimes=tuple(offers) if policy.slots else (),
            # The runtimes stay while it does not work, so that this record takes the place of the one with slots.
            slots=0 if self.worker.suspended is not None else policy.slots,
            memory_bytes=policy.memory_bytes,
            disk_bytes=policy.disk_bytes,
            gpus=policy.gpus,
            price=policy.price,
            speed=policy.speed,
            fault=self.settings.fault,
        )

    async def _run_part(self, part: Part, *, task_status: "TaskStatus[None]" = trio.TASK_STATUS_IGNORED) -> None:
        """The supervised boundary of one part: its failure is logged whole and ends the peer in one sentence."""
        try:
            await part.run(task_status=task_status)
        except Exception as error:
            logger.exception("%s failed", part.name)
            raise LocalError(f"{part.name} failed: {_first_cause(error)}") from error
        if not self._stopping.is_set():
            raise LocalError(f"{part.name} ended by itself")

    async def _take_part(self, *, task_status: "TaskStatus[None]" = trio.TASK_STATUS_IGNORED) -> None:
        """Join the network, then offer what this peer has for as long as it runs."""
        task_status.started()
        await self._join()
        if self._book is None:
            await self.directory.run(self.capability)
            return
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.directory.run, self.capability)
            while True:
                self._remember_contacts()
                await trio.sleep(REMEMBER_INTERVAL_S)

    async def _join(self) -> None:
        given: dict[PeerId, list[str]] = {}
        for peer, address in self.settings.bootstrap:
            given.setdefault(peer, []).append(address)
        contacts = [Contact(peer=peer, addresses=tuple(addresses)) for peer, addresses in given.items()]
        reached = await self.dht.bootstrap(contacts)
        for line in self.dht.bootstrap_report:
            for address in line.contact.addresses:
                self._tell(BootstrapTried(f"{address}/p2p/{line.contact.peer}", line.reason))
        if own := given.get(self.seam.identity.peer_id):
            self._tell(BootstrapTried(f"{own[0]}/p2p/{self.seam.identity.peer_id}", "this is the peer itself"))
        if not reached:
            await self.dht.bootstrap(contacts + self._remembered(given))
        self._tell(Joined(self.dht.contact_count))

    def _remembered(self, given: dict[PeerId, list[str]]) -> list[Contact]:
        book = self._book.addresses()[:REMEMBERED_TRIED_MAX] if self._book is not None else []
        return [Contact(peer=PeerId(peer), addresses=tuple(addresses)) for peer, addresses in book if peer not in given]

    def _remember_contacts(self) -> None:
        if self._book is None:
            return
        try:
            for contact in reversed(self.dht.contacts()[:REMEMBERED_KEPT_MAX]):
                if contact.addresses:
                    self._book.remember_addresses(contact.peer, contact.addresses)
        except LocalError as error:
            logger.warning("the addresses of other peers are not remembered: %s", error)


def _first_cause(error: BaseException) -> str:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return str(error) or type(error).__name__
