"""What an entry of the log is found by: made with the entry, or again from its leaf, of whatever version."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy.orm import Session

from keyserver.audit.entry import Entry, Hidden
from keyserver.store import index, log
from keyserver.store.index import Row

BATCH = 1000
"""Entries that are indexed in one transaction, when they are indexed later."""


@dataclass(frozen=True)
class Indexed:
    """An entry's row, and the keys that it names."""

    row: Row
    keys: Sequence[UUID]


def of_entry(entry: Entry, number: int, hidden: Hidden | None) -> Indexed:
    """Of an entry that is about to be appended."""
    subject, name = (None, entry.actor) if hidden is None else (hidden.subject, None)
    named = entry.key_ids if entry.key_id is None else (entry.key_id, *entry.key_ids)
    keys = named if len(named) < 2 else list(dict.fromkeys(named))
    action, outcome = entry.action.value, entry.outcome.value
    return Indexed((number, entry.tenant, entry.at, action, outcome, subject, name, entry.grant_id, len(keys)), keys)


def of_leaf(leaf: str) -> Indexed:
    """Of one that is in the log."""
    entry = json.loads(leaf)
    action, _, outcome = entry["event"].rpartition(".")
    hidden = "sealed" in entry
    named = ([entry["key"]] if "key" in entry else []) + entry.get("keys", [])
    keys = [UUID(key) for key in dict.fromkeys(named)]
    row = (
        entry["index"],
        entry.get("tenant"),
        entry["at"],
        action,
        outcome,
        UUID(entry["actor"]) if hidden else None,
        None if hidden else entry["actor"],
        UUID(entry["grant"]) if "grant" in entry else None,
        len(keys),
    )
    return Indexed(row, keys)


def add(session: Session, indexed: Sequence[Indexed]) -> None:
    """Into the index, in the session's transaction."""
    index.add(session, [one.row for one in indexed], [(key, one.row[0]) for one in indexed for key in one.keys])


def extend(session: Session, batch: int = BATCH) -> tuple[int, int]:
    """Index what is missing of the next entries: how many are then indexed, and how many there are.

    Something is missing after servers of a version before have appended, and while the index is
    made again.  Nobody appends meanwhile.
    """
    head = log.head_for_append(session)
    # What was put away is found no more.
    first = max(head.indexed, head.first_kept)
    end = min(head.size, first + batch)
    add(session, [of_leaf(leaf) for leaf in index.missing(session, first, end)])
    head.indexed = end
    session.flush()
    return head.indexed, head.size


def forget(session: Session) -> None:
    """Empty the index; `extend` makes it again, step by step."""
    head = log.head_for_append(session)
    index.clear(session)
    head.indexed = 0
    session.flush()
