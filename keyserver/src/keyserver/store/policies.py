"""Queries of tenants' policies: one row a version, and none is ever changed."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.orm import Session

from keyserver.store.tables import PolicyRow


def latest(session: Session, tenant: str) -> PolicyRow | None:
    """The tenant's policy of the highest version, or None if it never set one."""
    found = select(PolicyRow).where(PolicyRow.tenant == tenant).order_by(PolicyRow.version.desc()).limit(1)
    return session.scalars(found).first()


def add(session: Session, tenant: str, version: int, document: str, set_at: int) -> None:
    """Insert a version."""
    session.add(PolicyRow(tenant=tenant, version=version, document=document, set_at=set_at))
    session.flush()
