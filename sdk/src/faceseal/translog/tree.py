"""Hashes of a log's Merkle tree (RFC 6962, section 2.1): SHA-256, 32 bytes each.

- leaf hash: SHA-256(0x00 || leaf); node hash: SHA-256(0x01 || left || right)
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence

EMPTY_ROOT = hashlib.sha256(b"").digest()


def leaf_hash(leaf: bytes) -> bytes:
    """RFC 6962, section 2.1."""
    return hashlib.sha256(b"\x00" + leaf).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """RFC 6962, section 2.1."""
    return hashlib.sha256(b"\x01" + left + right).digest()


def subtree_roots(hashes: Sequence[bytes]) -> list[bytes]:
    """The roots of the perfect subtrees over a run of hashes, largest first: one for each set bit of their number."""
    nodes, roots = list(hashes), []
    while nodes:
        if len(nodes) & 1:
            roots.append(nodes.pop())
        nodes = [node_hash(left, right) for left, right in zip(nodes[::2], nodes[1::2], strict=True)]
    return roots[::-1]


class RightEdge:
    """The roots of a growing tree's perfect subtrees: enough to append and to know the root.

    At size n it holds one hash per set bit of n, largest subtree first.
    """

    def __init__(self, size: int = 0, hashes: Iterable[bytes] = ()) -> None:
        self.size = size
        self.hashes = list(hashes)
        if len(self.hashes) != size.bit_count():
            raise ValueError(f"a tree of {size} leaves has {size.bit_count()} perfect subtrees, not {len(self.hashes)}")

    def append(self, hashed_leaf: bytes) -> None:
        """Add one leaf hash."""
        carried, size = hashed_leaf, self.size
        while size & 1:
            carried = node_hash(self.hashes.pop(), carried)
            size >>= 1
        self.hashes.append(carried)
        self.size += 1

    def root(self) -> bytes:
        """Root hash (RFC 6962, section 2.1)."""
        if not self.hashes:
            return EMPTY_ROOT
        root = self.hashes[-1]
        for left in reversed(self.hashes[:-1]):
            root = node_hash(left, root)
        return root
