"""Peers with blobs on a memory network, in virtual time, and holders that misbehave."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import trio
from blob_helpers import described, pieces_of, store_in

from peer.blobs import Blobs
from peer.seam import Seam
from protocol.channel import MessageChannel
from protocol.ids import PeerId
from protocol.limits import PART_SIZE_BYTES_MAX
from protocol.messages.blob import BLOB_CODEC, BlobMessage, Digests, Have, PieceHead, Want, WantDigests, WantPiece
from protocol.network import BLOB_PROTOCOL, Stream
from protocol.signing import Envelope, Identity
from simulations.memory_host import MemoryHost, MemoryNetwork, open_memory_network

Change = Callable[[BlobMessage], BlobMessage]


@dataclass
class FakeDht:
    """Keeps the newest record of each signer; the real one is tested in tests/dht."""

    records: dict[bytes, dict[PeerId, Envelope]] = field(default_factory=dict)
    stored: list[tuple[float, bytes, PeerId]] = field(default_factory=list)

    async def store(self, key: bytes, envelope: Envelope) -> int:
        self.records.setdefault(key, {})[envelope.signer] = envelope
        self.stored.append((trio.current_time(), key, envelope.signer))
        return 1

    async def find_records(self, key: bytes, wanted: int) -> tuple[list[Envelope], int]:
        found = list(self.records.get(key, {}).values())
        return found, len(found)


@dataclass
class Holder:
    """Gives a blob by the book, but for what `change` makes of each answer and how long each takes."""

    data: bytes
    change: Change = lambda message: message
    spoil: Callable[[bytes], bytes] = lambda data: data
    """What it makes of each piece."""
    part_s: float = 0.0
    held: bytes = b""
    asked: list[int] = field(default_factory=list)

    async def handle(self, stream: Stream) -> None:
        channel: MessageChannel[BlobMessage] = MessageChannel(stream, BLOB_CODEC)
        descriptor, digests = described(self.data)
        while True:
            match await channel.receive():
                case Want():
                    await channel.send(self.change(Have(descriptor=descriptor, held=self.held)))
                case WantDigests(first=first):
                    await channel.send(self.change(Digests(first=first, packed=b"".join(digests[first:]))))
                case WantPiece(piece=piece):
                    self.asked.append(piece)
                    data = self.spoil(pieces_of(self.data)[piece])
                    await channel.send(self.change(PieceHead(piece=piece, size_bytes=len(data))))
                    for offset in range(0, len(data), PART_SIZE_BYTES_MAX):
                        await trio.sleep(self.part_s)
                        await channel.send_raw(data[offset : offset + PART_SIZE_BYTES_MAX])


class Town:
    """Makes peers; all of them share a DHT."""

    def __init__(self, network: MemoryNetwork, nursery: trio.Nursery, folder: Path) -> None:
        self.network = network
        self.nursery = nursery
        self.folder = folder
        self.dht = FakeDht()
        self.hosts: dict[str, MemoryHost] = {}

    def host(self, name: str) -> tuple[MemoryHost, Identity]:
        identity = Identity((len(self.hosts) + 1).to_bytes(32, "big"))
        host = self.hosts[name] = self.network.host(identity)
        for other in self.hosts.values():
            other.add_addresses(host.peer_id, host.addresses())
            host.add_addresses(other.peer_id, other.addresses())
        return host, identity

    def id(self, name: str) -> PeerId:
        return self.hosts[name].peer_id

    async def peer(self, name: str, **options: int) -> Blobs:
        host, identity = self.host(name)
        seam = Seam(identity, host, lambda: 1000.0 + trio.current_time(), Random(1), None, None)  # type: ignore[arg-type]
        store = store_in(self.folder / name, **options)
        blobs = Blobs(seam, self.dht, store)  # type: ignore[arg-type]
        await self.nursery.start(blobs.run)
        return blobs

    def holder(self, name: str, holder: Holder) -> Holder:
        host, _ = self.host(name)
        host.serve(BLOB_PROTOCOL, holder.handle)
        return holder


@asynccontextmanager
async def town(folder: Path) -> AsyncIterator[Town]:
    async with open_memory_network(latency_s=0.005) as network, trio.open_nursery() as nursery:
        yield Town(network, nursery, folder)
        nursery.cancel_scope.cancel()
