"""Who may do what: pure functions from facts to `Allowed` or `Denied(reason)`.

Rules:
1. a caller needs one of the action's scopes, and acts within the own tenant only;
2. a key is bound to a photo by whoever created it;
3. nobody decides on a grant of their own;
4. a key is released only while it is active and not due for destruction, to the requester of an approved grant that
   names it, has begun, is not over and has uses left;
5. a grant is requested with a proof of the client's key, and used with a proof of the same key.

What a tenant's own policy adds is in `keyserver.grant_policy`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from uuid import UUID

from faceseal.wire import GrantState, KeyState, Scope
from keyserver.actions import SCOPES, Action
from keyserver.proof import Proof


@dataclass(frozen=True)
class Caller:
    """Who is asking, as the access token says, and with which key."""

    subject: str
    tenant: str
    scopes: frozenset[Scope]
    token_id: str
    """`jti` of the access token: a UUID of the built-in issuer, anything of 1 to 200 characters of another one."""
    roles: frozenset[str] = frozenset()
    """What a tenant's policy may name; on their own they allow nothing."""
    proof: Proof | None = None
    """Of the client's key, if the request came with one."""


@dataclass(frozen=True)
class KeyFacts:
    """What decisions about a key depend on."""

    id: UUID
    tenant: str
    state: KeyState
    created_by: str
    sealed_digest: bytes | None
    destruction_due_at: int | None = None


@dataclass(frozen=True)
class GrantFacts:
    """What decisions about a grant depend on.

    `state` is the stored one: pending, approved, denied or revoked.  Expired and exhausted
    follow from time and uses; see `grant_state`.  `jkt` is the thumbprint of the key that it is
    bound to; None for one from before grants were bound to keys.
    """

    id: UUID
    tenant: str
    state: GrantState
    requested_by: str
    key_ids: frozenset[UUID]
    uses_left: int
    expires_at: int | None
    not_before: int | None = None
    jkt: str | None = None


class Reason(StrEnum):
    """Why not.  For the audit log; what the caller sees is decided elsewhere."""

    SCOPE_MISSING = "scope_missing"
    TENANT_UNKNOWN = "tenant_unknown"
    KEY_UNKNOWN = "key_unknown"
    KEY_NOT_ACTIVE = "key_not_active"
    KEY_NOT_SUSPENDABLE = "key_not_suspendable"
    KEY_NOT_RESUMABLE = "key_not_resumable"
    KEY_DESTROYED = "key_destroyed"
    NO_DESTRUCTION_AHEAD = "no_destruction_ahead"
    DESTRUCTION_NOT_DUE = "destruction_not_due"
    KEY_BOUND_OTHERWISE = "key_bound_otherwise"
    NOT_KEY_CREATOR = "not_key_creator"
    GRANT_UNKNOWN = "grant_unknown"
    GRANT_NOT_PENDING = "grant_not_pending"
    GRANT_NOT_APPROVED = "grant_not_approved"
    OWN_GRANT = "own_grant"
    GRANT_TOKEN_REFUSED = "grant_token_refused"
    NOT_GRANT_REQUESTER = "not_grant_requester"
    KEY_NOT_IN_GRANT = "key_not_in_grant"
    GRANT_PENDING = "grant_pending"
    GRANT_DENIED = "grant_denied"
    GRANT_REVOKED = "grant_revoked"
    GRANT_EXPIRED = "grant_expired"
    GRANT_EXHAUSTED = "grant_exhausted"
    GRANT_NOT_YET = "grant_not_yet"
    REQUESTER_NOT_ALLOWED = "requester_not_allowed"
    PURPOSE_NOT_ALLOWED = "purpose_not_allowed"
    VALIDITY_TOO_LONG = "validity_too_long"
    TOO_MANY_USES = "too_many_uses"
    BREAK_GLASS_ROLE_MISSING = "break_glass_role_missing"
    LABELS_FIT_NO_KEY = "labels_fit_no_key"
    LABELS_FIT_TOO_MANY = "labels_fit_too_many"
    PROOF_MISSING = "proof_missing"
    PROOF_REPLAYED = "proof_replayed"
    GRANT_UNBOUND = "grant_unbound"
    """It was requested before grants were bound to keys."""
    GRANT_OF_ANOTHER_KEY = "grant_of_another_key"


@dataclass(frozen=True)
class Allowed:
    """Yes."""


@dataclass(frozen=True)
class Denied:
    """No, and why."""

    reason: Reason


Decision = Allowed | Denied

_RELEASE_REFUSED_IN: dict[GrantState, Reason] = {
    GrantState.PENDING: Reason.GRANT_PENDING,
    GrantState.DENIED: Reason.GRANT_DENIED,
    GrantState.REVOKED: Reason.GRANT_REVOKED,
    GrantState.EXPIRED: Reason.GRANT_EXPIRED,
    GrantState.EXHAUSTED: Reason.GRANT_EXHAUSTED,
}


def grant_state(grant: GrantFacts, now: int) -> GrantState:
    """The state at `now` (seconds since 1970): an approved grant ends by its uses or its time.

    One that is bound to no key has ended, for nobody could prove to be the one to use it.
    """
    if grant.jkt is None and grant.state in (GrantState.PENDING, GrantState.APPROVED):
        return GrantState.EXPIRED
    if grant.state is not GrantState.APPROVED:
        return grant.state
    if grant.uses_left <= 0:
        return GrantState.EXHAUSTED
    if grant.expires_at is None or now >= grant.expires_at:
        return GrantState.EXPIRED
    return GrantState.APPROVED


def decide_scope(caller: Caller, action: Action) -> Decision:
    """Whether the token allows to ask for this at all."""
    if caller.scopes & SCOPES.get(action, frozenset()):
        return Allowed()
    return Denied(Reason.SCOPE_MISSING)


def decide_proven(caller: Caller) -> Decision:
    """Whether the request came with a proof of the client's key."""
    return Denied(Reason.PROOF_MISSING) if caller.proof is None else Allowed()


def decide_key_access(caller: Caller, key: KeyFacts) -> Decision:
    """Whether the key exists as far as this caller is concerned."""
    if key.tenant != caller.tenant:
        return Denied(Reason.KEY_UNKNOWN)
    return Allowed()


def decide_bind(caller: Caller, key: KeyFacts, sealed_digest: bytes) -> Decision:
    """Whether the key may be tied to the photo with this digest: once, by its creator."""
    if key.created_by != caller.subject:
        return Denied(Reason.NOT_KEY_CREATOR)
    if key.state is not KeyState.ACTIVE:
        return Denied(Reason.KEY_NOT_ACTIVE)
    if key.sealed_digest is not None and key.sealed_digest != sealed_digest:
        return Denied(Reason.KEY_BOUND_OTHERWISE)
    return Allowed()


def is_due(key: KeyFacts, now: int) -> bool:
    """Whether the key's time is over at `now` (seconds since 1970), whether or not somebody has emptied its row."""
    return key.destruction_due_at is not None and now >= key.destruction_due_at


def decide_grant_access(caller: Caller, grant: GrantFacts) -> Decision:
    """Whether the grant exists as far as this caller is concerned: it is their own, or they approve."""
    if grant.tenant != caller.tenant:
        return Denied(Reason.GRANT_UNKNOWN)
    if grant.requested_by != caller.subject and Scope.GRANTS_APPROVE not in caller.scopes:
        return Denied(Reason.GRANT_UNKNOWN)
    return Allowed()


def decide_approval(caller: Caller, grant: GrantFacts) -> Decision:
    """Whether the caller may approve or deny the grant."""
    if grant.requested_by == caller.subject:
        return Denied(Reason.OWN_GRANT)
    if grant.state is not GrantState.PENDING:
        return Denied(Reason.GRANT_NOT_PENDING)
    if grant.jkt is None:
        return Denied(Reason.GRANT_UNBOUND)
    return Allowed()


def decide_revocation(grant: GrantFacts, now: int) -> Decision:
    """Whether the grant can be revoked; what is already revoked can be revoked again."""
    if grant_state(grant, now) in (GrantState.APPROVED, GrantState.REVOKED):
        return Allowed()
    return Denied(Reason.GRANT_NOT_APPROVED)


def decide_release(caller: Caller, key: KeyFacts, grant: GrantFacts, now: int) -> Decision:
    """Whether the key may be released to the caller under the grant at `now`."""
    scope = decide_scope(caller, Action.RELEASE)
    if isinstance(scope, Denied):
        return scope
    if caller.proof is None:
        return Denied(Reason.PROOF_MISSING)
    if key.tenant != caller.tenant:
        return Denied(Reason.KEY_UNKNOWN)
    if grant.tenant != caller.tenant or grant.requested_by != caller.subject:
        return Denied(Reason.NOT_GRANT_REQUESTER)
    if grant.jkt is None:
        return Denied(Reason.GRANT_UNBOUND)
    if grant.jkt != caller.proof.jkt:
        return Denied(Reason.GRANT_OF_ANOTHER_KEY)
    if key.id not in grant.key_ids:
        return Denied(Reason.KEY_NOT_IN_GRANT)
    if key.state is not KeyState.ACTIVE or is_due(key, now):
        return Denied(Reason.KEY_NOT_ACTIVE)
    state = grant_state(grant, now)
    if state is not GrantState.APPROVED:
        return Denied(_RELEASE_REFUSED_IN[state])
    if grant.not_before is not None and now < grant.not_before:
        return Denied(Reason.GRANT_NOT_YET)
    return Allowed()
