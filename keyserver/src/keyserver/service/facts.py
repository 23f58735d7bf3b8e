"""From rows to what policy decides on, and to what the wire shows."""

from __future__ import annotations

from uuid import UUID

from faceseal.wire import Approval, Grant, GrantState, KeyInfo
from keyserver.policy import GrantFacts, KeyFacts, grant_state
from keyserver.store.tables import GrantRow, KeyRow
from keyserver.tokens import BuiltinIssuer

MOST_APPROVALS = 100
"""As many are shown: of the approvals of one grant no more than a handful count at a time."""


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


def grant_facts(row: GrantRow, named: frozenset[UUID] = frozenset()) -> GrantFacts:
    """What decisions about the grant depend on.

    named: the keys of the grant that the decision is about; none for decisions about the grant itself.
    """
    return GrantFacts(
        id=row.id,
        tenant=row.tenant,
        state=row.state,
        requested_by=row.requested_by,
        key_ids=named,
        uses_left=row.uses_left,
        expires_at=row.expires_at,
        not_before=row.not_before,
        jkt=row.jkt,
    )


def grant_info(row: GrantRow, reader: str, issuer: BuiltinIssuer, now: int) -> Grant:
    """What the server says about the grant; its token only to its requester, while it is in force."""
    state = grant_state(grant_facts(row), now)
    token = None
    if state is GrantState.APPROVED and row.requested_by == reader and row.expires_at is not None:
        # The approval, or what the request names as the beginning.
        begins_at = row.expires_at - row.valid_for
        token = issuer.issue_grant(row.id, row.requested_by, row.tenant, begins_at, row.expires_at, row.jkt)
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
        labels=row.labels or {},
        purpose_code=row.purpose_code,
        reference=row.reference,
        not_before=row.not_before,
        quorum=row.quorum,
        approvals=[
            Approval(approver=approval.approver, at=approval.at) for approval in row.approvals[-MOST_APPROVALS:]
        ],
        policy_version=row.policy_version,
        break_glass=row.break_glass,
    )
