"""One peer, put together: DHT, directory, worker, coordinator and control API in one nursery.

The seam comes from outside. The parts end in the order in which they need one another: first the work,
politely, while the network still carries messages, then the network.
"""

import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from math import inf
from typing import TYPE_CHECKING

import trio

from dht.directory import Directory
from dht.service import DhtService
from peer.control_api import Jobs, serve_control
from peer.coordinator import Coordinator
from peer.data_folder import DataFolder
from peer.journal import Journal
from peer.node_views import peer_views, status_view
from peer.seam import Seam
from peer.views import PeerView, StatusView
from peer.worker import Worker
from protocol import encoding
from protocol.bodies import Receipt
from protocol.capability import Capability
from protocol.errors import LocalError, Unavailable
from protocol.ids import PeerId
from protocol.limits import RECORD_LIFETIME_S
from protocol.messages.base import to_plain
from protocol.messages.dht import Contact
from protocol.signing import Envelope
from protocol.worker_policy import WorkerPolicy

if TYPE_CHECKING:
    from trio_typing import TaskStatus

REMEMBER_INTERVAL_S = 60.0
REMEMBERED_TRIED_MAX = 20
REMEMBERED_KEPT_MAX = 100
PEERS_SHOWN_MAX = 256
FIND_TIMEOUT_S = 20.0

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


NodeEvent = BootstrapTried | Joined


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeSettings:
    """What the owner wants of this peer."""

    policy: WorkerPolicy
    bootstrap: Sequence[tuple[PeerId, str]] = ()
    fault: str | None = None
    version: str = ""


class Node:
    """A whole peer. `tell` is called, without waiting, as joining goes on."""

    def __init__(
        self,
        seam: Seam,
        settings: NodeSettings,
        folder: DataFolder,
        journal: Journal,
        tell: Callable[[NodeEvent], None],
    ) -> None:
        self.seam = seam
        self.settings = settings
        self.folder = folder
        self.journal = journal
        self.dht = DhtService(seam.host, identity=seam.identity, random=seam.random, wall_clock=seam.wall_clock)
        self.directory = Directory(self.dht, seam.identity, random=seam.random, wall_clock=seam.wall_clock)
        self.worker = Worker(seam, settings.policy, on_receipt=self._keep_receipt)
        self.coordinator = Coordinator(seam, self.directory, journal)
        self.started_at = -inf
        self._tell = tell
        self._stopping = trio.Event()

    async def run(self, *, task_status: "TaskStatus[None]" = trio.TASK_STATUS_IGNORED) -> None:
        """Run until `stop`; started once the control API answers.

        Raises `LocalError` (in an exception group) when a part fails: a peer of which a part is dead does not go on.
        """
        self.started_at = trio.current_time()
        async with trio.open_nursery() as network:
            await network.start(self._part, "the DHT", self.dht.run)
            async with trio.open_nursery() as work:
                await work.start(self._part, "the worker", self.worker.run)
                await work.start(self._part, "the coordinator", self.coordinator.run)
                with self.folder.socket_to_bind() as socket:
                    await work.start(self._part, "the control API", partial(serve_control, self, socket))
                    network.start_soon(self._part, "joining", self._take_part)
                    task_status.started()
                    await self._stopping.wait()
                    await self.worker.stop_politely()
                    work.cancel_scope.cancel()
            self._remember_contacts()
            network.cancel_scope.cancel()

    def stop(self) -> None:
        """End `run` within a couple of seconds. Idempotent."""
        self._stopping.set()

    # What the control API asks.

    @property
    def jobs(self) -> Jobs:
        """The coordinator."""
        return self.coordinator

    def status(self) -> StatusView:
        """This peer at this moment."""
        return status_view(self)

    async def peers(self) -> list[PeerView]:
        """The other peers in the directory, the cheapest first; raises `Unavailable` when it takes too long."""
        with trio.move_on_after(FIND_TIMEOUT_S):
            return peer_views(self, await self.directory.all_peers(PEERS_SHOWN_MAX))
        raise Unavailable(f"the directory did not answer within {FIND_TIMEOUT_S:.0f} s")

    def capability(self, sequence: int) -> Capability:
        """What this peer offers, for the directory."""
        policy = self.settings.policy
        return Capability(
            peer=self.seam.identity.peer_id,
            sequence=sequence,
            expires_at_unix_s=self.seam.wall_clock() + RECORD_LIFETIME_S,
            addresses=tuple(self.seam.host.addresses()),
            runtimes=tuple(self.seam.executor.offers()) if policy.slots else (),
            slots=policy.slots,
            memory_bytes=policy.memory_bytes,
            price=policy.price,
            speed=policy.speed,
            fault=self.settings.fault,
        )

    # Parts.

    async def _part(
        self,
        name: str,
        run: Callable[..., Awaitable[object]],
        *,
        task_status: "TaskStatus[None]" = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """The supervised boundary of one part: its failure is logged whole and ends the peer in one sentence."""
        try:
            await run(task_status=task_status)
        except Exception as error:
            logger.exception("%s failed", name)
            raise LocalError(f"{name} failed: {_first_cause(error)}") from error
        if not self._stopping.is_set():
            raise LocalError(f"{name} ended by itself")

    async def _take_part(self, *, task_status: "TaskStatus[None]" = trio.TASK_STATUS_IGNORED) -> None:
        """Join the network, then offer what this peer has for as long as it runs."""
        task_status.started()
        await self._join()
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
        book = self.journal.addresses()[:REMEMBERED_TRIED_MAX]
        return [Contact(peer=PeerId(peer), addresses=tuple(addresses)) for peer, addresses in book if peer not in given]

    def _remember_contacts(self) -> None:
        try:
            for contact in reversed(self.dht.contacts()[:REMEMBERED_KEPT_MAX]):
                if contact.addresses:
                    self.journal.remember_addresses(contact.peer, contact.addresses)
        except LocalError as error:
            logger.warning("the addresses of other peers are not remembered: %s", error)

    def _keep_receipt(self, envelope: Envelope, receipt: Receipt) -> None:
        data = encoding.encode(to_plain(envelope))
        self.journal.add_receipt(data, given=False, peer=envelope.signer, job=receipt.job, credits=receipt.credits)


def _first_cause(error: BaseException) -> str:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return str(error) or type(error).__name__
