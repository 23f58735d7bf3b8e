"""Thousands of audit entries at once: the same log as one by one, on both databases."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from faceseal.translog import RightEdge, leaf_hash, verify_inclusion
from keyserver import audit
from keyserver.actions import Action
from keyserver.audit import Entry, Outcome
from keyserver.audit.entry import VERSION
from keyserver.errors import StoreUnavailable
from keyserver.store.bulk import FEW, insert_rows
from keyserver.store.tables import EntryRow

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)


def entry(number: int) -> Entry:
    return Entry(at=number, action=Action.CREATE_KEY, outcome=Outcome.ALLOWED, actor=f"camera {number}")


@given(TEXTS, st.none() | TEXTS, st.lists(st.uuids(), max_size=3), st.integers(0, 2**53 - 1), st.integers(0, 2**53 - 1))
def test_an_entry_is_canonical_whatever_it_holds(
    actor: str, reason: str | None, key_ids: list[UUID], at: int, index: int
) -> None:
    made = Entry(
        at=at,
        action=Action.RELEASE,
        outcome=Outcome.DENIED,
        actor=actor,
        reason=reason,
        key_ids=tuple(key_ids),
        from_epochs=(2, 10),
    )
    fields: dict[str, Any] = {
        "version": VERSION,
        "index": index,
        "at": at,
        "event": "release.denied",
        "actor": actor,
        "from_epochs": [2, 10],
    }
    if key_ids:
        fields["keys"] = [str(key_id) for key_id in key_ids]
    if reason is not None:
        fields["reason"] = reason
    assert made.leaf(index).encode() == rfc8785.dumps(fields)


def test_entries_without_proofs_make_the_same_tree_as_those_with(world: Any) -> None:
    sizes = [1, FEW, FEW + 1, 1000, 3]
    with world.ports.database.writing() as session:
        for size in sizes:
            audit.record_all(session, [entry(number) for number in range(size)])
        (proved,) = audit.append_all(session, [entry(0)])
    edge = RightEdge()
    for leaf in world.leaves():
        edge.append(leaf_hash(leaf.encode()))
    assert (proved.checkpoint.size, proved.checkpoint.root) == (edge.size, edge.root())
    verify_inclusion(proved.index, edge.size, proved.leaf.encode(), proved.inclusion_proof, edge.root())
    assert edge.size > sum(sizes)


def test_many_rows_are_undone_with_their_transaction(world: Any) -> None:
    before = world.leaves()

    def fail() -> None:
        with world.ports.database.writing() as session:
            audit.record_all(session, [entry(number) for number in range(1000)])
            raise LookupError

    with pytest.raises(LookupError):
        fail()
    assert world.leaves() == before


@pytest.mark.parametrize("count", [FEW, FEW + 1])
def test_a_row_that_is_there_already_is_an_unavailable_store_that_quotes_nothing(world: Any, count: int) -> None:
    before = world.leaves()

    def again() -> None:
        with world.ports.database.writing() as session:
            insert_rows(session, EntryRow, ("entry_index", "leaf"), [(number, "secret") for number in range(count)])

    with pytest.raises(StoreUnavailable) as refusal:
        again()
    assert "secret" not in str(refusal.value)
    assert world.leaves() == before


@pytest.mark.parametrize("text", ["\\", "\t\n", "\\N", "a\\tb", "\x01", "é\u2028", '"{}"', ","])
def test_text_of_any_kind_comes_back_from_many_rows_as_it_was(world: Any, text: str) -> None:
    start = 1 << 40
    rows = [(start + number, text) for number in range(FEW + 1)]
    with world.ports.database.writing() as session:
        insert_rows(session, EntryRow, ("entry_index", "leaf"), rows)
        assert session.get_one(EntryRow, start + FEW).leaf == text
