"""Names of people in the tables of grants and keys, and putting a pseudonym in their place."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import delete, or_, select, update
from sqlalchemy.orm import Session, lazyload

from faceseal.wire import GrantState
from keyserver.store.tables import ApprovalRow, GrantRow, KeyRow

BATCH = 500
"""Keys that are changed in one transaction; grants whose approvals are changed by one statement."""


def replace_in_grants(session: Session, tenant: str, name: str, pseudonym: str) -> int:
    """In whatever grants the person requested, decided on or approved; how many.

    Grants that the person requested lose their words, and their client key: nobody can use them any more.
    Grants that are pending lose the person's approval: whoever comes again would count twice.
    """
    approved = select(ApprovalRow.grant_id).where(ApprovalRow.approver == name)
    named = or_(GrantRow.requested_by == name, GrantRow.decided_by == name, GrantRow.id.in_(approved))
    found = select(GrantRow).where(GrantRow.tenant == tenant, named).order_by(GrantRow.id)
    rows = session.scalars(found.with_for_update().options(lazyload(GrantRow.keys))).all()
    for row in rows:
        if row.requested_by == name:
            row.requested_by, row.jkt = pseudonym, None
            row.purpose, row.reference = row.purpose_code.value, None
        if row.decided_by == name:
            row.decided_by = pseudonym
    session.flush()
    for start in range(0, len(rows), BATCH):
        _replace_in_approvals(session, rows[start : start + BATCH], name, pseudonym)
    return len(rows)


def _replace_in_approvals(session: Session, grants: Sequence[GrantRow], name: str, pseudonym: str) -> None:
    pending = [row.id for row in grants if row.state is GrantState.PENDING]
    decided = [row.id for row in grants if row.state is not GrantState.PENDING]
    gone = delete(ApprovalRow).where(ApprovalRow.approver == name, ApprovalRow.grant_id.in_(pending))
    kept = update(ApprovalRow).where(ApprovalRow.approver == name, ApprovalRow.grant_id.in_(decided))
    for change in (gone, kept.values(approver=pseudonym)):
        session.execute(change, execution_options={"synchronize_session": False})


def keys_of(session: Session, tenant: str, name: str, limit: int) -> Sequence[UUID]:
    """Keys that the person created, locked."""
    found = select(KeyRow.id).where(KeyRow.tenant == tenant, KeyRow.created_by == name).order_by(KeyRow.id)
    return session.scalars(found.limit(limit).with_for_update()).all()


def replace_in_keys(session: Session, tenant: str, name: str, pseudonym: str, limit: int) -> int:
    """In at most `limit` keys that the person created; how many."""
    mine = keys_of(session, tenant, name, limit)
    changed = update(KeyRow).where(KeyRow.id.in_(mine)).values(created_by=pseudonym)
    session.execute(changed, execution_options={"synchronize_session": False})
    return len(mine)
