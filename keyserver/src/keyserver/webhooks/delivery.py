"""The worker: take messages that are due, send them, and drop or put off each by how it went.

A message that was taken is nobody else's for `LEASE_SECONDS`, on whichever machine.  Whoever
is killed between sending and dropping it leaves it to be sent again after that: each message
arrives at least once, with the same id, in no promised order.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from keyserver.errors import KeyServerError, Unavailable
from keyserver.keywrap import webhook_context
from keyserver.service.ports import Ports
from keyserver.store import outbox
from keyserver.webhooks.signing import signed_headers

LEASE_SECONDS = 120
"""Longer than a round takes: as many at once as there are, each within its deadline."""
PER_WEBHOOK = 4
PER_ROUND = 64
FIRST_PAUSE = 5
LONGEST_PAUSE = 6 * 3600
GIVE_UP_AFTER = 3 * 86400
KEEP_GIVEN_UP = 30 * 86400
IDLE_SECONDS = 1.0
_SWEEP_SECONDS = 3600
_log = logging.getLogger(__name__)

Send = Callable[[str, Mapping[str, str], bytes], Coroutine[Any, Any, None]]
"""POST of a body with headers to a URL; raises SendFailed."""


class SendFailed(Exception):
    """The message did not arrive, as far as we know; the text says why, and holds no part of the URL."""


@dataclass(frozen=True)
class Letter:
    """One attempt to deliver one message."""

    id: UUID
    webhook_id: UUID
    tenant: str
    url: str
    wrapped_secret: bytes
    body: bytes
    attempts: int
    created_at: int


def next_attempt(created_at: int, attempts: int, now: int) -> int | None:
    """When to try again after so many attempts that failed: pauses double up to six hours; None: give up.

    Times are in seconds since 1970.
    """
    due_at = now + min(FIRST_PAUSE << min(attempts - 1, 20), LONGEST_PAUSE)
    return due_at if due_at < created_at + GIVE_UP_AFTER else None


async def deliver_forever(ports: Ports, send: Send, stopping: asyncio.Event) -> None:
    """Deliver until `stopping` is set; what is being sent then is ended first.

    A database that fails is asked again.
    """
    swept_at = 0
    while not stopping.is_set():
        taken = 0
        try:
            if ports.clock() >= swept_at + _SWEEP_SECONDS:
                swept_at = ports.clock()
                _sweep(ports, swept_at)
            taken = await deliver_due(ports, send)
        except Unavailable as failure:
            _log.error("webhooks wait: %s", failure)
        if taken == 0:
            try:
                await asyncio.wait_for(stopping.wait(), IDLE_SECONDS)
            except TimeoutError:
                continue


async def deliver_due(ports: Ports, send: Send) -> int:
    """Send what is due now, all at the same time; how many messages were taken.  Raises StoreUnavailable."""
    letters = _take(ports)
    outcomes = await asyncio.gather(*(_deliver(ports, send, letter) for letter in letters), return_exceptions=True)
    for outcome in outcomes:
        if isinstance(outcome, BaseException):
            raise outcome
    return len(letters)


async def _deliver(ports: Ports, send: Send, letter: Letter) -> None:
    try:
        # In a thread: a remote root may take its time, and other messages are being sent meanwhile.
        context = webhook_context(letter.tenant, letter.webhook_id)
        secret = await asyncio.to_thread(ports.root.unwrap, letter.wrapped_secret, context)
        headers = signed_headers(secret, letter.id, ports.clock(), letter.body)
        await send(letter.url, headers, letter.body)
    except (SendFailed, KeyServerError) as failure:
        _put_off(ports, letter, str(failure))
        return
    except Exception as bug:
        # One message must not stop all others.  The type alone: a message may quote what it choked on.
        _log.error("webhook %s: unhandled %s", letter.webhook_id, type(bug).__name__)
        _put_off(ports, letter, f"the server failed: {type(bug).__name__}")
        return
    with ports.database.writing() as session:
        outbox.drop_delivered(session, letter.id, letter.attempts)


def _take(ports: Ports) -> list[Letter]:
    now = ports.clock()
    with ports.database.reading() as session:
        # Most rounds find nothing, and then disturb nobody who writes.
        if not outbox.any_due(session, now):
            return []
    with ports.database.writing() as session:
        rows = outbox.take_due(session, now, now + LEASE_SECONDS, PER_WEBHOOK, PER_ROUND)
        webhooks = {row.id: row for row in outbox.all_webhooks(session)} if rows else {}
        return [
            Letter(
                row.id,
                row.webhook_id,
                webhooks[row.webhook_id].tenant,
                webhooks[row.webhook_id].url,
                webhooks[row.webhook_id].secret,
                row.body.encode(),
                row.attempts,
                row.created_at,
            )
            for row in rows
        ]


def _put_off(ports: Ports, letter: Letter, why: str) -> None:
    due_at = next_attempt(letter.created_at, letter.attempts, ports.clock())
    with ports.database.writing() as session:
        outbox.put_off(session, letter.id, letter.attempts, due_at, why[:200])
    if due_at is None:
        _log.warning("webhook %s: message %s was given up: %s", letter.webhook_id, letter.id, why)


def _sweep(ports: Ports, now: int) -> None:
    with ports.database.writing() as session:
        outbox.drop_given_up(session, now - KEEP_GIVEN_UP)
