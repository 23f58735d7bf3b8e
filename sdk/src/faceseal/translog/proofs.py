"""Proofs that an entry is in a log, and that a log continues an older one (RFC 9162, section 2.1)."""

from __future__ import annotations

import hmac
from collections.abc import Sequence

from faceseal.errors import TransparencyError
from faceseal.translog.tree import EMPTY_ROOT, leaf_hash, node_hash


def root_from_inclusion(index: int, size: int, hashed_leaf: bytes, proof: Sequence[bytes]) -> bytes:
    """Root of the tree of `size` leaves whose leaf `index` has this hash (RFC 9162, 2.1.3.2).

    Raises TransparencyError if the proof has not exactly the length that it must have.
    """
    if not 0 <= index < size:
        raise TransparencyError(f"entry {index} cannot be in a log of {size} entries")
    node, last, root = index, size - 1, hashed_leaf
    for sibling in proof:
        if last == 0:
            raise TransparencyError("the inclusion proof is too long")
        if node & 1 or node == last:
            root = node_hash(sibling, root)
            while not node & 1 and node != 0:
                node >>= 1
                last >>= 1
        else:
            root = node_hash(root, sibling)
        node >>= 1
        last >>= 1
    if last != 0:
        raise TransparencyError("the inclusion proof is too short")
    return root


def verify_inclusion(index: int, size: int, leaf: bytes, proof: Sequence[bytes], root: bytes) -> None:
    """Raises TransparencyError unless `leaf` is entry `index` of the tree with this root."""
    if not hmac.compare_digest(root_from_inclusion(index, size, leaf_hash(leaf), proof), root):
        raise TransparencyError(f"entry {index} is not in the log with this checkpoint")


def verify_consistency(old_size: int, size: int, proof: Sequence[bytes], old_root: bytes, root: bytes) -> None:
    """Raises TransparencyError unless the older tree is a prefix of the newer (RFC 9162, 2.1.4.2)."""
    if not 0 <= old_size <= size:
        raise TransparencyError(f"the log has shrunk from {old_size} to {size} entries")
    if old_size == 0 or old_size == size:
        expected = EMPTY_ROOT if old_size == 0 else root
        empty = size > 0 or hmac.compare_digest(root, EMPTY_ROOT)
        if proof or not empty or not hmac.compare_digest(old_root, expected):
            raise TransparencyError(f"the log of {size} entries does not continue the one of {old_size}")
        return
    path = list(proof)
    if old_size & (old_size - 1) == 0:
        path.insert(0, old_root)
    if not path:
        raise TransparencyError("the consistency proof is too short")
    node, last = old_size - 1, size - 1
    while node & 1:
        node >>= 1
        last >>= 1
    old, new = path[0], path[0]
    for sibling in path[1:]:
        if last == 0:
            raise TransparencyError("the consistency proof is too long")
        if node & 1 or node == last:
            old, new = node_hash(sibling, old), node_hash(sibling, new)
            while not node & 1 and node != 0:
                node >>= 1
                last >>= 1
        else:
            new = node_hash(new, sibling)
        node >>= 1
        last >>= 1
    if last != 0 or not hmac.compare_digest(old, old_root) or not hmac.compare_digest(new, root):
        raise TransparencyError(f"the log of {size} entries does not continue the one of {old_size}")
