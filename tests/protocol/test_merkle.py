"""Merkle trees: the vectors of RFC 6962's implementation, proofs, and forgeries."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.errors import LocalError
from protocol.merkle import check_proof, merkle_proof, merkle_root

LEAVES = st.lists(st.binary(max_size=8), min_size=1, max_size=40)
# From the test data of the certificate transparency project: roots over its first n leaves.
VECTOR_LEAVES = [bytes.fromhex(text) for text in ("", "00", "10", "2021", "3031", "40414243", "5051525354555657")]
VECTOR_ROOTS = {
    0: "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    1: "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    2: "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    3: "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    4: "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    5: "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    6: "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    7: "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
}


def reference_root(leaves: list[bytes]) -> bytes:
    """The definition in RFC 6962, section 2.1, word for word: recursive, split at a power of two."""
    if not leaves:
        return hashlib.sha256(b"").digest()
    if len(leaves) == 1:
        return hashlib.sha256(b"\x00" + leaves[0]).digest()
    split = 1 << (len(leaves) - 1).bit_length() - 1
    return hashlib.sha256(b"\x01" + reference_root(leaves[:split]) + reference_root(leaves[split:])).digest()


@pytest.mark.parametrize(("count", "root"), VECTOR_ROOTS.items())
def test_the_known_roots_come_out(count: int, root: str) -> None:
    assert merkle_root(VECTOR_LEAVES[:count]).hex() == root


@given(LEAVES)
def test_the_root_is_the_one_of_the_definition(leaves: list[bytes]) -> None:
    assert merkle_root(leaves) == reference_root(leaves)


@given(LEAVES)
def test_every_leaf_has_a_proof_that_checks(leaves: list[bytes]) -> None:
    root = merkle_root(leaves)
    for index, leaf in enumerate(leaves):
        assert check_proof(root, leaf, index, len(leaves), merkle_proof(leaves, index))


@given(LEAVES, st.data())
def test_no_other_leaf_place_or_proof_checks(leaves: list[bytes], data: st.DataObject) -> None:
    root = merkle_root(leaves)
    index = data.draw(st.integers(0, len(leaves) - 1))
    proof = merkle_proof(leaves, index)
    assert not check_proof(root, leaves[index] + b"!", index, len(leaves), proof)
    assert not check_proof(root, leaves[index], index, len(leaves), (*proof, bytes(32)))
    for other in range(-1, len(leaves) + 1):
        if not 0 <= other < len(leaves) or leaves[other] != leaves[index]:
            assert not check_proof(root, leaves[index], other, len(leaves), proof)
    if proof:
        assert not check_proof(root, leaves[index], index, len(leaves), proof[:-1])


@given(st.lists(st.binary(max_size=8), min_size=2, max_size=20))
def test_an_inner_node_cannot_pass_for_a_leaf(leaves: list[bytes]) -> None:
    left, right = (hashlib.sha256(b"\x00" + leaf).digest() for leaf in leaves[:2])
    assert merkle_root([left + right, *leaves[2:]]) != merkle_root(leaves)


def test_a_proof_for_a_leaf_that_is_not_there_is_our_mistake() -> None:
    with pytest.raises(LocalError, match="no leaf 2 among 2"):
        merkle_proof([b"a", b"b"], 2)
