"""Ids: what they are made of and how they are derived from one another.

A peer id is the libp2p id of an Ed25519 key: base58btc of the identity multihash of the protobuf
public key (libp2p specs, peer-ids). The public key can therefore be read back from the id, so a
signature is checked without any key directory.
"""

import hashlib
from functools import lru_cache
from typing import NewType

import base58

from protocol.errors import BadRecord

PeerId = NewType("PeerId", str)
JobId = NewType("JobId", str)
LeaseId = NewType("LeaseId", str)
BidId = NewType("BidId", str)
ChunkId = NewType("ChunkId", int)
NodeId = NewType("NodeId", bytes)

NODE_ID_BYTES = 20
DIGEST_BYTES = 32
RANDOM_ID_BITS = 128
NODE_IDS_CACHED_MAX = 1 << 17
"""Ids whose place in the key space is remembered: peers hear of the same contacts again and again."""

# multihash identity (0x00), length 36, protobuf: KeyType=Ed25519 (1), Data length 32.
_ED25519_PREFIX = bytes.fromhex("002408011220")


def digest(data: bytes) -> bytes:
    """SHA-256, the only digest on the wire."""
    return hashlib.sha256(data).digest()


def peer_id_from_public_key(public_key: bytes) -> PeerId:
    """The libp2p peer id of a raw 32-byte Ed25519 public key."""
    return PeerId(base58.b58encode(_ED25519_PREFIX + public_key).decode())


def public_key_of(peer_id: PeerId) -> bytes:
    """The raw Ed25519 public key inside a peer id; raises `BadRecord` when there is none."""
    try:
        raw = base58.b58decode(peer_id)
    except ValueError as error:
        raise BadRecord(f"not a peer id: {peer_id!r}") from error
    if len(raw) != len(_ED25519_PREFIX) + 32 or not raw.startswith(_ED25519_PREFIX):
        raise BadRecord(f"not the peer id of an Ed25519 key: {peer_id!r}")
    key = bytes(raw[len(_ED25519_PREFIX) :])
    if peer_id_from_public_key(key) != peer_id:
        # base58 overlooks space at the end: one key would have many ids, and a choice of Kademlia ids.
        raise BadRecord(f"not the one way to write a peer id: {peer_id!r}")
    return key


@lru_cache(maxsize=NODE_IDS_CACHED_MAX)
def node_id_of(peer_id: PeerId) -> NodeId:
    """The Kademlia id: the first 160 bits of SHA-256, so that nobody chooses it without making a key."""
    return NodeId(digest(peer_id.encode())[:NODE_ID_BYTES])


@lru_cache(maxsize=NODE_IDS_CACHED_MAX)
def node_number_of(peer_id: PeerId) -> int:
    """The Kademlia id as a number, for XOR distances."""
    return int.from_bytes(node_id_of(peer_id))


def short(peer_id: str) -> str:
    """The last eight characters: what people see in tables (the first eight are alike for all)."""
    return peer_id[-8:]
