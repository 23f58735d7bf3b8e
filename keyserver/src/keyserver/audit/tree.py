"""Which stored hashes make up a root or a proof: arithmetic on leaf ranges, no I/O.

Stored is the root of every perfect subtree, as a node (level, position) over the leaves
``[position << level, (position + 1) << level)``.  Any range that RFC 6962 hashes is a chain
of at most log2(n) of them, so that no proof ever looks at the leaves.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from faceseal.translog import EMPTY_ROOT, node_hash

Node = tuple[int, int]
"""(level, position)."""
Range = tuple[int, int]
"""Leaves [start, end), as RFC 6962 splits them."""


def grown(edge: Mapping[Node, bytes], first: int, leaves: Sequence[bytes]) -> dict[Node, bytes]:
    """The nodes that leaves (their hashes), from number `first` on, complete; edge: `perfect_subtrees` before them."""
    made: dict[Node, bytes] = {}
    for index, leaf in enumerate(leaves, start=first):
        node = leaf
        for level, position in new_nodes(index):
            if level:
                left = (level - 1, 2 * position)
                node = node_hash(made[left] if left in made else edge[left], node)
            made[level, position] = node
    return made


def new_nodes(index: int) -> list[Node]:
    """The perfect subtrees that leaf `index` completes, the leaf itself first."""
    nodes = [(0, index)]
    while nodes[-1][1] & 1:
        level, position = nodes[-1]
        nodes.append((level + 1, position >> 1))
    return nodes


def perfect_subtrees(leaves: Range) -> list[Node]:
    """The largest perfect subtrees that the range is made of, from left to right."""
    start, end = leaves
    nodes = []
    for level in reversed(range((end - start).bit_length())):
        if (end - start) >> level & 1:
            nodes.append((level, start >> level))
            start += 1 << level
    return nodes


def range_hash(leaves: Range, stored: Mapping[Node, bytes]) -> bytes:
    """Root hash of the range (RFC 6962, section 2.1).  Raises KeyError if a node is missing."""
    hashes = [stored[node] for node in perfect_subtrees(leaves)]
    if not hashes:
        return EMPTY_ROOT
    root = hashes.pop()
    while hashes:
        root = node_hash(hashes.pop(), root)
    return root


def inclusion_path(index: int, size: int) -> list[Range]:
    """The ranges whose hashes prove leaf `index` in the tree of `size` leaves (RFC 6962, 2.1.1).

    Raises ValueError if there is no such leaf.
    """
    if not 0 <= index < size:
        raise ValueError(f"no leaf {index} in a tree of {size}")
    path: list[Range] = []
    start, end = 0, size
    while end - start > 1:
        middle = start + _left_size(end - start)
        if index < middle:
            path.append((middle, end))
            end = middle
        else:
            path.append((start, middle))
            start = middle
    return path[::-1]


def consistency_path(old_size: int, size: int) -> list[Range]:
    """The ranges whose hashes prove that the older tree is a prefix of the newer (RFC 6962, 2.1.2).

    Raises ValueError unless ``0 <= old_size <= size``.
    """
    if not 0 <= old_size <= size:
        raise ValueError(f"a tree of {old_size} is no prefix of one of {size}")
    if old_size in (0, size):
        return []
    path: list[Range] = []
    start, end = 0, size
    while end != old_size:
        middle = start + _left_size(end - start)
        if old_size <= middle:
            path.append((middle, end))
            end = middle
        else:
            path.append((start, middle))
            start = middle
    if start > 0:
        path.append((start, end))
    return path[::-1]


def _left_size(size: int) -> int:
    """The largest power of two smaller than `size`, which is at least 2."""
    return 1 << (size - 1).bit_length() - 1
