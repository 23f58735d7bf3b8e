"""Breaking the glass: one key, at once, without anybody's approval, and never quietly.

It takes the role that the tenant's policy names.  What is made is a grant of one use, in
force for minutes; the release under it goes the way of every other release.  Before the key
leaves there are: an audit entry of its own, a message to every webhook, a line in the log,
and a count.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from uuid import UUID

from faceseal.keytransport import KEY_BYTES, release_info, seal_key
from faceseal.policywire import GrantEvent
from faceseal.wire import BreakGlass, GlassBroken, Grant, GrantState, KeyState, Release
from keyserver import audit, grant_policy
from keyserver.actions import Action
from keyserver.audit import Outcome
from keyserver.errors import RequestInvalid
from keyserver.grant_policy import BREAK_GLASS_SECONDS
from keyserver.policy import Caller, Reason, decide_proven
from keyserver.service.deciding import Attempt, Refused, deciding, require
from keyserver.service.events import Happening, announce
from keyserver.service.facts import grant_info
from keyserver.service.grants import new_grant_row
from keyserver.service.keys import UNUSABLE_RECIPIENT, require_known
from keyserver.service.policies import policy_in_force
from keyserver.service.ports import Ports
from keyserver.service.release import Releases
from keyserver.store import queries
from keyserver.store.tables import GrantKeyRow

_log = logging.getLogger(__name__)


def break_glass(ports: Ports, releases: Releases, caller: Caller, key_id: UUID, request: BreakGlass) -> GlassBroken:
    """The key, sealed to the recipient, under a grant that is made for it.

    Raises ProofNeeded without a proof of the client's key, AccessDenied whatever the reason,
    NotFound if the key is not the tenant's, RequestInvalid for an unusable recipient,
    Unavailable.  If the release fails after the grant was made, the grant stays in force for
    `BREAK_GLASS_SECONDS`.
    """
    grant = _make_grant(ports, caller, key_id, request)
    # After the commit: what is shouted has happened.
    _log.warning("the glass was broken: tenant %s, key %s, grant %s", caller.tenant, key_id, grant.id)
    ports.on_break_glass(caller.tenant)
    # Without a token, which would be the grant's end already, the release is refused on record.
    released = releases.release(_again(caller), key_id, Release(grant=grant.token or "-", recipient=request.recipient))
    used = grant.model_copy(update={"uses_left": 0, "state": GrantState.EXHAUSTED, "token": None})
    return GlassBroken(grant=used, released=released)


def _make_grant(ports: Ports, caller: Caller, key_id: UUID, request: BreakGlass) -> Grant:
    """A grant in force for this key alone, on record."""
    attempt = Attempt(ports, caller, Action.BREAK_GLASS, ports.clock(), key_id)
    with deciding(attempt) as session:
        require(decide_proven(caller))
        present = policy_in_force(session, caller.tenant)
        require(grant_policy.decide_break_glass(caller, request.purpose_code, present.policy))
        require_known(session, caller, [key_id])
        key = queries.key(session, key_id)
        if key is None or key.state is not KeyState.ACTIVE:
            raise Refused(Reason.KEY_NOT_ACTIVE)
        _require_usable(request.recipient, key_id)
        row = new_grant_row(ports.new_id(), caller, request.purpose_code, request.purpose, attempt.now)
        row.reference, row.policy_version, row.quorum = request.reference, present.version, 0
        row.valid_for, row.break_glass = BREAK_GLASS_SECONDS, True
        row.state, row.expires_at = GrantState.APPROVED, attempt.now + BREAK_GLASS_SECONDS
        row.keys = [GrantKeyRow(key_id=key_id, position=0)]
        session.add(row)
        session.flush()
        announce(session, ports, [Happening(GrantEvent.BREAK_GLASS, attempt.now, caller.subject, row, key_id)])
        entry = replace(
            attempt.entry(Outcome.ALLOWED),
            grant_id=row.id,
            purpose=row.purpose,
            purpose_code=row.purpose_code.value,
            reference=row.reference,
            uses=row.uses_left,
            valid_for=row.valid_for,
            quorum=row.quorum,
            policy_version=row.policy_version,
            expires_at=row.expires_at,
        )
        audit.append(session, entry)
        return grant_info(row, caller.subject, ports.issuer, attempt.now)


def _again(caller: Caller) -> Caller:
    """The caller with the same proof for the second step, which counts once like the first.

    No client can send this number: a proof's `jti` has no space in it.
    """
    if caller.proof is None:
        return caller
    return replace(caller, proof=replace(caller.proof, jti=f"{caller.proof.jti} release"))


def _require_usable(recipient: bytes, key_id: UUID) -> None:
    """Tried with zeros: a spoiled request should not make a grant."""
    try:
        seal_key(bytes(KEY_BYTES), recipient, release_info(key_id, key_id))
    except ValueError:
        raise RequestInvalid(UNUSABLE_RECIPIENT) from None
