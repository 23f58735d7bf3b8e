"""What others have published about Merkle trees and signed notes: accepted and refused here as there."""

import base64
import json
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st
from made_log import MadeLog

from faceseal.errors import TransparencyError
from faceseal.translog import (
    EMPTY_ROOT,
    Checkpoint,
    VerifierKey,
    leaf_hash,
    open_checkpoint,
    open_note,
    root_from_inclusion,
    sign_checkpoint,
    sign_note,
    verify_consistency,
    verify_inclusion,
)
from keyserver.audit import tree

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "transparency-logs.json").read_text())
MERKLE, GOLDEN, NOTES = VECTORS["merkle"], VECTORS["golden_log"], VECTORS["notes"]
LEAVES = [bytes.fromhex(leaf) for leaf in MERKLE["leaves_hex"]]
ROOTS = [EMPTY_ROOT, *map(base64.b64decode, MERKLE["roots"])]
RANDOM_ROOT = base64.b64decode(MERKLE["random_root"])
PETER = VerifierKey.parse(NOTES["keys"]["PeterNeumann"])
ENOCH = VerifierKey.parse(NOTES["keys"]["EnochRoot"])


def proof_of(case):
    return [base64.b64decode(each) for each in case["proof"]]


def flipped(value, bit):
    return value[: bit // 8] + bytes([value[bit // 8] ^ 1 << bit % 8]) + value[bit // 8 + 1 :]


def each_flipped(proof, bit):
    """The proof with this bit changed in one of its hashes, for each of them."""
    return [[*proof[:at], flipped(proof[at], bit), *proof[at + 1 :]] for at in range(len(proof))]


def root_at(size):
    return ROOTS[size] if 0 <= size < len(ROOTS) else RANDOM_ROOT


def signer_of(text):
    return Ed25519PrivateKey.from_private_bytes(base64.b64decode(text.split("+", 4)[4])[1:])


def test_the_published_roots_are_those_of_the_published_leaves():
    made = MadeLog(LEAVES)
    assert [made.hash_of((0, size)) for size in range(9)] == ROOTS


@pytest.mark.parametrize("case", MERKLE["inclusion"], ids=lambda case: f"{case['index']} in {case['size']}")
def test_a_published_inclusion_proof_is_accepted_and_each_of_its_published_corruptions_refused(case):
    index, size, proof = case["index"], case["size"], proof_of(case)
    hashed, root = leaf_hash(LEAVES[index]), root_at(size)
    verify_inclusion(index, size, LEAVES[index], proof, root)
    wrong = [
        (index - 1, size, hashed, proof, root),
        (index + 1, size, hashed, proof, root),
        (index ^ 2, size, hashed, proof, root),
        (index, size * 2, hashed, proof, root),
        (index, size // 2, hashed, proof, root),
        (index, size, b"WrongLeaf", proof, root),
        (index, size, hashed, proof, EMPTY_ROOT),
        (index, size, hashed, proof, RANDOM_ROOT),
        (index, size, hashed, [*proof, b""], root),
        (index, size, hashed, [*proof, root], root),
        (index, size, hashed, [b"", *proof], root),
        (index, size, hashed, [root, *proof], root),
        *[
            (index, size, hashed, [*proof[:at], flipped(proof[at], 3), *proof[at + 1 :]], root)
            for at in range(len(proof))
        ],
    ]
    if proof:
        wrong += [
            (index, size, hashed, proof[:-1], root),
            (index, size, hashed, [proof[0], RANDOM_ROOT, *proof[1:]], root),
        ]
    for at, of, leaf, path, end in wrong:
        try:
            accepted = root_from_inclusion(at, of, leaf, path) == end
        except TransparencyError:
            accepted = False
        assert not accepted, (at, of, path)


@pytest.mark.parametrize("case", MERKLE["consistency"], ids=lambda case: f"{case['old_size']} to {case['size']}")
def test_a_published_consistency_proof_is_accepted_and_each_of_its_published_corruptions_refused(case):
    old, size, proof = case["old_size"], case["size"], proof_of(case)
    before, after = root_at(old), root_at(size)
    verify_consistency(old, size, proof, before, after)
    wrong = [
        (old - 1, size, proof, before, after),
        (old + 1, size, proof, before, after),
        (old ^ 2, size, proof, before, after),
        (old, size * 2, proof, before, after),
        (old, size // 2, proof, before, after),
        (old, size, proof, b"WrongRoot", after),
        (old, size, proof, before, b"WrongRoot"),
        (old, size, [*proof, b""], before, after),
        (old, size, [*proof, before], before, after),
        (old, size, [*proof, after], before, after),
        (old, size, [b"", *proof], before, after),
        (old, size, [before, *proof], before, after),
        (old, size, [after, *proof], before, after),
    ]
    if proof:
        wrong += [
            (old, size, proof, after, before),
            (old, size, [], before, after),
            (old, size, [proof[0], *proof], before, after),
            (old, size, proof[:-1], before, after),
            *[
                (old, size, [*proof[:at], flipped(proof[at], 4), *proof[at + 1 :]], before, after)
                for at in range(len(proof))
            ],
        ]
    for case in wrong:
        with pytest.raises(TransparencyError):
            verify_consistency(*case)


@pytest.mark.parametrize(("index", "size"), [(0, 0), (0, 1), (1, 0), (2, 1)])
def test_neither_the_empty_tree_nor_one_leaf_proves_what_is_not_there(index, size):
    for leaf, root in ((b"any", EMPTY_ROOT), (b"any", b""), (b"", EMPTY_ROOT)):
        with pytest.raises(TransparencyError):
            verify_inclusion(index, size, leaf, [], root)


@pytest.mark.parametrize(
    ("old_size", "size", "proof", "old_root", "root"),
    [
        (0, 0, [], RANDOM_ROOT, EMPTY_ROOT),
        (0, 0, [], EMPTY_ROOT, RANDOM_ROOT),
        (1, 1, [], ROOTS[1], RANDOM_ROOT),
        (1, 1, [], RANDOM_ROOT, ROOTS[1]),
        (1, 0, [], ROOTS[1], EMPTY_ROOT),
        (2, 1, [], ROOTS[2], ROOTS[1]),
        (1, 2, [], ROOTS[1], ROOTS[2]),
        (0, 0, [EMPTY_ROOT], EMPTY_ROOT, EMPTY_ROOT),
        (0, 1, [EMPTY_ROOT], EMPTY_ROOT, ROOTS[1]),
        (1, 1, [EMPTY_ROOT], ROOTS[1], ROOTS[1]),
    ],
)
def test_empty_and_equal_trees_accept_no_proof_and_no_other_root(old_size, size, proof, old_root, root):
    with pytest.raises(TransparencyError):
        verify_consistency(old_size, size, proof, old_root, root)


@given(st.integers(1, 200), st.data())
def test_in_a_tree_of_any_size_no_changed_bit_of_an_inclusion_proof_is_accepted(size, data):
    made = MadeLog([b"%d" % number for number in range(size)])
    index = data.draw(st.integers(0, size - 1))
    proof = [made.hash_of(part) for part in tree.inclusion_path(index, size)]
    root, leaf = made.hash_of((0, size)), b"%d" % index
    verify_inclusion(index, size, leaf, proof, root)
    bit = data.draw(st.integers(0, 255))
    changed = [(leaf, proof, flipped(root, bit)), (flipped(leaf, bit % (8 * len(leaf))), proof, root)]
    changed += [(leaf, path, root) for path in each_flipped(proof, bit)]
    for case in changed:
        with pytest.raises(TransparencyError):
            verify_inclusion(index, size, *case)
    for other in {index ^ 1, index + 1, size - 1} - {index}:
        with pytest.raises(TransparencyError):
            verify_inclusion(other, size, leaf, proof, root)


@given(st.integers(0, 200), st.data())
def test_between_trees_of_any_sizes_no_changed_bit_of_a_consistency_proof_is_accepted(size, data):
    made = MadeLog([b"%d" % number for number in range(size)])
    old = data.draw(st.integers(0, size))
    proof = [made.hash_of(part) for part in tree.consistency_path(old, size)]
    before, after = made.hash_of((0, old)), made.hash_of((0, size))
    verify_consistency(old, size, proof, before, after)
    bit = data.draw(st.integers(0, 255))
    changed = [(proof, flipped(before, bit), after), ([*proof, after], before, after)]
    changed += [(proof, before, flipped(after, bit))] if old else []
    changed += [(path, before, after) for path in each_flipped(proof, bit)]
    for case in changed:
        with pytest.raises(TransparencyError):
            verify_consistency(old, size, *case)


def test_a_published_log_has_the_published_roots_and_its_key_signs_the_published_checkpoint():
    made, signer = MadeLog([leaf.encode() for leaf in GOLDEN["leaves"]]), signer_of(GOLDEN["private"])
    key = VerifierKey.parse(GOLDEN["public"])
    for size, root in GOLDEN["roots"].items():
        assert made.hash_of((0, int(size))) == base64.b64decode(root)
    note = sign_checkpoint(Checkpoint(key.name, 8, made.hash_of((0, 8))), signer, key.name)
    assert note.splitlines()[-1] == f"— {key.name} {GOLDEN['signature_of_8']}"
    assert open_checkpoint(note, key).size == 8


def signature(name):
    return f"— {name} {NOTES['signatures'][name]}\n"


def test_published_notes_open_with_the_keys_that_signed_them_and_are_signed_alike():
    text = NOTES["text"]
    both = text + "\n" + signature("PeterNeumann") + signature("EnochRoot")
    assert open_note(both, PETER) == open_note(both, ENOCH) == text
    assert sign_note(text, signer_of(NOTES["private"]), "PeterNeumann") == text + "\n" + signature("PeterNeumann")


@pytest.mark.parametrize(
    "note",
    [
        NOTES["text"],
        NOTES["text"] + "\n",
        NOTES["text"] + "\n" + signature("PeterNeumann")[:-1],
        "\x01" + NOTES["text"] + "\n" + signature("PeterNeumann"),
        "\udcff" + NOTES["text"] + "\n" + signature("PeterNeumann"),
        NOTES["text"] + "\n" + signature("PeterNeumann").replace("PeterNeumann", "Bad Name"),
        NOTES["text"] + "\n" + signature("PeterNeumann") + "Unexpected line.\n",
        NOTES["text"] + "\n" + signature("PeterNeumann") * 101,
        NOTES["text"] + "\n" + signature("EnochRoot"),
        NOTES["text"] + "\n" + signature("PeterNeumann")[:60] + "ABCD" + signature("PeterNeumann")[60:],
        NOTES["text"].replace("cry", "Cry") + "\n" + signature("PeterNeumann"),
    ],
)
def test_notes_that_others_refuse_are_refused(note):
    with pytest.raises(TransparencyError):
        open_note(note, PETER)


def test_signatures_of_others_and_second_ones_do_not_disturb_a_note():
    mine, other = signature("PeterNeumann"), signature("EnochRoot")
    altered = other[:60] + "ABCD" + other[60:]
    for signatures in (mine + mine + other + other + altered, other * 12 + mine, mine + other * 15):
        assert open_note(NOTES["text"] + "\n" + signatures, PETER) == NOTES["text"]


def test_no_part_of_a_published_key_and_no_key_with_another_byte_is_taken_for_one():
    text = NOTES["keys"]["PeterNeumann"]
    parts = {text[start:end] for start in range(len(text)) for end in range(start + 1, len(text) + 1)} - {text}
    others = {text[:at] + chr(ord(text[at]) + 1) + text[at + 1 :] for at in range(len(text))}
    for wrong in [*parts, *others, *NOTES["refused_keys"]]:
        with pytest.raises(TransparencyError, match="verifier key"):
            VerifierKey.parse(wrong)
