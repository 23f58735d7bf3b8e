"""The log in the database: appended in the effect's transaction, provable at every size."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import rfc8785

from faceseal.translog import RightEdge, leaf_hash, verify_consistency, verify_inclusion
from keyserver import audit
from keyserver.actions import Action
from keyserver.audit import Entry, Outcome
from keyserver.audit.export import export_lines, verify_export
from keyserver.audit.hiding import hide
from keyserver.audit.personal import Subject, new_key

ENTRY = Entry(at=1_800_000_000, action=Action.RELEASE, outcome=Outcome.ALLOWED, actor="Zoë \u2028 \U0001f600")


def append(world: Any) -> audit.Appended:
    with world.ports.database.writing() as session:
        return audit.append(session, ENTRY)


def test_every_entry_is_proved_against_every_later_checkpoint(world: Any) -> None:
    appended = [append(world) for _ in range(20)]
    for entry in appended:
        assert entry.checkpoint.size == entry.index + 1
        verify_inclusion(
            entry.index, entry.checkpoint.size, entry.leaf.encode(), entry.inclusion_proof, entry.checkpoint.root
        )
    last = appended[-1].checkpoint
    with world.ports.database.reading() as session:
        for entry in appended:
            proof = audit.prove_inclusion(session, entry.index, last.size)
            verify_inclusion(entry.index, last.size, entry.leaf.encode(), proof, last.root)
            old = entry.checkpoint
            consistency = audit.prove_consistency(session, old.size, last.size)
            verify_consistency(old.size, last.size, consistency, old.root, last.root)


def test_an_entry_of_a_transaction_that_fails_was_never_there(world: Any) -> None:
    before = append(world).checkpoint

    def append_and_fail() -> None:
        with world.ports.database.writing() as session:
            audit.append(session, ENTRY)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        append_and_fail()
    with world.ports.database.reading() as session:
        assert audit.current_checkpoint(session) == before
    assert append(world).index == before.size


def test_the_exported_log_is_proved_by_the_verifier_key_alone(world: Any, tmp_path: Path) -> None:
    for _ in range(5):
        append(world)
    with world.ports.database.reading() as session, (tmp_path / "log.jsonl").open("wb") as file:
        file.writelines(export_lines(session, world.ports.signer))
    assert verify_export(tmp_path / "log.jsonl", world.ports.signer.verifier_key).size == len(world.leaves())


def test_a_leaf_is_canonical_json_and_says_its_place() -> None:
    leaf = ENTRY.leaf(7)
    assert rfc8785.dumps(json.loads(leaf)).decode() == leaf
    assert json.loads(leaf) == {
        "version": 2,
        "index": 7,
        "at": 1_800_000_000,
        "event": "release.allowed",
        "actor": "Zoë \u2028 \U0001f600",
    }


def test_the_longest_entry_fits_a_receipt() -> None:
    longest = Entry(
        at=1 << 40,
        action=Action.REQUEST_GRANT,
        outcome=Outcome.ALLOWED,
        actor='"' * 200,
        tenant="a" * 64,
        token_id="\U0001f600" * 200,
        key_id=uuid4(),
        key_ids=tuple(uuid4() for _ in range(100)),
        grant_id=uuid4(),
        sealed_digest=b"d" * 32,
        recipient=b"r" * 32,
        purpose="\U0001f600" * 200,
        reason="x" * 100,
    )
    subject = Subject(uuid4(), new_key()[1])
    (hidden,) = hide([longest], {("a" * 64, '"' * 200): subject})
    assert hidden is not None
    assert len(longest.leaf(1 << 52, hidden)) <= 16384


@pytest.mark.parametrize("sizes", [(1, 1, 1), (3, 1, 7), (64, 64), (1, 130, 2)])
def test_a_batch_makes_the_tree_that_its_entries_make_one_by_one(world: Any, sizes: tuple[int, ...]) -> None:
    edge = RightEdge()
    for leaf in world.leaves():
        edge.append(leaf_hash(leaf.encode()))
    for size in sizes:
        with world.ports.database.writing() as session:
            appended = audit.append_all(session, [ENTRY] * size)
        for entry in appended:
            assert entry.index == edge.size
            edge.append(leaf_hash(entry.leaf.encode()))
        for entry in appended:
            assert (entry.checkpoint.size, entry.checkpoint.root) == (edge.size, edge.root())
            leaf, proof = entry.leaf.encode(), entry.inclusion_proof
            verify_inclusion(entry.index, edge.size, leaf, proof, edge.root())
    with world.ports.database.reading() as session:
        assert audit.current_checkpoint(session).root == edge.root()
        for index, leaf in enumerate(world.leaves()):
            proof = audit.prove_inclusion(session, index, edge.size)
            verify_inclusion(index, edge.size, leaf.encode(), proof, edge.root())
