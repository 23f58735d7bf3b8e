"""Grants: request, approve, deny, revoke, read."""

from __future__ import annotations

from dataclasses import replace
from uuid import UUID

from faceseal.wire import Grant, GrantPage, GrantState, RequestGrant, Scope
from keyserver import audit, policy
from keyserver.actions import Action
from keyserver.audit import Outcome
from keyserver.errors import RequestInvalid
from keyserver.policy import Caller, Reason
from keyserver.service.deciding import Attempt, Refused, deciding, require
from keyserver.service.facts import grant_facts, grant_info
from keyserver.service.keys import require_known
from keyserver.service.ports import Ports
from keyserver.store import queries
from keyserver.store.tables import GrantKeyRow, GrantRow


def request_grant(ports: Ports, caller: Caller, request: RequestGrant) -> Grant:
    """Ask for the release of keys to who holds the key that the request was proved with; somebody else must approve.

    Raises ProofNeeded without a proof, NotFound if one of the keys is not the tenant's, RequestInvalid if one is named
    twice, AccessDenied, Unavailable.
    """
    if len(set(request.key_ids)) != len(request.key_ids):
        raise RequestInvalid("key_ids names a key twice")
    grant_id = ports.new_id()
    attempt = Attempt(ports, caller, Action.REQUEST_GRANT, ports.clock())
    with deciding(attempt) as session:
        require(policy.decide_proven(caller))
        require_known(session, caller, request.key_ids)
        row = GrantRow(
            id=grant_id,
            tenant=caller.tenant,
            state=GrantState.PENDING,
            purpose=request.purpose,
            requested_by=caller.subject,
            requested_at=attempt.now,
            valid_for=request.valid_for,
            uses_left=request.uses,
            decided_by=None,
            expires_at=None,
            jkt=None if caller.proof is None else caller.proof.jkt,
            keys=[GrantKeyRow(key_id=key_id, position=position) for position, key_id in enumerate(request.key_ids)],
        )
        session.add(row)
        session.flush()
        entry = replace(
            attempt.entry(Outcome.ALLOWED),
            grant_id=grant_id,
            key_ids=tuple(request.key_ids),
            purpose=request.purpose,
            uses=request.uses,
            valid_for=request.valid_for,
        )
        audit.append(session, entry)
        return _shown(row, attempt)


def approve_grant(ports: Ports, caller: Caller, grant_id: UUID) -> Grant:
    """Put the grant in force from now on.  Raises as `deny_grant` does."""
    attempt = Attempt(ports, caller, Action.APPROVE_GRANT, ports.clock(), grant_id=grant_id)
    with deciding(attempt) as session:
        row = _visible(queries.grant_for_change(session, grant_id), caller)
        require(policy.decide_approval(caller, grant_facts(row)))
        row.state, row.decided_by, row.expires_at = GrantState.APPROVED, caller.subject, attempt.now + row.valid_for
        audit.append(session, replace(attempt.entry(Outcome.ALLOWED), expires_at=row.expires_at))
        return _shown(row, attempt)


def deny_grant(ports: Ports, caller: Caller, grant_id: UUID) -> Grant:
    """Refuse the grant for good.

    Raises NotFound, AccessDenied (one's own grant, too), Conflict if it is already decided,
    Unavailable.
    """
    attempt = Attempt(ports, caller, Action.DENY_GRANT, ports.clock(), grant_id=grant_id)
    with deciding(attempt) as session:
        row = _visible(queries.grant_for_change(session, grant_id), caller)
        require(policy.decide_approval(caller, grant_facts(row)))
        row.state, row.decided_by = GrantState.DENIED, caller.subject
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
            audit.append(session, attempt.entry(Outcome.ALLOWED))
        return _shown(row, attempt)


def list_grants(ports: Ports, caller: Caller) -> GrantPage:
    """The newest grants: the caller's own, or the tenant's for an approver.  Raises AccessDenied, Unavailable."""
    attempt = Attempt(ports, caller, Action.READ_GRANTS, ports.clock())
    requested_by = None if Scope.GRANTS_APPROVE in caller.scopes else caller.subject
    with deciding(attempt, writes=False) as session:
        rows = queries.newest_grants(session, caller.tenant, requested_by)
        return GrantPage(grants=[_shown(row, attempt) for row in rows])


def get_grant(ports: Ports, caller: Caller, grant_id: UUID) -> Grant:
    """Raises NotFound, AccessDenied, Unavailable."""
    attempt = Attempt(ports, caller, Action.READ_GRANTS, ports.clock(), grant_id=grant_id)
    with deciding(attempt, writes=False) as session:
        return _shown(_visible(queries.grant(session, grant_id), caller), attempt)


def _shown(row: GrantRow, attempt: Attempt) -> Grant:
    return grant_info(row, attempt.caller.subject, attempt.ports.issuer, attempt.now)


def _visible(row: GrantRow | None, caller: Caller) -> GrantRow:
    if row is None:
        raise Refused(Reason.GRANT_UNKNOWN)
    require(policy.decide_grant_access(caller, grant_facts(row)))
    return row
