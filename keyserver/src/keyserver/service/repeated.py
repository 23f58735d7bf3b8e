"""Releases that were given before, under the same Idempotency-Key: given again without another use.

What is kept of a release is the sealed key, which only its recipient opens, and where its
entry is in the audit log; the receipt is proved and signed anew, for the same tree.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, replace

from sqlalchemy.orm import Session

from faceseal.wire import decode_base64url, encode_base64url
from keyserver import audit
from keyserver.audit import Appended
from keyserver.policy import Caller, GrantFacts
from keyserver.service.once import Once
from keyserver.store import idempotency
from keyserver.store.tables import RepeatRow

_STATUS = 200


@dataclass(frozen=True)
class GivenBefore:
    """A release as it was given."""

    sealed_key: bytes
    proved: Appended


@dataclass(frozen=True)
class Known:
    """What is known of the requests of one transaction: whose ids are free, and which were answered before."""

    free: set[bytes]
    rows: dict[bytes, RepeatRow]


def known_of(session: Session, asked: Iterable[Once | None], now: int) -> Known:
    """Locks the ids until the session's transaction ends."""
    ids = sorted({once.id for once in asked if once is not None})
    free = idempotency.lock(session, ids)
    return Known(free, idempotency.found(session, free, now))


def as_before(facts: GrantFacts) -> GrantFacts:
    """The grant as it would be without the use that this very request has taken."""
    return replace(facts, uses_left=facts.uses_left + 1)


def given_before(session: Session, row: RepeatRow) -> GivenBefore:
    """The release of a row that `row_of` made."""
    kept = json.loads(row.answer or b"{}")
    return GivenBefore(decode_base64url(kept["sealed_key"]), audit.proved_again(session, kept["index"], kept["size"]))


def row_of(caller: Caller, once: Once, sealed_key: bytes, appended: Appended, now: int) -> RepeatRow:
    """What is kept of a release that is being given."""
    size = appended.checkpoint.size
    kept = {"sealed_key": encode_base64url(sealed_key), "index": appended.index, "size": size}
    return RepeatRow(
        id=once.id,
        tenant=caller.tenant,
        request=once.request,
        status=_STATUS,
        kek_epoch=None,
        answer=json.dumps(kept).encode(),
        expires_at=now + idempotency.KEEP_SECONDS,
    )
