"""Merkle trees over lists of byte strings (RFC 6962, section 2.1, with SHA-256).

Leaves and nodes are hashed in different domains, so that no inner node can be shown as a leaf. The
number of leaves is not in the root: whoever checks a proof must know it from elsewhere.
"""

from collections.abc import Sequence

from protocol.errors import LocalError
from protocol.ids import digest

_LEAF = b"\x00"
_NODE = b"\x01"


def merkle_root(leaves: Sequence[bytes]) -> bytes:
    """The root over the leaves in their order; of no leaves, the digest of the empty string."""
    if not leaves:
        return digest(b"")
    level = [_leaf(leaf) for leaf in leaves]
    while len(level) > 1:
        level = _next_level(level)
    return level[0]


def merkle_proof(leaves: Sequence[bytes], index: int) -> tuple[bytes, ...]:
    """The digests beside the path from leaf `index` to the root; raises `LocalError` when there is no such leaf."""
    if not 0 <= index < len(leaves):
        raise LocalError(f"no leaf {index} among {len(leaves)}")
    proof = []
    level = [_leaf(leaf) for leaf in leaves]
    while len(level) > 1:
        if index ^ 1 < len(level):
            proof.append(level[index ^ 1])
        level = _next_level(level)
        index //= 2
    return tuple(proof)


def check_proof(root: bytes, leaf: bytes, index: int, count: int, proof: Sequence[bytes]) -> bool:
    """Whether `leaf` is number `index` of the `count` leaves under `root`."""
    if not 0 <= index < count:
        return False
    node = _leaf(leaf)
    rest = iter(proof)
    while count > 1:
        if index ^ 1 < count:
            beside = next(rest, None)
            if beside is None:
                return False
            node = _node(beside, node) if index & 1 else _node(node, beside)
        index //= 2
        count = (count + 1) // 2
    return node == root and next(rest, None) is None


def _next_level(level: list[bytes]) -> list[bytes]:
    """Pairs hashed; an odd one at the end moves up as it is (the same tree as RFC 6962's recursion)."""
    above = [_node(level[at], level[at + 1]) for at in range(0, len(level) - 1, 2)]
    return above + level[-1:] if len(level) % 2 else above


def _leaf(data: bytes) -> bytes:
    return digest(_LEAF + data)


def _node(left: bytes, right: bytes) -> bytes:
    return digest(_NODE + left + right)
