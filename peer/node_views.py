"""What a peer shows of itself and of the others it knows."""

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import trio

from peer.kept_view import KeptView
from peer.views import PeerView, StatusView
from protocol.capability import Capability
from protocol.ids import PeerId

if TYPE_CHECKING:
    from peer.node import Node


def status_view(node: "Node") -> StatusView:
    """The whole peer at one moment."""
    numbers = node.worker.view()
    offers = node.seam.executor.offers()
    addresses = list(node.seam.host.addresses())
    return StatusView(
        peer=node.seam.identity.peer_id,
        version=node.settings.version,
        pid=os.getpid(),
        data_folder=str(node.folder.path),
        uptime_s=trio.current_time() - node.started_at,
        addresses=addresses,
        bootstrap=[f"{address}/p2p/{node.seam.identity.peer_id}" for address in addresses],
        connected=len(node.seam.host.connected_peers()),
        callers=len(node.seam.host.callers()),
        dht_contacts=node.dht.contact_count,
        records=node.dht.record_count,
        slots=numbers.slots,
        slots_busy=numbers.slots_busy,
        jobs_running=node.coordinator.running(),
        leases=numbers.leases,
        sandbox=", ".join(sorted({offer.sandbox for offer in offers})),
        runtimes=[f"{offer.name} {offer.version}" for offer in offers],
        price=node.settings.policy.price,
        speed=node.settings.policy.speed,
        chunks_run=numbers.chunks_run,
        credits_earned=node.journal.credits()["earned"],
        fault=node.settings.fault,
        complaints=node.complaints.count,
        complaint=node.complaints.last,
        availability=node.availability.view(),
        limits=node.owner.in_words,
        kept=[KeptView(coordinator=o.coordinator, results=o.results, size_bytes=o.size_bytes) for o in numbers.kept],
        asked=len(node.door.asked()),
    )


def peer_views(node: "Node", records: Sequence[Capability], answered: Mapping[PeerId, bool]) -> list[PeerView]:
    """The other peers, the cheapest first; `answered` says who was tried and who answered."""
    connected = set(node.seam.host.connected_peers())
    banned = node.coordinator.trust.banned()
    return [
        PeerView(
            peer=one.peer,
            runtimes=[f"{offer.name} {offer.version}" for offer in one.runtimes],
            sandbox=", ".join(sorted({offer.sandbox for offer in one.runtimes})),
            slots=one.slots,
            price=one.price,
            speed=one.speed,
            memory_bytes=one.memory_bytes,
            gpus=[gpu.model or gpu.vendor for gpu in one.gpus],
            addresses=list(one.addresses),
            reachable=answered.get(one.peer),
            connected=one.peer in connected,
            expires_in_s=one.expires_at_unix_s - node.seam.wall_clock(),
            banned=banned.get(one.peer),
            fault=one.fault,
        )
        for one in sorted(records, key=lambda one: (one.price, one.peer))
    ]
