"""From rows to what policy decides on, and to what the wire shows."""

from __future__ import annotations

from faceseal.wire import Grant, GrantState, KeyInfo
from keyserver.policy import GrantFacts, KeyFacts, grant_state
from keyserver.store.tables import GrantRow, KeyRow
from keyserver.tokens import BuiltinIssuer


def key_facts(row: KeyRow) -> KeyFacts:
    """What decisions about the key depend on."""
    return KeyFacts(row.id, row.tenant, row.state, row.created_by, row.sealed_digest, row.destruction_due_at)


def key_info(row: KeyRow) -> KeyInfo:
    """What the server says about the key."""
    return KeyInfo(
        id=row.id,
        state=row.state,
        created_at=row.created_at,
        created_by=row.created_by,
        labels=row.labels,
        sealed_digest=row.sealed_digest,
        destruction_due_at=row.destruction_due_at,
    )


def grant_facts(row: GrantRow) -> GrantFacts:
    """What decisions about the grant depend on."""
    named = frozenset(named.key_id for named in row.keys)
    return GrantFacts(row.id, row.tenant, row.state, row.requested_by, named, row.uses_left, row.expires_at, row.jkt)


def grant_info(row: GrantRow, reader: str, issuer: BuiltinIssuer, now: int) -> Grant:
    """What the server says about the grant; its token only to its requester, while it is in force."""
    state = grant_state(grant_facts(row), now)
    token = None
    if state is GrantState.APPROVED and row.requested_by == reader and row.expires_at is not None:
        approved_at = row.expires_at - row.valid_for
        token = issuer.issue_grant(row.id, row.requested_by, row.tenant, approved_at, row.expires_at, row.jkt)
    return Grant(
        id=row.id,
        state=state,
        key_ids=[named.key_id for named in row.keys],
        purpose=row.purpose,
        requested_by=row.requested_by,
        requested_at=row.requested_at,
        valid_for=row.valid_for,
        uses_left=row.uses_left,
        decided_by=row.decided_by,
        expires_at=row.expires_at,
        jkt=row.jkt,
        token=token,
    )
