"""Queries of keys, grants and tenants.  Whatever locks says so; locks last until the commit.

To lock in one order everywhere, and so never in a circle: grant, then key, then audit log.
"""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from keyserver.store.tables import GrantRow, KekRow, KeyRow, TenantRow

PAGE = 100


def tenant_exists(session: Session, name: str) -> bool:
    """Whether there is such a tenant."""
    return session.get(TenantRow, name) is not None


def current_kek(session: Session, tenant: str) -> KekRow | None:
    """The tenant's KEK of the latest epoch."""
    newest = select(KekRow).where(KekRow.tenant == tenant).order_by(KekRow.epoch.desc()).limit(1)
    return session.scalars(newest).first()


def kek_of(session: Session, key: KeyRow) -> KekRow:
    """The KEK that wraps this key."""
    return session.get_one(KekRow, (key.tenant, key.kek_epoch))


def all_keks(session: Session) -> Sequence[KekRow]:
    """Every tenant's KEK of every epoch."""
    return session.scalars(select(KekRow)).all()


def key(session: Session, key_id: UUID) -> KeyRow | None:
    """The key with this id, of whatever tenant."""
    return session.get(KeyRow, key_id)


def key_for_change(session: Session, key_id: UUID) -> KeyRow | None:
    """The key, locked: nobody else changes or releases it meanwhile."""
    return session.get(KeyRow, key_id, with_for_update=True)


def key_for_release(session: Session, key_id: UUID) -> KeyRow | None:
    """The key, locked against changes; others may release it meanwhile."""
    return session.get(KeyRow, key_id, with_for_update={"read": True})


def keys_of(session: Session, tenant: str, key_ids: Sequence[UUID]) -> Sequence[KeyRow]:
    """Those of the keys that exist and are the tenant's."""
    return session.scalars(select(KeyRow).where(KeyRow.tenant == tenant, KeyRow.id.in_(key_ids))).all()


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


def newest_grants(session: Session, tenant: str, requested_by: str | None) -> Sequence[GrantRow]:
    """At most `PAGE` grants of the tenant, or of one requester in it, newest first."""
    grants = select(GrantRow).where(GrantRow.tenant == tenant)
    if requested_by is not None:
        grants = grants.where(GrantRow.requested_by == requested_by)
    return session.scalars(grants.order_by(GrantRow.requested_at.desc(), GrantRow.id.desc()).limit(PAGE)).all()
