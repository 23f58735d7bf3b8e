"""Releasing a key under a grant: the path that everything else is for.

Order (the caller is already authenticated, and the scope checked by `deciding`):
1. the recipient is a usable key: a spoiled request costs no use, and tells nothing about the grant;
2. the grant's token is this server's, in time, and of the right type;
3. grant and key are loaded and locked, and policy decides on their present state;
4. in the same transaction the key is opened, a use is taken and the entry appended;
5. the transaction is durably committed;
6. only then do the sealed key and the receipt leave.
"""

from __future__ import annotations

from dataclasses import replace
from uuid import UUID

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from sqlalchemy.orm import Session

from faceseal.keytransport import release_info, seal_key
from faceseal.wire import Receipt, Release, Released
from keyserver import audit, keywrap, policy
from keyserver.actions import Action
from keyserver.audit import Appended, Outcome
from keyserver.errors import RequestInvalid, WrapBroken
from keyserver.policy import Caller, Reason
from keyserver.service.deciding import Attempt, Broken, Refused, deciding, require
from keyserver.service.facts import grant_facts, key_facts
from keyserver.service.keys import UNUSABLE_RECIPIENT
from keyserver.service.ports import Ports
from keyserver.store import queries
from keyserver.store.tables import KeyRow
from keyserver.tokens import GrantClaims, TokenRefused


def release_key(ports: Ports, caller: Caller, key_id: UUID, request: Release) -> Released:
    """One use of a grant: the image key, sealed to the recipient, with the proof that it is on record.

    Raises AccessDenied whatever the reason, NotFound if the key is not the tenant's,
    RequestInvalid for an unusable recipient, Unavailable if nothing could be recorded.
    """
    now = ports.clock()
    claims = _grant_claims(ports, request.grant, now)
    grant_id = claims.grant_id if isinstance(claims, GrantClaims) else None
    attempt = Attempt(ports, caller, Action.RELEASE, now, key_id, grant_id)
    with deciding(attempt) as session:
        _require_usable(request.recipient)
        if isinstance(claims, TokenRefused):
            raise Refused(Reason.GRANT_TOKEN_REFUSED, claims.why.value)
        grant = queries.grant_for_change(session, claims.grant_id)
        if grant is None or (claims.sub, claims.tenant) != (grant.requested_by, grant.tenant):
            raise Refused(Reason.GRANT_TOKEN_REFUSED, "no such grant")
        key = queries.key_for_release(session, key_id)
        if key is None:
            raise Refused(Reason.KEY_UNKNOWN)
        require(policy.decide_release(caller, key_facts(key), grant_facts(grant), now))
        try:
            image_key = _open(session, ports, key)
        except WrapBroken as cause:
            raise Broken(str(cause)) from None
        sealed_key = seal_key(image_key, request.recipient, release_info(key_id, claims.grant_id))
        grant.uses_left -= 1
        entry = replace(attempt.entry(Outcome.ALLOWED), recipient=request.recipient, uses_left=grant.uses_left)
        appended = audit.append(session, entry)
    # Committed: from here on the release is on record, and the key may leave.
    return Released(key_id=key_id, sealed_key=sealed_key, receipt=_receipt(ports, appended))


def _require_usable(recipient: bytes) -> None:
    try:
        # An exchange fails for points of low order, whatever the private key.
        X25519PrivateKey.generate().exchange(X25519PublicKey.from_public_bytes(recipient))
    except ValueError:
        raise RequestInvalid(UNUSABLE_RECIPIENT) from None


def _grant_claims(ports: Ports, token: str, now: int) -> GrantClaims | TokenRefused:
    try:
        return ports.issuer.verify_grant(token, now)
    except TokenRefused as refusal:
        return refusal


def _open(session: Session, ports: Ports, key: KeyRow) -> bytes:
    wrapping = queries.kek_of(session, key)
    kek = keywrap.open_kek(ports.root, wrapping.wrapped, wrapping.tenant, wrapping.epoch)
    return kek.unwrap(key.wrapped, key.id, key.suite)


def _receipt(ports: Ports, appended: Appended) -> Receipt:
    return Receipt(
        leaf=appended.leaf,
        index=appended.index,
        inclusion_proof=appended.inclusion_proof,
        checkpoint=ports.signer.sign(appended.checkpoint),
    )
