import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from faceseal.errors import TransparencyError
from faceseal.translog import (
    EMPTY_ROOT,
    RightEdge,
    leaf_hash,
    node_hash,
    root_from_inclusion,
    verify_consistency,
    verify_inclusion,
)

# A second, slow implementation: RFC 6962, section 2.1, word for word.


def split(size):
    """The largest power of two smaller than size."""
    return 1 << (size - 1).bit_length() - 1


def tree_hash(leaves):
    if not leaves:
        return EMPTY_ROOT
    if len(leaves) == 1:
        return leaf_hash(leaves[0])
    k = split(len(leaves))
    return node_hash(tree_hash(leaves[:k]), tree_hash(leaves[k:]))


def inclusion_path(index, leaves):
    if len(leaves) == 1:
        return []
    k = split(len(leaves))
    if index < k:
        return [*inclusion_path(index, leaves[:k]), tree_hash(leaves[k:])]
    return [*inclusion_path(index - k, leaves[k:]), tree_hash(leaves[:k])]


def consistency_path(old_size, leaves, whole=True):
    if old_size == len(leaves):
        return [] if whole else [tree_hash(leaves)]
    k = split(len(leaves))
    if old_size <= k:
        return [*consistency_path(old_size, leaves[:k], whole), tree_hash(leaves[k:])]
    return [*consistency_path(old_size - k, leaves[k:], False), tree_hash(leaves[:k])]


def entries(size):
    return [f"entry {number}".encode() for number in range(size)]


def flips(value):
    """Every copy of `value` that differs in one bit."""
    for bit in range(len(value) * 8):
        flipped = bytearray(value)
        flipped[bit // 8] ^= 1 << bit % 8
        yield bytes(flipped)


def proof_flips(proof):
    for position, node in enumerate(proof):
        for flipped in flips(node):
            yield [*proof[:position], flipped, *proof[position + 1 :]]


# Known values: the reference tree of the Certificate Transparency implementations.

REFERENCE_LEAVES = [
    bytes.fromhex(text)
    for text in ("", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f")
]
REFERENCE_ROOTS = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
REFERENCE_INCLUSION = [
    (0, 8, "96a296d224f285c6 5f083f0a1a33ca07 6b47aaf29ee3c2af"),
    (5, 8, "bc1a0643b12e4d2d ca854ea128ed050b d37ee418976dd957"),
    (2, 3, "fac54203e7cc696c"),
    (1, 5, "6e340b9cffb37a98 5f083f0a1a33ca07 bc1a0643b12e4d2d"),
]
REFERENCE_CONSISTENCY = [
    (1, 8, "96a296d224f285c6 5f083f0a1a33ca07 6b47aaf29ee3c2af"),
    (6, 8, "0ebc5d3437fbe2db ca854ea128ed050b d37ee418976dd957"),
    (2, 5, "5f083f0a1a33ca07 bc1a0643b12e4d2d"),
    (6, 7, "0ebc5d3437fbe2db b08693ec2e721597 d37ee418976dd957"),
]
"""Each proof by the first eight bytes of its nodes."""


@pytest.mark.parametrize("size", range(9))
def test_the_root_of_the_reference_tree_is_the_published_one(size):
    root = bytes.fromhex(REFERENCE_ROOTS[size])
    edge = RightEdge()
    for leaf in REFERENCE_LEAVES[:size]:
        edge.append(leaf_hash(leaf))
    assert edge.root() == root
    assert tree_hash(REFERENCE_LEAVES[:size]) == root


@pytest.mark.parametrize(("index", "size", "nodes"), REFERENCE_INCLUSION)
def test_the_reference_inclusion_proofs_verify(index, size, nodes):
    proof = inclusion_path(index, REFERENCE_LEAVES[:size])
    assert [node.hex()[:16] for node in proof] == nodes.split()
    verify_inclusion(index, size, REFERENCE_LEAVES[index], proof, bytes.fromhex(REFERENCE_ROOTS[size]))


@pytest.mark.parametrize(("old_size", "size", "nodes"), REFERENCE_CONSISTENCY)
def test_the_reference_consistency_proofs_verify(old_size, size, nodes):
    proof = consistency_path(old_size, REFERENCE_LEAVES[:size])
    assert [node.hex()[:16] for node in proof] == nodes.split()
    old_root, root = (bytes.fromhex(REFERENCE_ROOTS[number]) for number in (old_size, size))
    verify_consistency(old_size, size, proof, old_root, root)


@given(st.lists(st.binary(max_size=40), max_size=70))
def test_the_right_edge_knows_the_root_after_every_append(leaves):
    edge = RightEdge()
    for size, leaf in enumerate(leaves):
        assert edge.root() == tree_hash(leaves[:size])
        edge.append(leaf_hash(leaf))
        edge = RightEdge(edge.size, edge.hashes)
    assert (edge.size, edge.root()) == (len(leaves), tree_hash(leaves))


def test_a_right_edge_with_the_wrong_number_of_subtrees_is_refused():
    with pytest.raises(ValueError, match="perfect subtrees"):
        RightEdge(6, [EMPTY_ROOT])


def test_every_inclusion_proof_of_every_small_tree_verifies_for_its_own_place_only():
    for size in range(1, 34):
        leaves = entries(size)
        root = tree_hash(leaves)
        for index in range(size):
            proof = inclusion_path(index, leaves)
            verify_inclusion(index, size, leaves[index], proof, root)
            for elsewhere in range(size):
                if elsewhere != index:
                    with pytest.raises(TransparencyError):
                        verify_inclusion(elsewhere, size, leaves[index], proof, root)


def test_every_consistency_proof_of_every_small_tree_verifies():
    for size in range(34):
        leaves = entries(size)
        for old_size in range(size + 1):
            proof = consistency_path(old_size, leaves) if old_size else []
            verify_consistency(old_size, size, proof, tree_hash(leaves[:old_size]), tree_hash(leaves))


@settings(deadline=None, max_examples=60)
@given(data=st.data(), size=st.integers(1, 600))
def test_proofs_of_larger_trees_verify(data, size):
    leaves = entries(size)
    index, old_size = data.draw(st.integers(0, size - 1)), data.draw(st.integers(1, size))
    root = tree_hash(leaves)
    verify_inclusion(index, size, leaves[index], inclusion_path(index, leaves), root)
    verify_consistency(old_size, size, consistency_path(old_size, leaves), tree_hash(leaves[:old_size]), root)


@pytest.mark.parametrize(("index", "size"), [(0, 1), (0, 2), (2, 3), (4, 7), (5, 8), (12, 13)])
def test_every_flipped_bit_of_an_inclusion_is_noticed(index, size):
    leaves = entries(size)
    root, proof = tree_hash(leaves), inclusion_path(index, leaves)
    wrong = [(leaf, proof, root) for leaf in flips(leaves[index])]
    wrong += [(leaves[index], proof, flipped) for flipped in flips(root)]
    wrong += [(leaves[index], flipped, root) for flipped in proof_flips(proof)]
    for attempt in wrong:
        with pytest.raises(TransparencyError):
            verify_inclusion(index, size, *attempt)


@pytest.mark.parametrize(("old_size", "size"), [(1, 2), (2, 3), (3, 7), (4, 7), (4, 8), (6, 8), (9, 13)])
def test_every_flipped_bit_of_a_consistency_proof_is_noticed(old_size, size):
    leaves = entries(size)
    old_root, root, proof = tree_hash(leaves[:old_size]), tree_hash(leaves), consistency_path(old_size, leaves)
    wrong = [(flipped, old_root, root) for flipped in proof_flips(proof)]
    wrong += [(proof, flipped, root) for flipped in flips(old_root)]
    wrong += [(proof, old_root, flipped) for flipped in flips(root)]
    for attempt in wrong:
        with pytest.raises(TransparencyError):
            verify_consistency(old_size, size, *attempt)


def longer_and_shorter(proof, garbage):
    yield [*proof, garbage]
    yield [garbage, *proof]
    if proof:
        yield proof[:-1]
        yield proof[1:]
        yield []


def test_a_proof_of_another_length_is_refused():
    for size in range(1, 18):
        leaves = entries(size)
        root = tree_hash(leaves)
        for index in range(size):
            for proof in longer_and_shorter(inclusion_path(index, leaves), root):
                with pytest.raises(TransparencyError):
                    verify_inclusion(index, size, leaves[index], proof, root)
        for old_size in range(1, size + 1):
            old_root = tree_hash(leaves[:old_size])
            for garbage in (root, old_root):
                for proof in longer_and_shorter(consistency_path(old_size, leaves), garbage):
                    with pytest.raises(TransparencyError):
                        verify_consistency(old_size, size, proof, old_root, root)


def test_a_rewritten_history_is_not_consistent():
    for size in range(2, 18):
        honest, forged = entries(size), [b"forged", *entries(size)[1:]]
        for old_size in range(1, size):
            for told in (honest, forged):
                with pytest.raises(TransparencyError):
                    verify_consistency(
                        old_size,
                        size,
                        consistency_path(old_size, told),
                        tree_hash(honest[:old_size]),
                        tree_hash(forged),
                    )


@pytest.mark.parametrize(("index", "size"), [(0, 0), (1, 1), (5, 5), (-1, 4), (9, 4)])
def test_an_entry_outside_of_the_log_is_refused(index, size):
    with pytest.raises(TransparencyError, match="cannot be in a log"):
        root_from_inclusion(index, size, leaf_hash(b""), [])


def test_an_interior_node_does_not_pass_for_an_entry():
    left, right = leaf_hash(b"a"), leaf_hash(b"b")
    with pytest.raises(TransparencyError):
        verify_inclusion(0, 1, left + right, [], node_hash(left, right))


def test_empty_and_equal_trees_refuse_bogus_proofs():
    leaves = entries(5)
    root = tree_hash(leaves)
    verify_consistency(0, 0, [], EMPTY_ROOT, EMPTY_ROOT)
    verify_consistency(0, 5, [], EMPTY_ROOT, root)
    verify_consistency(5, 5, [], root, root)
    for old_size, size, proof, old_root, new_root in [
        (0, 5, [root], EMPTY_ROOT, root),
        (0, 5, [], root, root),
        (0, 0, [], root, root),
        (5, 5, [root], root, root),
        (5, 5, [], EMPTY_ROOT, root),
        (4, 5, [], tree_hash(leaves[:4]), root),
        (3, 5, [], tree_hash(leaves[:3]), root),
        (6, 5, [], root, root),
        (-1, 5, [], root, root),
    ]:
        with pytest.raises(TransparencyError):
            verify_consistency(old_size, size, proof, old_root, new_root)


@pytest.mark.parametrize(("old_size", "size"), [(0, 0), (0, 3), (3, 3)])
def test_a_wrong_old_root_is_refused_without_a_proof(old_size, size):
    wrong = leaf_hash(b"not the root")
    with pytest.raises(TransparencyError):
        verify_consistency(old_size, size, [], wrong, EMPTY_ROOT if size == 0 else tree_hash(entries(size)))
