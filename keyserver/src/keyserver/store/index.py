"""The index of the audit log: what entries are found by, beside the tree and no part of it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import ColumnElement, and_, delete, literal, or_, select, tuple_
from sqlalchemy.orm import Session, aliased

from keyserver.store.bulk import insert_rows
from keyserver.store.tables import EntryRow, IndexKeyRow, IndexRow

COLUMNS = ("entry_index", "tenant", "at", "action", "outcome", "subject", "name", "grant_id", "key_count")
Row = tuple[int, str | None, int, str, str, UUID | None, str | None, UUID | None, int]
"""An entry's values, in the order of `COLUMNS`."""
Place = tuple[int, int]
"""Time and number of an entry: what the index is sorted by."""


def add(session: Session, rows: Sequence[Row], keys: Sequence[tuple[UUID, int]]) -> None:
    """Insert what new entries are found by; values in the order of `COLUMNS`, and of key and entry."""
    insert_rows(session, IndexRow, COLUMNS, rows)
    insert_rows(session, IndexKeyRow, ("key_id", "entry_index"), keys)


def missing(session: Session, first: int, end: int) -> list[str]:
    """Leaves of the entries in this range that are not in the index."""
    indexed = select(IndexRow.entry_index).where(IndexRow.entry_index >= first, IndexRow.entry_index < end)
    there = set(session.scalars(indexed))
    entries = select(EntryRow).where(EntryRow.entry_index >= first, EntryRow.entry_index < end)
    rows = session.scalars(entries.order_by(EntryRow.entry_index))
    return [row.leaf for row in rows if row.entry_index not in there]


def clear(session: Session) -> None:
    """Forget the index."""
    session.execute(delete(IndexKeyRow))
    session.execute(delete(IndexRow))


@dataclass(frozen=True)
class EntryFilter:
    """All of it must fit; None: it does not matter.  Times in seconds since 1970, the first one included."""

    key_id: UUID | None = None
    grant_id: UUID | None = None
    actor: tuple[UUID, str] | None = None
    """Pseudonym, or name where it is in the clear."""
    action: str | None = None
    outcome: str | None = None
    after: int | None = None
    before: int | None = None


def search(
    session: Session, tenant: str, wanted: EntryFilter, behind: Place | None, limit: int
) -> list[tuple[Place, str]]:
    """The tenant's entries that fit, newest first, from behind the place on: place and leaf of each."""
    return _page(session, [IndexRow.tenant == tenant, *_conditions(wanted)], behind, limit)


def of_keys(
    session: Session, tenant: str, key_ids: Sequence[UUID], but: str, behind: Place | None, limit: int
) -> list[tuple[Place, str]]:
    """What the tenant's log says of these keys, newest first.

    That is what names one of them, and what names no key but a grant for one of them; but no entry of the action `but`.
    """
    named = select(IndexKeyRow.entry_index).where(IndexKeyRow.key_id.in_(key_ids))
    asking = aliased(IndexRow)
    grants = select(asking.grant_id).where(asking.tenant == tenant, asking.entry_index.in_(named))
    of_grants = and_(IndexRow.key_count == 0, IndexRow.grant_id.in_(grants.where(asking.grant_id.is_not(None))))
    fits = or_(IndexRow.entry_index.in_(named), of_grants)
    return _page(session, [IndexRow.tenant == tenant, IndexRow.action != but, fits], behind, limit)


def of_grants(
    session: Session, tenant: str, grants: Collection[UUID], actions: Collection[str], outcome: str
) -> Sequence[str]:
    """Leaves of the tenant's entries on these grants, of these actions with this outcome."""
    if not grants:
        return []
    rows = select(EntryRow.leaf).join(IndexRow, EntryRow.entry_index == IndexRow.entry_index)
    of_kind = (IndexRow.action.in_(actions), IndexRow.outcome == outcome)
    return session.scalars(rows.where(IndexRow.tenant == tenant, IndexRow.grant_id.in_(grants), *of_kind)).all()


def _page(
    session: Session, conditions: list[ColumnElement[bool]], behind: Place | None, limit: int
) -> list[tuple[Place, str]]:
    # Of entries that were put away the index may still know.
    found = select(IndexRow.at, IndexRow.entry_index, EntryRow.leaf).join(
        EntryRow, EntryRow.entry_index == IndexRow.entry_index
    )
    order = (IndexRow.at, IndexRow.entry_index)
    if behind is not None:
        conditions = [*conditions, tuple_(*order) < tuple_(literal(behind[0]), literal(behind[1]))]
    newest = found.where(*conditions).order_by(*(column.desc() for column in order)).limit(limit)
    return [((at, number), leaf) for at, number, leaf in session.execute(newest)]


def _conditions(wanted: EntryFilter) -> list[ColumnElement[bool]]:
    conditions: list[ColumnElement[bool]] = []
    if wanted.key_id is not None:
        named = select(IndexKeyRow.entry_index).where(IndexKeyRow.key_id == wanted.key_id)
        conditions.append(IndexRow.entry_index.in_(named))
    if wanted.grant_id is not None:
        conditions.append(IndexRow.grant_id == wanted.grant_id)
    if wanted.actor is not None:
        pseudonym, name = wanted.actor
        conditions.append(or_(IndexRow.subject == pseudonym, IndexRow.name == name))
    if wanted.action is not None:
        conditions.append(IndexRow.action == wanted.action)
    if wanted.outcome is not None:
        conditions.append(IndexRow.outcome == wanted.outcome)
    if wanted.after is not None:
        conditions.append(IndexRow.at >= wanted.after)
    if wanted.before is not None:
        conditions.append(IndexRow.at < wanted.before)
    return conditions
