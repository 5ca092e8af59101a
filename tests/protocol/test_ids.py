"""Ids: ours are libp2p's own, one key has one id, and nobody chooses a place in the DHT."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from libp2p.crypto.ed25519 import create_new_key_pair
from libp2p.peer.id import ID

from protocol.errors import BadRecord
from protocol.ids import NODE_ID_BYTES, PeerId, digest, node_id_of, peer_id_from_public_key, public_key_of, short
from protocol.signing import Identity

seeds = st.binary(min_size=32, max_size=32)


@given(seeds)
def test_peer_ids_are_those_of_libp2p(seed: bytes) -> None:
    theirs = create_new_key_pair(seed)
    assert Identity(seed).peer_id == ID.from_pubkey(theirs.public_key).to_base58()


@given(seeds)
def test_the_public_key_is_in_the_peer_id(seed: bytes) -> None:
    theirs = create_new_key_pair(seed)
    assert public_key_of(Identity(seed).peer_id) == theirs.public_key.to_bytes()
    assert peer_id_from_public_key(theirs.public_key.to_bytes()) == Identity(seed).peer_id


@pytest.mark.parametrize("space", [" ", "\n", "\t ", "\u2003", "\x1f"])
def test_one_key_has_one_id(space: str) -> None:
    """Otherwise a node id could be chosen, and one party could look like many."""
    with pytest.raises(BadRecord):
        public_key_of(PeerId(Identity(b"a" * 32).peer_id + space))


@pytest.mark.parametrize(
    "text",
    ["", "1", "0", "é", "12D3KooW", "QmYyQSo1c1Ym7orWxLYvCrM2EmxFTANf8wXmmE7DWjhx5N", Identity(b"a" * 32).peer_id[:-1]],
)
def test_what_is_no_peer_id(text: str) -> None:
    with pytest.raises(BadRecord):
        public_key_of(PeerId(text))


@given(st.text(max_size=64))
def test_any_text_is_a_peer_id_or_a_bad_record(text: str) -> None:
    with pytest.raises(BadRecord):
        public_key_of(PeerId(text))


def test_node_ids_are_a_digest() -> None:
    peer = Identity(b"a" * 32).peer_id
    assert node_id_of(peer) == digest(peer.encode())[:NODE_ID_BYTES]
    assert len(node_id_of(peer)) * 8 == 160


def test_short_ids_tell_peers_apart() -> None:
    peers = {Identity(bytes([number]) * 32).peer_id for number in range(50)}
    assert len({short(peer) for peer in peers}) == 50
