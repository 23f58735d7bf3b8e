"""A tenant's webhooks: added, listed, removed and moved to another root by the operator."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from uuid import UUID

from sqlalchemy.orm import Session

from keyserver import audit, keywrap
from keyserver.actions import Action
from keyserver.audit import Entry, Outcome
from keyserver.audit.entry import OPERATOR
from keyserver.errors import Conflict, NotFound
from keyserver.keywrap import Root, webhook_context
from keyserver.service.ports import Ports
from keyserver.store import outbox, queries
from keyserver.store.tables import WebhookRow
from keyserver.webhooks.addresses import receiver_of
from keyserver.webhooks.signing import SECRET_BYTES

MOST_WEBHOOKS = 20
"""Of a tenant: each makes every change of a grant write one message more."""


@dataclass(frozen=True)
class WebhookInfo:
    """A webhook without its secret, and how its messages fare."""

    id: UUID
    tenant: str
    url: str
    created_at: int
    waiting: int
    given_up: int
    failure: str | None


def add_webhook(ports: Ports, tenant: str, url: str) -> tuple[UUID, bytes]:
    """Tell this address (checked) of what happens to the tenant's grants from now on.

    Returns its id, and the secret (32 bytes) that messages are signed with: it is not shown
    again.  Raises NotFound, Conflict if there are too many, Unavailable.
    """
    webhook_id, secret, now = ports.new_id(), ports.random(SECRET_BYTES), ports.clock()
    with ports.database.reading() as session:
        kek = queries.current_kek(session, tenant)
    if kek is None:
        raise NotFound(f"there is no tenant {tenant}")
    # The root is asked outside of the transaction: nobody waits for it.
    keywrap.open_kek(ports.root, kek.wrapped, tenant, kek.epoch)
    wrapped = ports.root.wrap(secret, webhook_context(tenant, webhook_id))
    with ports.database.writing() as session:
        queries.tenants_for_change(session, tenant)
        present = queries.current_kek(session, tenant)
        if present is None or present.wrapped != kek.wrapped:
            raise Conflict("the tenant's KEK, and perhaps the root, was changed meanwhile; add the webhook again")
        if len(outbox.all_webhooks(session, tenant)) >= MOST_WEBHOOKS:
            raise Conflict(f"the tenant has {MOST_WEBHOOKS} webhooks; remove one first")
        session.add(WebhookRow(id=webhook_id, tenant=tenant, url=url, secret=wrapped, created_at=now))
        audit.append(session, _entry(now, Action.ADD_WEBHOOK, tenant, webhook_id, url))
    return webhook_id, secret


def list_webhooks(ports: Ports, tenant: str | None = None) -> list[WebhookInfo]:
    """The webhooks, of one tenant or of all.  Raises StoreUnavailable."""
    with ports.database.reading() as session:
        counts = outbox.waiting(session)
        return [
            WebhookInfo(row.id, row.tenant, row.url, row.created_at, *counts.get(row.id, (0, 0, None)))
            for row in outbox.all_webhooks(session, tenant)
        ]


def remove_webhook(ports: Ports, tenant: str, webhook_id: UUID) -> None:
    """Tell this address nothing more; what is on its way to it is dropped.  Raises NotFound, StoreUnavailable."""
    now = ports.clock()
    with ports.database.writing() as session:
        row = outbox.webhook_for_change(session, tenant, webhook_id)
        if row is None:
            raise NotFound(f"the tenant {tenant} has no webhook {webhook_id}")
        entry = _entry(now, Action.REMOVE_WEBHOOK, tenant, webhook_id, row.url)
        outbox.remove_webhook(session, webhook_id)
        audit.append(session, entry)


def opened_secret(ports: Ports, tenant: str, webhook_id: UUID) -> tuple[str, bytes]:
    """A webhook's URL and secret, to test it.  Raises NotFound, WrapBroken, Unavailable."""
    with ports.database.reading() as session:
        found = [row for row in outbox.all_webhooks(session, tenant) if row.id == webhook_id]
    if not found:
        raise NotFound(f"the tenant {tenant} has no webhook {webhook_id}")
    return found[0].url, ports.root.unwrap(found[0].secret, webhook_context(tenant, webhook_id))


@dataclass(frozen=True)
class MovedSecret:
    """A webhook's secret, wrapped by the root before and by the new one."""

    before: bytes
    after: bytes


def moved_secrets(webhooks: Iterable[WebhookRow], old: Root, new: Root) -> dict[UUID, MovedSecret]:
    """Every webhook's secret wrapped with another root too, which has opened it once.

    Raises WrapBroken, Unavailable.
    """
    moved = {}
    for row in webhooks:
        context = webhook_context(row.tenant, row.id)
        after = new.wrap(old.unwrap(row.secret, context), context)
        new.unwrap(after, context)
        moved[row.id] = MovedSecret(row.secret, after)
    return moved


def set_moved_secrets(session: Session, moved: Mapping[UUID, MovedSecret]) -> None:
    """Write what `moved_secrets` made.  Raises Conflict if webhooks were changed meanwhile."""
    rows = outbox.webhooks_for_change(session)
    if {row.id: row.secret for row in rows} != {webhook_id: secret.before for webhook_id, secret in moved.items()}:
        raise Conflict("webhooks were changed meanwhile; nothing was moved")
    for row in rows:
        row.secret = moved[row.id].after


def _entry(now: int, action: Action, tenant: str, webhook_id: UUID, url: str) -> Entry:
    entry = Entry(at=now, action=action, outcome=Outcome.ALLOWED, actor=OPERATOR, tenant=tenant)
    return replace(entry, webhook_id=webhook_id, receiver=receiver_of(url))
