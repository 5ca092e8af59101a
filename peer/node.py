"""One peer on a machine: the core of every peer, with the coordinator, the journal and the control API."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import trio

from peer.accusations import Accusations
from peer.availability import Availability
from peer.blob_store import BlobStore
from peer.blob_transfers import BlobTransfers
from peer.blobs import Blobs
from peer.complaints import Complaints
from peer.control_api import Jobs, serve_control
from peer.coordinator import Coordinator
from peer.core import AvailabilityChanged, JobsResumed, Joined, NodeEvent, NodeSettings, Part, PeerCore
from peer.data_folder import DataFolder
from peer.door import Door
from peer.job_blobs import JobBlobs
from peer.journal import Journal
from peer.kept_shelf import JournalShelf
from peer.node_views import peer_views, status_view
from peer.owner_side import OwnerSide
from peer.reachability import try_peers
from peer.seam import Seam
from peer.trust_book import TrustBook
from peer.views import PeerView, StatusView
from peer.worker_memory import JournalMemory
from protocol import encoding
from protocol.bodies import Receipt
from protocol.errors import Unavailable
from protocol.messages.base import to_plain
from protocol.signing import Envelope

if TYPE_CHECKING:
    from trio_typing import TaskStatus

PEERS_SHOWN_MAX = 256
FIND_TIMEOUT_S = 20.0


class Node:
    """A whole peer. `tell` is called, without waiting, as joining goes on, and when its results are found wrong."""

    def __init__(
        self,
        seam: Seam,
        settings: NodeSettings,
        folder: DataFolder,
        journal: Journal,
        tell: Callable[[NodeEvent], None],
        owner: OwnerSide,
    ) -> None:
        self.seam = seam
        self.settings = settings
        self.folder = folder
        self.journal = journal
        self.owner = owner
        self._tell = tell
        trust = TrustBook(journal, seam.wall_clock)
        self.door = Door(owner.accept, trust.is_paired, seam.wall_clock, seam.data_folder)
        self.availability = Availability(owner.rules, owner.senses, seam.wall_clock, self._on_availability)
        self.complaints = Complaints(seam.wall_clock, tell)
        self.core = PeerCore(
            seam,
            settings,
            tell=self._on_event,
            on_receipt=self._keep_receipt,
            on_complaint=self.complaints.hear,
            memory=JournalMemory(journal, self.door.leave),
            book=journal,
            worker_executor=owner.executor,
            shelf=JournalShelf(journal, seam.wall_clock),
        )
        self.dht = self.core.dht
        self.directory = self.core.directory
        self.worker = self.core.worker
        self.accusations = Accusations(
            replace(seam, executor=owner.executor), self.dht, replays=settings.policy.slots > 0
        )
        self.blobs = Blobs(seam, self.dht, BlobStore(folder.blobs))
        self.transfers = BlobTransfers(self.blobs)
        self.coordinator = Coordinator(seam, self.directory, journal, self.accusations, shelf=JobBlobs(self.blobs))

    async def run(self, *, task_status: "TaskStatus[None]" = trio.TASK_STATUS_IGNORED) -> None:
        """Run until `stop`; started once the control API answers.

        Raises `LocalError` (in an exception group) when a part fails: a peer of which a part is dead does not go on.
        """
        blobs = Part("blobs", self.blobs.run)  # Before the jobs, which read them.
        transfers = Part("transfers of blobs", self.transfers.run)
        coordinator = Part("the coordinator", self.coordinator.run)
        control = Part("the control API", self._serve_control)
        accusations = Part("fraud proofs", partial(self.accusations.run, self.coordinator))
        redo = Part("doing results again", self.coordinator.redo_doubtful)
        availability = Part("the owner's rules", self.availability.run)
        hold_back = Part("holding runners back", self.owner.hold_back)
        await self.core.run(
            blobs, transfers, coordinator, accusations, redo, availability, hold_back, control, task_status=task_status
        )

    def stop(self) -> None:
        """End `run` within a couple of seconds. Idempotent."""
        self.core.stop()

    # What the control API asks.

    @property
    def started_at(self) -> float:
        """The virtual or monotonic time at which `run` began."""
        return self.core.started_at

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
            records = await self.directory.all_peers(PEERS_SHOWN_MAX)
            return peer_views(self, records, await try_peers(self.dht, records))
        raise Unavailable(f"the directory did not answer within {FIND_TIMEOUT_S:.0f} s")

    async def _serve_control(self, *, task_status: "TaskStatus[list[str]]") -> None:
        with self.folder.socket_to_bind() as socket:
            await serve_control(self, socket, task_status=task_status)

    def _on_availability(self, why_not: str | None) -> None:
        if why_not is None:
            self.worker.resume()
        else:
            self.worker.suspend(why_not)
        self.directory.publish_soon()
        self._tell(AvailabilityChanged(why_not))

    def _on_event(self, event: NodeEvent) -> None:
        """A peer that has joined can find workers: now its unfinished jobs go on."""
        self._tell(event)
        if isinstance(event, Joined) and (resumed := self.coordinator.resume_unfinished()):
            self._tell(JobsResumed(resumed))

    def _keep_receipt(self, envelope: Envelope, receipt: Receipt) -> None:
        data = encoding.encode(to_plain(envelope))
        self.journal.add_receipt(data, receipt, given=False, peer=envelope.signer)
