"""Queries of the log's entries that are older than what is kept."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from uuid import UUID

from sqlalchemy import delete as deleting
from sqlalchemy import select, tuple_
from sqlalchemy.orm import Session

from keyserver.store.log import first_kept
from keyserver.store.tables import EntryRow, IndexKeyRow, IndexRow

_BATCH = 1000
_PAIRS = 500
"""Of key and entry, in one statement."""


def kept_leaves(session: Session, end: int) -> Iterator[tuple[int, str]]:
    """Number and leaf of the kept entries before `end`, in order, read in batches."""
    wanted = EntryRow.entry_index >= first_kept(session), EntryRow.entry_index < end
    rows = select(EntryRow.entry_index, EntryRow.leaf).where(*wanted).order_by(EntryRow.entry_index)
    for row in session.execute(rows.execution_options(yield_per=_BATCH)):
        yield row.entry_index, row.leaf


def put_away_leaves(session: Session, limit: int) -> list[tuple[int, str]]:
    """Number and leaf of the oldest entries that were put away and are still here."""
    wanted = EntryRow.entry_index < first_kept(session)
    rows = select(EntryRow.entry_index, EntryRow.leaf).where(wanted).order_by(EntryRow.entry_index).limit(limit)
    return [(number, leaf) for number, leaf in session.execute(rows)]


def newest_leaf(session: Session, name: str, action: str) -> str | None:
    """The newest entry of this action by whom the log names in the clear, of no tenant, as far as the index knows."""
    wanted = IndexRow.name == name, IndexRow.tenant.is_(None), IndexRow.action == action
    entries = select(EntryRow.leaf).join(IndexRow, IndexRow.entry_index == EntryRow.entry_index).where(*wanted)
    return session.scalar(entries.order_by(IndexRow.entry_index.desc()).limit(1))


def delete(session: Session, end: int, named: Sequence[tuple[UUID, int]]) -> None:
    """Delete the entries before number `end` and what they are found by; named: keys, and the entries that name them.

    The database itself refuses it above `audit_log.first_kept`.
    """
    # By its primary key: looking for the numbers would read the whole table, each time.
    pair = tuple_(IndexKeyRow.key_id, IndexKeyRow.entry_index)
    for start in range(0, len(named), _PAIRS):
        session.execute(deleting(IndexKeyRow).where(pair.in_(named[start : start + _PAIRS])))
    session.execute(deleting(IndexRow).where(IndexRow.entry_index < end))
    session.execute(deleting(EntryRow).where(EntryRow.entry_index < end))
