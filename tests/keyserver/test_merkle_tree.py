"""The stored tree against RFC 6962's own recursive definitions, and against the client's verifier."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from faceseal.errors import TransparencyError
from faceseal.translog import EMPTY_ROOT, leaf_hash, node_hash, verify_consistency, verify_inclusion
from keyserver.audit import tree

SIZE = 70
LEAVES = [f"leaf {index}".encode() for index in range(SIZE)]


def merkle_tree_hash(leaves: Sequence[bytes]) -> bytes:
    """RFC 6962, section 2.1, word for word."""
    if not leaves:
        return EMPTY_ROOT
    if len(leaves) == 1:
        return leaf_hash(leaves[0])
    split = 1
    while split * 2 < len(leaves):
        split *= 2
    return node_hash(merkle_tree_hash(leaves[:split]), merkle_tree_hash(leaves[split:]))


@pytest.fixture(scope="module")
def stored() -> dict[tree.Node, bytes]:
    hashes: dict[tree.Node, bytes] = {}
    for index in range(SIZE):
        for level, position in tree.new_nodes(index):
            hashes[level, position] = (
                node_hash(hashes[level - 1, 2 * position], hashes[level - 1, 2 * position + 1])
                if level
                else leaf_hash(LEAVES[index])
            )
    return hashes


def test_the_stored_nodes_give_every_root(stored: dict[tree.Node, bytes]) -> None:
    for size in range(SIZE + 1):
        assert tree.range_hash((0, size), stored) == merkle_tree_hash(LEAVES[:size])


def test_every_inclusion_proof_convinces_the_client(stored: dict[tree.Node, bytes]) -> None:
    for size in range(1, SIZE + 1):
        root = merkle_tree_hash(LEAVES[:size])
        for index in range(size):
            proof = [tree.range_hash(leaves, stored) for leaves in tree.inclusion_path(index, size)]
            verify_inclusion(index, size, LEAVES[index], proof, root)
            with pytest.raises(TransparencyError):
                verify_inclusion(index, size, b"another leaf", proof, root)


def test_every_consistency_proof_convinces_the_client(stored: dict[tree.Node, bytes]) -> None:
    for size in range(SIZE + 1):
        root = merkle_tree_hash(LEAVES[:size])
        for old_size in range(size + 1):
            proof = [tree.range_hash(leaves, stored) for leaves in tree.consistency_path(old_size, size)]
            verify_consistency(old_size, size, proof, merkle_tree_hash(LEAVES[:old_size]), root)
            if 0 < old_size < size:
                with pytest.raises(TransparencyError):
                    verify_consistency(old_size, size, proof, b"x" * 32, root)


def test_proofs_and_appends_touch_few_nodes_even_in_a_huge_log() -> None:
    size = (1 << 40) + 12345
    for index in (0, 1, size // 3, size - 1):
        nodes = [node for leaves in tree.inclusion_path(index, size) for node in tree.perfect_subtrees(leaves)]
        assert len(nodes) <= 2 * 41
    assert len(tree.new_nodes((1 << 40) - 1)) == 41


@pytest.mark.parametrize(("index", "size"), [(0, 0), (5, 5), (-1, 5)])
def test_there_is_no_proof_of_a_leaf_that_is_not_there(index: int, size: int) -> None:
    with pytest.raises(ValueError, match="no leaf"):
        tree.inclusion_path(index, size)


@pytest.mark.parametrize(("old_size", "size"), [(6, 5), (-1, 5)])
def test_there_is_no_consistency_with_a_longer_log(old_size: int, size: int) -> None:
    with pytest.raises(ValueError, match="no prefix"):
        tree.consistency_path(old_size, size)
