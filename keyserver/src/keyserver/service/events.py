"""Telling webhooks what happens to grants: messages are written with the change, and sent by others.

What is rolled back is never told; what is committed is told at least once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy.orm import Session

from faceseal.wire import GrantEvent, WebhookMessage
from keyserver.service.facts import grant_info
from keyserver.service.ports import Ports
from keyserver.store import outbox
from keyserver.store.tables import DeliveryRow, GrantRow

_NOBODY = ""
"""Reads the grant without its token: no requester has an empty name."""


@dataclass(frozen=True)
class Happening:
    """What somebody did to a grant, and when (seconds since 1970)."""

    event: GrantEvent
    at: int
    actor: str
    grant: GrantRow
    key_id: UUID | None = None


def announce(session: Session, ports: Ports, happenings: Sequence[Happening]) -> None:
    """Write a message for each happening and each webhook of its tenant, in the session's transaction.

    The message shows the grant as the transaction leaves it.  Called before the entry is
    appended to the audit log.
    """
    if not happenings:
        return
    webhooks = outbox.webhooks_of(session, {happening.grant.tenant for happening in happenings})
    for happening in happenings:
        for webhook in webhooks:
            if webhook.tenant == happening.grant.tenant:
                session.add(_message(happening, webhook.id, ports))
    session.flush()


def _message(happening: Happening, webhook_id: UUID, ports: Ports) -> DeliveryRow:
    grant = grant_info(happening.grant, _NOBODY, ports.issuer, happening.at)
    message = WebhookMessage(
        id=ports.new_id(),
        event=happening.event,
        time=happening.at,
        tenant=happening.grant.tenant,
        actor=happening.actor,
        key_id=happening.key_id,
        grant=grant,
    )
    return new_delivery(message, webhook_id, happening.at)


def new_delivery(message: WebhookMessage, webhook_id: UUID, now: int) -> DeliveryRow:
    """The message on its way to a webhook, due at once."""
    body = message.model_dump_json()
    return DeliveryRow(id=message.id, webhook_id=webhook_id, body=body, created_at=now, attempts=0, due_at=now)
