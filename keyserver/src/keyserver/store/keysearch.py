"""Finding keys by what is known of them, a page at a time.  Nothing here locks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from uuid import UUID

from sqlalchemy import Select, insert, select, tuple_
from sqlalchemy.orm import Session, aliased

from faceseal.wire import KeyState
from keyserver.store.tables import KeyLabelRow, KeyRow

_BATCH = 500


@dataclass(frozen=True)
class KeyFilter:
    """All of it must fit.  labels: name and value; times: seconds since 1970, the first one included."""

    labels: Sequence[tuple[str, str]] = field(default=())
    state: KeyState | None = None
    created_by: str | None = None
    created_after: int | None = None
    created_before: int | None = None


def search_keys(
    session: Session, tenant: str, wanted: KeyFilter, before: tuple[int, UUID] | None, limit: int
) -> Sequence[KeyRow]:
    """The tenant's keys that fit, newest first; from behind the place `before` (creation time, id) on."""
    keys = select(KeyRow).where(KeyRow.tenant == tenant)
    order = (KeyRow.created_at, KeyRow.id)
    for number, (name, value) in enumerate(wanted.labels):
        label = aliased(KeyLabelRow)
        matching = (label.tenant == tenant) & (label.name == name) & (label.value == value)
        keys = keys.join(label, (label.key_id == KeyRow.id) & matching)
        if not number:
            # Sorted as the labels' index is, a page is read without sorting all that carry the label.
            order = (label.created_at, label.key_id)
    keys = _narrowed(keys, wanted)
    if before is not None:
        keys = keys.where(tuple_(*order) < before)
    return session.scalars(keys.order_by(*(column.desc() for column in order)).limit(limit)).all()


def keys_by_digest(session: Session, tenant: str, sealed_digest: bytes, limit: int) -> Sequence[KeyRow]:
    """The tenant's keys that are bound to the photo with this digest, oldest first."""
    keys = select(KeyRow).where(KeyRow.tenant == tenant, KeyRow.sealed_digest == sealed_digest)
    return session.scalars(keys.order_by(KeyRow.created_at, KeyRow.id).limit(limit)).all()


def add_labels(session: Session, row: KeyRow) -> None:
    """Make a new key findable by its labels."""
    session.flush()
    if row.labels:
        session.execute(insert(KeyLabelRow), label_rows(row))


def label_rows(row: KeyRow) -> list[dict[str, object]]:
    """What a key's labels are as rows."""
    shared = {"key_id": row.id, "tenant": row.tenant, "created_at": row.created_at}
    return [{"name": name, "value": value, **shared} for name, value in row.labels.items()]


def index_labels(session: Session, after: UUID | None) -> tuple[UUID | None, int]:
    """Add what is missing of the labels of the next keys by id: the last of these, if any, and how many got labels."""
    keys = select(KeyRow).order_by(KeyRow.id).limit(_BATCH)
    rows = session.scalars(keys if after is None else keys.where(KeyRow.id > after)).all()
    labelled = [row for row in rows if row.labels]
    there = set(session.scalars(select(KeyLabelRow.key_id).where(KeyLabelRow.key_id.in_([row.id for row in labelled]))))
    missing = [row for row in labelled if row.id not in there]
    if missing:
        session.execute(insert(KeyLabelRow), [each for row in missing for each in label_rows(row)])
    return (rows[-1].id if rows else None), len(missing)


def _narrowed(keys: Select[KeyRow], wanted: KeyFilter) -> Select[KeyRow]:
    if wanted.state is not None:
        keys = keys.where(KeyRow.state == wanted.state)
    if wanted.created_by is not None:
        keys = keys.where(KeyRow.created_by == wanted.created_by)
    if wanted.created_after is not None:
        keys = keys.where(KeyRow.created_at >= wanted.created_after)
    if wanted.created_before is not None:
        keys = keys.where(KeyRow.created_at < wanted.created_before)
    return keys
