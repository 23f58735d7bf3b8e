"""Queries of webhooks, and of the messages on their way to them.

A worker takes messages by moving their `due_at` into the future and counting the attempt: no
other takes them before then, and the number of attempts tells the worker afterwards whether
they are still its own.  Locks are taken in this order: webhooks, deliveries, audit log.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from uuid import UUID

from sqlalchemy import delete, func, select, update
from sqlalchemy.orm import Session

from keyserver.store.tables import DeliveryRow, WebhookRow


def webhooks_of(session: Session, tenants: Collection[str]) -> Sequence[WebhookRow]:
    """The tenants' webhooks, locked against their removal."""
    found = select(WebhookRow).where(WebhookRow.tenant.in_(tenants)).order_by(WebhookRow.id)
    return session.scalars(found.with_for_update(read=True, key_share=True)).all()


def all_webhooks(session: Session, tenant: str | None = None) -> Sequence[WebhookRow]:
    """The webhooks, of one tenant or of all, oldest first."""
    found = select(WebhookRow).order_by(WebhookRow.tenant, WebhookRow.created_at, WebhookRow.id)
    return session.scalars(found if tenant is None else found.where(WebhookRow.tenant == tenant)).all()


def webhooks_for_change(session: Session) -> Sequence[WebhookRow]:
    """All webhooks, locked."""
    return session.scalars(select(WebhookRow).order_by(WebhookRow.id).with_for_update()).all()


def webhook_for_change(session: Session, tenant: str, webhook_id: UUID) -> WebhookRow | None:
    """The tenant's webhook, locked: nobody adds messages for it meanwhile."""
    found = select(WebhookRow).where(WebhookRow.id == webhook_id, WebhookRow.tenant == tenant)
    return session.scalars(found.with_for_update()).one_or_none()


def remove_webhook(session: Session, webhook_id: UUID) -> None:
    """Delete a webhook, and what is on its way to it."""
    session.execute(delete(DeliveryRow).where(DeliveryRow.webhook_id == webhook_id))
    session.execute(delete(WebhookRow).where(WebhookRow.id == webhook_id))


def waiting(session: Session) -> dict[UUID, tuple[int, int, str | None]]:
    """By webhook: how many messages are on their way, how many were given up, and one of the failures."""
    counted = select(
        DeliveryRow.webhook_id,
        func.count(DeliveryRow.due_at),
        func.count() - func.count(DeliveryRow.due_at),
        func.max(DeliveryRow.failure),
    )
    return {row[0]: (row[1], row[2], row[3]) for row in session.execute(counted.group_by(DeliveryRow.webhook_id))}


def any_due(session: Session, now: int) -> bool:
    """Whether a message waits to be taken."""
    return session.scalars(select(DeliveryRow.id).where(DeliveryRow.due_at <= now).limit(1)).first() is not None


def take_due(session: Session, now: int, until: int, per_webhook: int, limit: int) -> Sequence[DeliveryRow]:
    """Messages that are due, taken until then (seconds since 1970); of each webhook only a few, lest one delay all."""
    place = func.row_number().over(partition_by=DeliveryRow.webhook_id, order_by=(DeliveryRow.due_at, DeliveryRow.id))
    ranked = select(DeliveryRow.id, place.label("place")).where(DeliveryRow.due_at <= now).subquery()
    first = select(ranked.c.id).where(ranked.c.place <= per_webhook)
    # Asked about once more at the row itself: another worker may have taken it meanwhile.
    found = select(DeliveryRow).where(DeliveryRow.id.in_(first), DeliveryRow.due_at <= now)
    ordered = found.order_by(DeliveryRow.due_at, DeliveryRow.id).limit(limit)
    rows = session.scalars(ordered.with_for_update(skip_locked=True)).all()
    for row in rows:
        row.due_at, row.attempts = until, row.attempts + 1
    return rows


def drop_delivered(session: Session, message_id: UUID, attempts: int) -> bool:
    """Delete a message that arrived, if it is still this attempt's."""
    mine = delete(DeliveryRow).where(DeliveryRow.id == message_id, DeliveryRow.attempts == attempts)
    return session.execute(mine.returning(DeliveryRow.id)).first() is not None


def put_off(session: Session, message_id: UUID, attempts: int, due_at: int | None, failure: str) -> bool:
    """Try again then, or never (None), if the message is still this attempt's."""
    mine = update(DeliveryRow).where(DeliveryRow.id == message_id, DeliveryRow.attempts == attempts)
    mine = mine.values(due_at=due_at, failure=failure).execution_options(synchronize_session=False)
    return session.execute(mine.returning(DeliveryRow.id)).first() is not None


def drop_given_up(session: Session, created_before: int) -> None:
    """Delete messages that were given up and are older than this (seconds since 1970)."""
    old = delete(DeliveryRow).where(DeliveryRow.due_at.is_(None), DeliveryRow.created_at < created_before)
    session.execute(old.execution_options(synchronize_session=False))
