"""The people whom the audit log names by pseudonym.

Whoever is about to write of somebody holds the row against its deletion until the commit.
So an erasure waits for entries that are under way, and whoever comes after it finds no row
and makes another, under another pseudonym: nothing is ever sealed to a key that is gone.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import delete, select, tuple_
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from keyserver.store.tables import SubjectRow

_INSERT: Mapping[str, Callable[[type[SubjectRow]], postgresql.Insert | sqlite.Insert]] = {
    "postgresql": postgresql.insert,
    "sqlite": sqlite.insert,
}
Name = tuple[str, str]
"""Tenant and name."""


def held(session: Session, names: Collection[Name]) -> dict[Name, SubjectRow]:
    """Those of the people who have a pseudonym, their rows held against deletion."""
    found = select(SubjectRow).where(tuple_(SubjectRow.tenant, SubjectRow.name).in_(sorted(names)))
    locked = found.order_by(SubjectRow.id).with_for_update(read=True, key_share=True)
    return {(row.tenant, row.name): row for row in session.scalars(locked)}


def add(session: Session, rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert people who are not there yet; whom another transaction has just inserted is left as that one made them.

    Waits for such a transaction to end.  Rows are to be sorted by tenant and name.
    """
    new = _INSERT[session.get_bind().dialect.name](SubjectRow)
    session.execute(new.on_conflict_do_nothing(index_elements=[SubjectRow.tenant, SubjectRow.name]), list(rows))


def new_pseudonym() -> UUID:
    """Random, and not made of the time as other ids are: it must tell nothing."""
    return uuid4()


def pseudonym(session: Session, tenant: str, name: str) -> UUID | None:
    """Under which the log names somebody now."""
    return session.scalar(select(SubjectRow.id).where(SubjectRow.tenant == tenant, SubjectRow.name == name))


def of(session: Session, tenant: str, pseudonyms: Collection[UUID]) -> dict[UUID, SubjectRow]:
    """Those of the tenant's people who are not erased."""
    if not pseudonyms:
        return {}
    found = select(SubjectRow).where(SubjectRow.tenant == tenant, SubjectRow.id.in_(pseudonyms))
    return {row.id: row for row in session.scalars(found)}


def erase(session: Session, tenant: str, name: str) -> UUID | None:
    """Delete the row, once all who write of this person have ended; the pseudonym, if there was one."""
    found = select(SubjectRow).where(SubjectRow.tenant == tenant, SubjectRow.name == name).with_for_update()
    row = session.scalars(found).one_or_none()
    if row is None:
        return None
    session.execute(delete(SubjectRow).where(SubjectRow.id == row.id))
    return row.id
