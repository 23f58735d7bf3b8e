"""Breaking the glass: one key, at once, without anybody's approval, and never quietly.

It takes the role that the tenant's policy names.  What is made is a grant of one use, in
force for minutes; the release under it goes the way of every other release.  Before the key
leaves there are: an audit entry of its own, a message to every webhook, a line in the log,
and a count.

With an Idempotency-Key the grant is remembered in the transaction that makes it: a request that
was cut off before its release is ended under the same grant, and nobody is alarmed twice.
"""

from __future__ import annotations

import hashlib
import logging
from dataclasses import replace
from uuid import UUID

from sqlalchemy.orm import Session

from faceseal.wire import BreakGlass, GlassBroken, Grant, GrantEvent, GrantState, KeyState, Release
from keyserver import audit, grant_policy
from keyserver.actions import Action
from keyserver.errors import StillRunning
from keyserver.grant_policy import BREAK_GLASS_SECONDS
from keyserver.policy import Caller, Reason, decide_proven
from keyserver.service.deciding import Attempt, Refused, deciding, require
from keyserver.service.events import Happening, announce
from keyserver.service.facts import grant_info
from keyserver.service.grants import grant_entry, new_grant_row
from keyserver.service.keys import require_known, require_usable
from keyserver.service.once import Once, require_same
from keyserver.service.policies import policy_in_force
from keyserver.service.release import Releases
from keyserver.store import idempotency, queries
from keyserver.store.tables import GrantKeyRow, GrantRow, RepeatRow

_log = logging.getLogger(__name__)
_STATUS = 200


def break_glass(
    releases: Releases, caller: Caller, key_id: UUID, request: BreakGlass, once: Once | None = None
) -> GlassBroken:
    """The key, sealed to the recipient, under a grant that is made for it.

    Raises ProofNeeded without a proof of the client's key, AccessDenied whatever the reason,
    NotFound if the key is not the tenant's, RequestInvalid for an unusable recipient,
    Unavailable, LogInDoubt; with `once`, KeyReused and StillRunning.  If the release fails after the grant
    was made, the grant stays in force for `BREAK_GLASS_SECONDS`.
    """
    ports = releases.ports
    attempt = Attempt(ports, caller, Action.BREAK_GLASS, ports.clock(), key_id)
    # Before the grant, and the alarm: the release would fail.
    ports.trust.require(attempt.now)
    before = _made_before(attempt, once)
    grant, token = before or _make_grant(attempt, request, once)
    # The proof that made the grant releases under it as well; one that found it made has not counted yet.
    proven = _again(caller) if before is None else caller
    use = Release(grant=token, recipient=request.recipient, known_size=request.known_size)
    released = releases.release(proven, key_id, use, once)
    used = grant.model_copy(update={"uses_left": 0, "state": GrantState.EXHAUSTED, "token": None})
    return GlassBroken(grant=used, released=released)


def _made_before(attempt: Attempt, once: Once | None) -> tuple[Grant, str] | None:
    """The grant of this very request and its token, if one was made; whether it counts is seen later.

    Raises KeyReused.
    """
    if once is None:
        return None
    with attempt.ports.database.reading() as session:
        known = _known(session, once, attempt.now)
        if known is None:
            return None
        row = queries.grant(session, UUID(bytes=known.answer or b""))
        return None if row is None else _shown(row, attempt)


def _known(session: Session, once: Once, now: int) -> RepeatRow | None:
    """Which grant the request has made.  Raises KeyReused if its key was used for another request, of whatever kind."""
    found = idempotency.found(session, [once.id, _grants_id(once)], now)
    for row in found.values():
        require_same(once, row)
    return found.get(_grants_id(once))


def _grants_id(once: Once) -> bytes:
    """Under which the grant is remembered, beside the release under the request's own id."""
    return hashlib.sha256(b"break-glass grant" + once.id).digest()


def _remember(session: Session, once: Once, row: GrantRow, now: int) -> None:
    """Raises StillRunning if the same request makes its grant elsewhere, or has just made it; KeyReused."""
    if not idempotency.lock(session, [_grants_id(once)]) or _known(session, once, now) is not None:
        raise StillRunning
    made = RepeatRow(
        id=_grants_id(once),
        tenant=row.tenant,
        request=once.request,
        status=_STATUS,
        kek_epoch=None,
        answer=row.id.bytes,
        expires_at=now + idempotency.KEEP_SECONDS,
    )
    idempotency.add(session, [made], now)


def _make_grant(attempt: Attempt, request: BreakGlass, once: Once | None) -> tuple[Grant, str]:
    """A grant in force for this key alone, on record, and its token."""
    ports, caller, key_id = attempt.ports, attempt.caller, attempt.key_id
    assert key_id is not None  # noqa: S101 - `break_glass` names it
    with deciding(attempt) as session:
        require(decide_proven(caller))
        present = policy_in_force(session, caller.tenant)
        require(grant_policy.decide_break_glass(caller, request.purpose_code, present.policy))
        require_known(session, caller, [key_id])
        key = queries.key(session, key_id)
        if key is None or key.state is not KeyState.ACTIVE:
            raise Refused(Reason.KEY_NOT_ACTIVE)
        require_usable(request.recipient)
        row = new_grant_row(ports.new_id(), caller, request.purpose_code, request.purpose, attempt.now)
        row.reference, row.policy_version, row.quorum = request.reference, present.version, 0
        row.valid_for, row.break_glass = BREAK_GLASS_SECONDS, True
        row.state, row.expires_at = GrantState.APPROVED, attempt.now + BREAK_GLASS_SECONDS
        row.keys = [GrantKeyRow(key_id=key_id, position=0)]
        if once is not None:
            _remember(session, once, row, attempt.now)
        session.add(row)
        session.flush()
        announce(session, ports, [Happening(GrantEvent.BREAK_GLASS, attempt.now, caller.subject, row, key_id)])
        audit.append(session, grant_entry(row, attempt))
        made = _shown(row, attempt)
    # After the commit: what is shouted has happened.
    _log.warning("the glass was broken: tenant %s, key %s, grant %s", caller.tenant, key_id, row.id)
    ports.on_break_glass(caller.tenant)
    return made


def _shown(row: GrantRow, attempt: Attempt) -> tuple[Grant, str]:
    ends = row.expires_at or attempt.now
    issuer = attempt.ports.issuer
    token = issuer.issue_grant(row.id, row.requested_by, row.tenant, ends - row.valid_for, ends, row.jkt)
    return grant_info(row, attempt.caller.subject, issuer, attempt.now), token


def _again(caller: Caller) -> Caller:
    """The caller with the same proof for the second step, which counts once like the first.

    No client can send this number: a proof's `jti` has no space in it.
    """
    if caller.proof is None:
        return caller
    return replace(caller, proof=replace(caller.proof, jti=f"{caller.proof.jti} release"))
