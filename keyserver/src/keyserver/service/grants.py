"""Grants: request, approve, deny, revoke, read one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from uuid import UUID

from sqlalchemy.orm import Session

from faceseal.wire import MAX_KEYS_IN_GRANT, Grant, GrantEvent, GrantState, PolicyInfo, PurposeCode, RequestGrant
from keyserver import audit, grant_policy, policy
from keyserver.actions import Action
from keyserver.audit import Entry, Outcome
from keyserver.errors import RequestInvalid
from keyserver.grant_policy import Wish
from keyserver.policy import Caller, Reason
from keyserver.service.deciding import Attempt, Refused, deciding, require
from keyserver.service.events import Happening, announce
from keyserver.service.facts import grant_facts, grant_info
from keyserver.service.keys import require_known
from keyserver.service.policies import policy_in_force
from keyserver.service.ports import Ports
from keyserver.store import queries
from keyserver.store.tables import ApprovalRow, GrantKeyRow, GrantRow

LONGEST_AHEAD = 366 * 86400
"""Seconds that a grant may be requested before it begins."""


def request_grant(ports: Ports, caller: Caller, request: RequestGrant) -> Grant:
    """Ask for the release of keys to who holds the key that the request was proved with.

    As many others must approve as the tenant's policy says.
    Raises ProofNeeded without a proof, NotFound if one of the keys is not the tenant's,
    RequestInvalid if one is named twice or the beginning is too far away, AccessDenied (by the
    policy, too), Conflict if labels fit no key or too many, Unavailable.
    """
    if len(set(request.key_ids)) != len(request.key_ids):
        raise RequestInvalid("key_ids names a key twice")
    attempt = Attempt(ports, caller, Action.REQUEST_GRANT, ports.clock())
    if request.not_before is not None and request.not_before > attempt.now + LONGEST_AHEAD:
        raise RequestInvalid("not_before is more than a year away")
    with deciding(attempt) as session:
        require(policy.decide_proven(caller))
        present = policy_in_force(session, caller.tenant)
        wish = Wish(request.purpose_code, request.valid_for, request.uses)
        require(grant_policy.decide_request(caller, wish, present.policy))
        require_known(session, caller, request.key_ids)
        if not queries.tenant_exists(session, caller.tenant):
            raise Refused(Reason.TENANT_UNKNOWN)
        row = _requested(request, present, attempt)
        happened = [GrantEvent.REQUESTED]
        if present.policy.quorum == 0:
            _put_in_force(session, row, attempt.now, None)
            happened.append(GrantEvent.IN_FORCE)
        session.add(row)
        session.flush()
        _announce(session, attempt, row, *happened)
        audit.append(session, grant_entry(row, attempt))
        return _shown(row, attempt)


def approve_grant(ports: Ports, caller: Caller, grant_id: UUID) -> Grant:
    """Approve; the grant is in force from now on, or from its beginning, once enough people have.

    Whose approval counts already changes nothing.  Raises as `deny_grant` does, and Conflict
    if labels fit no key or too many.
    """
    attempt = Attempt(ports, caller, Action.APPROVE_GRANT, ports.clock(), grant_id=grant_id)
    with deciding(attempt) as session:
        row = _visible(queries.grant_for_change(session, grant_id), caller)
        require(policy.decide_approval(caller, grant_facts(row)))
        before = _counting(row, attempt.now)
        _approve(row, caller.subject, attempt.now)
        count = _counting(row, attempt.now)
        if count == before:
            return _shown(row, attempt)
        happened = [GrantEvent.APPROVED]
        by_labels = bool(row.labels)
        if count >= row.quorum:
            _put_in_force(session, row, attempt.now, caller.subject)
            happened.append(GrantEvent.IN_FORCE)
        session.flush()
        _announce(session, attempt, row, *happened)
        entry = replace(
            attempt.entry(Outcome.ALLOWED),
            approvals=count,
            quorum=row.quorum,
            expires_at=row.expires_at,
            key_ids=tuple(named.key_id for named in row.keys) if by_labels else (),
        )
        audit.append(session, entry)
        return _shown(row, attempt)


def deny_grant(ports: Ports, caller: Caller, grant_id: UUID) -> Grant:
    """Refuse the grant for good, whoever approved it before.

    Raises NotFound, AccessDenied (one's own grant, too), Conflict if it is already decided,
    Unavailable.
    """
    attempt = Attempt(ports, caller, Action.DENY_GRANT, ports.clock(), grant_id=grant_id)
    with deciding(attempt) as session:
        row = _visible(queries.grant_for_change(session, grant_id), caller)
        require(policy.decide_approval(caller, grant_facts(row)))
        row.state, row.decided_by = GrantState.DENIED, caller.subject
        _announce(session, attempt, row, GrantEvent.DENIED)
        audit.append(session, attempt.entry(Outcome.ALLOWED))
        return _shown(row, attempt)


def revoke_grant(ports: Ports, caller: Caller, grant_id: UUID) -> Grant:
    """End an approved grant; a revoked one stays revoked.

    Raises NotFound, AccessDenied, Conflict if it is not in force, Unavailable.
    """
    attempt = Attempt(ports, caller, Action.REVOKE_GRANT, ports.clock(), grant_id=grant_id)
    with deciding(attempt) as session:
        row = _visible(queries.grant_for_change(session, grant_id), caller)
        require(policy.decide_revocation(grant_facts(row), attempt.now))
        if row.state is not GrantState.REVOKED:
            row.state = GrantState.REVOKED
            _announce(session, attempt, row, GrantEvent.REVOKED)
            audit.append(session, attempt.entry(Outcome.ALLOWED))
        return _shown(row, attempt)


def get_grant(ports: Ports, caller: Caller, grant_id: UUID) -> Grant:
    """Raises NotFound, AccessDenied, Unavailable."""
    attempt = Attempt(ports, caller, Action.READ_GRANTS, ports.clock(), grant_id=grant_id)
    with deciding(attempt, writes=False) as session:
        return _shown(_visible(queries.grant(session, grant_id), caller), attempt)


def new_grant_row(row_id: UUID, caller: Caller, purpose_code: PurposeCode, purpose: str | None, now: int) -> GrantRow:
    """A pending grant of one use that a policy has not been asked about, as a basis."""
    return GrantRow(
        id=row_id,
        tenant=caller.tenant,
        state=GrantState.PENDING,
        purpose_code=purpose_code,
        # Never empty: servers of the revision before show it, too.
        purpose=purpose or purpose_code.value,
        requested_by=caller.subject,
        requested_at=now,
        uses_left=1,
        labels=None,
        reference=None,
        not_before=None,
        decided_by=None,
        expires_at=None,
        jkt=None if caller.proof is None else caller.proof.jkt,
        break_glass=False,
        approvals=[],
    )


def _requested(request: RequestGrant, present: PolicyInfo, attempt: Attempt) -> GrantRow:
    row = new_grant_row(attempt.ports.new_id(), attempt.caller, request.purpose_code, request.purpose, attempt.now)
    row.valid_for, row.uses_left = request.valid_for, request.uses
    row.reference, row.not_before = request.reference, request.not_before
    row.policy_version, row.quorum = present.version, present.policy.quorum
    row.approvals_expire = present.policy.approvals_expire
    row.labels = dict(request.labels) or None
    row.keys = _named(request.key_ids)
    return row


def grant_entry(row: GrantRow, attempt: Attempt) -> Entry:
    """What the log says of a grant that is made: all that was asked for, and under which policy."""
    return replace(
        attempt.entry(Outcome.ALLOWED),
        grant_id=row.id,
        key_ids=tuple(named.key_id for named in row.keys),
        labels=row.labels,
        purpose=row.purpose,
        purpose_code=row.purpose_code.value,
        reference=row.reference,
        not_before=row.not_before,
        uses=row.uses_left,
        valid_for=row.valid_for,
        quorum=row.quorum,
        policy_version=row.policy_version,
        expires_at=row.expires_at,
    )


def _counting(row: GrantRow, now: int) -> int:
    approvals = {approval.approver: approval.at for approval in row.approvals}
    return grant_policy.counting(approvals, row.requested_by, row.approvals_expire, now)


def _approve(row: GrantRow, approver: str, now: int) -> None:
    """One approval a person; an older one is renewed only if it no longer counts."""
    for approval in row.approvals:
        if approval.approver == approver:
            if row.approvals_expire is not None and now >= approval.at + row.approvals_expire:
                approval.at = now
            return
    row.approvals.append(ApprovalRow(approver=approver, at=now))


def _put_in_force(session: Session, row: GrantRow, now: int, decided_by: str | None) -> None:
    """Approved, for the keys that its labels fit now if it names none.  Raises Refused."""
    if row.labels:
        fitting = queries.keys_with_labels(session, row.tenant, row.labels, MAX_KEYS_IN_GRANT + 1)
        if not fitting:
            raise Refused(Reason.LABELS_FIT_NO_KEY)
        if len(fitting) > MAX_KEYS_IN_GRANT:
            raise Refused(Reason.LABELS_FIT_TOO_MANY)
        row.keys = _named(fitting)
    row.state, row.decided_by = GrantState.APPROVED, decided_by
    row.expires_at = max(now, row.not_before or 0) + row.valid_for


def _named(key_ids: Sequence[UUID]) -> list[GrantKeyRow]:
    return [GrantKeyRow(key_id=key_id, position=position) for position, key_id in enumerate(key_ids)]


def _announce(session: Session, attempt: Attempt, row: GrantRow, *events: GrantEvent) -> None:
    happened = [Happening(event, attempt.now, attempt.caller.subject, row) for event in events]
    announce(session, attempt.ports, happened)


def _shown(row: GrantRow, attempt: Attempt) -> Grant:
    return grant_info(row, attempt.caller.subject, attempt.ports.issuer, attempt.now)


def _visible(row: GrantRow | None, caller: Caller) -> GrantRow:
    if row is None:
        raise Refused(Reason.GRANT_UNKNOWN)
    require(policy.decide_grant_access(caller, grant_facts(row)))
    return row
