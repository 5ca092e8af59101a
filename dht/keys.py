"""Where things lie in the key space: directory keys, their shards, and the distance between ids.

A directory key is the first 160 bits of `sha256("parallel-peer/key/1\\0" + name)`; a shard of it adds
`"\\0" + prefix`, a run of "0" and "1" that the node ids of its publishers begin with. Whether a record
belongs under a key can therefore be checked by anyone, which a holder does before it keeps one.
"""

from collections.abc import Iterator, Sequence
from functools import lru_cache

from protocol.accusation import Accusation
from protocol.blob_record import BlobProvider
from protocol.capability import Capability
from protocol.ids import NODE_ID_BYTES, PeerId, digest, node_id_of, public_key_of

Record = Capability | Accusation | BlobProvider
"""Of every kind that a holder keeps."""

KEY_DOMAIN = b"parallel-peer/key/1\0"
ACCUSATION_DOMAIN = b"parallel-peer/accused/1\0"
BLOB_DOMAIN = b"parallel-peer/blob-key/1\0"
KNOWN_RUNTIMES = ("python",)
"""Whoever lists peers asks for these by name."""
OTHER_PEERS = "peer"
"""The name under which peers are found that offer none of these runtimes."""
KEYS_CACHED_MAX = 8192
SHARD_BITS = 6
"""How many bits of the publishers' node ids each level of shards takes: few levels, so that publishing costs little."""
SHARD_DEPTH_MAX = 18
"""In bits."""


@lru_cache(maxsize=KEYS_CACHED_MAX)
def directory_key(name: str, prefix: str = "") -> bytes:
    """The key of a name, or of the shard of it whose publishers' node ids begin with these bits."""
    shard = b"\0" + prefix.encode() if prefix else b""
    return digest(KEY_DOMAIN + name.encode() + shard)[:NODE_ID_BYTES]


def names_of(capability: Capability) -> list[str]:
    """The names under which a capability is found, sorted."""
    runtimes = {offer.name for offer in capability.runtimes}
    others = () if runtimes.intersection(KNOWN_RUNTIMES) else (OTHER_PEERS,)
    return sorted({*others, *map(runtime_name, runtimes)})


def runtime_name(runtime: str) -> str:
    """The name under which those who offer a runtime are found."""
    return f"runtime:{runtime}"


def keys_of(capability: Capability) -> list[bytes]:
    """The keys (shards aside) under which a capability is found, in the order of its names."""
    return [directory_key(name) for name in names_of(capability)]


def shard_bits(peer: PeerId) -> str:
    """The bits that choose a peer's shards: the beginning of its node id."""
    return f"{int.from_bytes(node_id_of(peer)):0{NODE_ID_BYTES * 8}b}"[:SHARD_DEPTH_MAX]


@lru_cache(maxsize=KEYS_CACHED_MAX)
def accusation_key(accused: PeerId) -> bytes:
    """The key under which a peer is accused."""
    return digest(ACCUSATION_DOMAIN + accused.encode())[:NODE_ID_BYTES]


@lru_cache(maxsize=KEYS_CACHED_MAX)
def blob_key(blob: bytes) -> bytes:
    """The key under which those who have a blob are found."""
    return digest(BLOB_DOMAIN + blob)[:NODE_ID_BYTES]


def belongs(key: bytes, record: Record) -> bool:
    """Whether a record may lie under a key: it has the name and its peer's shard, accuses the key's peer, or
    provides the key's blob."""
    if isinstance(record, Accusation):
        return key == accusation_key(record.accused)
    if isinstance(record, BlobProvider):
        return key == blob_key(record.provided_blob)
    return any(key == candidate for candidate in _possible_keys(record))


def _possible_keys(capability: Capability) -> Iterator[bytes]:
    names = names_of(capability)
    bits = shard_bits(capability.peer)
    for depth in range(0, SHARD_DEPTH_MAX + 1, SHARD_BITS):
        for name in names:
            yield directory_key(name, bits[:depth])


def distance(one: bytes, other: bytes) -> int:
    """The XOR distance of two ids of 160 bits."""
    return int.from_bytes(one) ^ int.from_bytes(other)


def check_peer_ids(peers: Sequence[PeerId]) -> None:
    """Raise `BadRecord` for an id that no key can have: it could have been ground out to lie anywhere."""
    for peer in peers:
        _check_peer_id(peer)


@lru_cache(maxsize=65536)
def _check_peer_id(peer: PeerId) -> None:
    public_key_of(peer)
