"""Queries of keys, grants and tenants.  Whatever locks says so; locks last until the commit.

To lock in one order everywhere, and so never in a circle: grants by id, then keys by id, then
the audit log.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from uuid import UUID

from sqlalchemy import case, func, select, tuple_
from sqlalchemy.orm import Session, aliased, lazyload

from faceseal.wire import KeyState
from keyserver.store.tables import GrantKeyRow, GrantRow, KekRow, KeyLabelRow, KeyRow, TenantRow

PAGE = 100


def tenant_exists(session: Session, name: str) -> bool:
    """Whether there is such a tenant."""
    return session.get(TenantRow, name) is not None


def current_kek(session: Session, tenant: str) -> KekRow | None:
    """The tenant's KEK of the latest epoch."""
    newest = select(KekRow).where(KekRow.tenant == tenant).order_by(KekRow.epoch.desc()).limit(1)
    return session.scalars(newest).first()


def keks_of(session: Session, keys: Iterable[KeyRow]) -> dict[tuple[str, int], KekRow]:
    """The KEKs that wrap these keys, by tenant and epoch."""
    wanted = {(key.tenant, key.kek_epoch) for key in keys}
    if not wanted:
        return {}
    found = session.scalars(select(KekRow).where(tuple_(KekRow.tenant, KekRow.epoch).in_(wanted)))
    return {(row.tenant, row.epoch): row for row in found}


def all_keks(session: Session) -> Sequence[KekRow]:
    """Every tenant's KEK of every epoch."""
    return session.scalars(select(KekRow)).all()


def key(session: Session, key_id: UUID) -> KeyRow | None:
    """The key with this id, of whatever tenant."""
    return session.get(KeyRow, key_id)


def key_for_change(session: Session, key_id: UUID) -> KeyRow | None:
    """The key, locked: nobody else changes or releases it meanwhile."""
    return session.get(KeyRow, key_id, with_for_update=True)


def keys_for_release(session: Session, key_ids: Collection[UUID]) -> dict[UUID, KeyRow]:
    """Those of the keys that exist, locked against changes; others may release them meanwhile."""
    if not key_ids:
        return {}
    found = select(KeyRow).where(KeyRow.id.in_(key_ids)).order_by(KeyRow.id).with_for_update(read=True)
    return {row.id: row for row in session.scalars(found)}


def keys_of(session: Session, tenant: str, key_ids: Sequence[UUID]) -> Sequence[KeyRow]:
    """Those of the keys that exist and are the tenant's."""
    return session.scalars(select(KeyRow).where(KeyRow.tenant == tenant, KeyRow.id.in_(key_ids))).all()


def keys_with_labels(session: Session, tenant: str, labels: Mapping[str, str], limit: int) -> Sequence[UUID]:
    """Ids of the tenant's keys that carry each of the labels and are not destroyed, oldest first, at most `limit`."""
    found = select(KeyRow.id).where(KeyRow.tenant == tenant, KeyRow.state != KeyState.DESTROYED)
    for name, value in labels.items():
        label = aliased(KeyLabelRow)
        matching = (label.tenant == tenant) & (label.name == name) & (label.value == value)
        found = found.join(label, (label.key_id == KeyRow.id) & matching)
    return session.scalars(found.order_by(KeyRow.id).limit(limit)).all()


def newest_keys(session: Session, tenant: str) -> Sequence[KeyRow]:
    """At most `PAGE` keys of the tenant, newest first."""
    keys = select(KeyRow).where(KeyRow.tenant == tenant)
    return session.scalars(keys.order_by(KeyRow.created_at.desc(), KeyRow.id.desc()).limit(PAGE)).all()


def grant(session: Session, grant_id: UUID) -> GrantRow | None:
    """The grant with this id, of whatever tenant."""
    return session.get(GrantRow, grant_id)


def grant_for_change(session: Session, grant_id: UUID) -> GrantRow | None:
    """The grant, locked: nobody else decides on it or uses it meanwhile."""
    return session.get(GrantRow, grant_id, with_for_update=True)


def grants_for_release(session: Session, grant_ids: Collection[UUID]) -> dict[UUID, GrantRow]:
    """Those of the grants that exist, locked: nobody else decides on them or uses them meanwhile.

    Their keys are loaded only if somebody asks for them: a grant may name a thousand, and a release needs one.
    """
    if not grant_ids:
        return {}
    found = select(GrantRow).where(GrantRow.id.in_(grant_ids)).order_by(GrantRow.id).with_for_update()
    return {row.id: row for row in session.scalars(found.options(lazyload(GrantRow.keys)))}


def keys_named(session: Session, asked: Collection[tuple[UUID, UUID]]) -> frozenset[tuple[UUID, UUID]]:
    """Those of the pairs (grant, key) where the grant names the key."""
    if not asked:
        return frozenset()
    named = select(GrantKeyRow.grant_id, GrantKeyRow.key_id)
    found = session.execute(named.where(tuple_(GrantKeyRow.grant_id, GrantKeyRow.key_id).in_(set(asked))))
    return frozenset((grant_id, key_id) for grant_id, key_id in found)


def due_keys_for_change(session: Session, now: int, limit: int) -> Sequence[KeyRow]:
    """Keys scheduled for destruction whose time is over at `now` (seconds since 1970), by id, locked."""
    due = select(KeyRow).where(
        KeyRow.state == KeyState.DESTRUCTION_SCHEDULED,
        KeyRow.destruction_due_at <= now,
        KeyRow.destroyed_at.is_(None),
    )
    return session.scalars(due.order_by(KeyRow.id).limit(limit).with_for_update()).all()


def kek_for_wrapping(session: Session, tenant: str) -> KekRow | None:
    """The tenant's KEK of the latest epoch, locked against its destruction; others may wrap with it meanwhile.

    Taken before keys are locked or added.
    """
    newest = select(KekRow).where(KekRow.tenant == tenant, KekRow.destroyed_at.is_(None))
    return session.scalars(newest.order_by(KekRow.epoch.desc()).limit(1).with_for_update(read=True)).first()


def kek_for_change(session: Session, tenant: str, epoch: int) -> KekRow | None:
    """The KEK, locked: nobody wraps with it meanwhile."""
    return session.get(KekRow, (tenant, epoch), with_for_update=True)


def openable_keks(session: Session, tenant: str | None = None) -> Sequence[KekRow]:
    """The KEKs, of one tenant or of all, that are not destroyed; oldest epochs first."""
    found = select(KekRow).where(KekRow.destroyed_at.is_(None)).order_by(KekRow.tenant, KekRow.epoch)
    return session.scalars(found if tenant is None else found.where(KekRow.tenant == tenant)).all()


def tenants_for_change(session: Session, tenant: str | None = None) -> Sequence[str]:
    """Names of all tenants, or of the one, locked: nobody else gives them a KEK meanwhile.  Taken before all others."""
    names = select(TenantRow.name).order_by(TenantRow.name).with_for_update()
    return session.scalars(names if tenant is None else names.where(TenantRow.name == tenant)).all()


def keys_by_epoch(session: Session, tenant: str | None = None) -> dict[tuple[str, int], tuple[int, int]]:
    """By tenant and epoch: how many keys hang on the KEK that are not destroyed, and how many that are."""
    destroyed = func.sum(case((KeyRow.state == KeyState.DESTROYED, 1), else_=0))
    counted = select(KeyRow.tenant, KeyRow.kek_epoch, func.count(), destroyed)
    counted = counted.group_by(KeyRow.tenant, KeyRow.kek_epoch)
    rows = session.execute(counted if tenant is None else counted.where(KeyRow.tenant == tenant))
    return {(name, epoch): (total - gone, gone) for name, epoch, total, gone in rows}


def keys_for_rewrap(
    session: Session, tenant: str, before_epoch: int, after: UUID | None, limit: int, *, skip_locked: bool
) -> Sequence[KeyRow]:
    """Keys of older epochs that are not destroyed, by id, from behind `after` on, locked."""
    found = select(KeyRow).where(
        KeyRow.tenant == tenant, KeyRow.kek_epoch < before_epoch, KeyRow.state != KeyState.DESTROYED
    )
    if after is not None:
        found = found.where(KeyRow.id > after)
    return session.scalars(found.order_by(KeyRow.id).limit(limit).with_for_update(skip_locked=skip_locked)).all()
