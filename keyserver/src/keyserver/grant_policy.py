"""What a tenant's own policy decides about grants: pure functions, like those of `keyserver.policy`.

Rules:
1. a grant keeps to the policy that held when it was requested: a later one is for later requests;
2. a grant is in force once as many different people as the quorum says have approved it, none
   of them its requester, and each of them not too long ago;
3. break-glass takes the role that the policy names, and leaves out the approvals, nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from faceseal.wire import GrantPolicy, PurposeCode
from keyserver.policy import Allowed, Caller, Decision, Denied, Reason

NO_POLICY = GrantPolicy()
"""Holds for a tenant that never set one."""
BREAK_GLASS_SECONDS = 300
"""A grant made by breaking the glass is used at once; this is for a client that has to try again."""


@dataclass(frozen=True)
class Wish:
    """What a request for a grant asks for, as far as policy cares.  Validity in seconds."""

    purpose_code: PurposeCode
    valid_for: int
    uses: int


def decide_request(caller: Caller, wish: Wish, policy: GrantPolicy) -> Decision:
    """Whether the caller may request such a grant."""
    if not _may_request(caller, policy):
        return Denied(Reason.REQUESTER_NOT_ALLOWED)
    if wish.purpose_code not in policy.purposes:
        return Denied(Reason.PURPOSE_NOT_ALLOWED)
    if wish.valid_for > policy.longest_validity:
        return Denied(Reason.VALIDITY_TOO_LONG)
    if wish.uses > policy.most_uses:
        return Denied(Reason.TOO_MANY_USES)
    return Allowed()


def decide_break_glass(caller: Caller, purpose_code: PurposeCode, policy: GrantPolicy) -> Decision:
    """Whether the caller may have a key released that nobody approved."""
    if policy.break_glass_role is None or policy.break_glass_role not in caller.roles:
        return Denied(Reason.BREAK_GLASS_ROLE_MISSING)
    if purpose_code not in policy.purposes:
        return Denied(Reason.PURPOSE_NOT_ALLOWED)
    return Allowed()


def counting(approvals: Mapping[str, int], requester: str, approvals_expire: int | None, now: int) -> int:
    """How many approvals count at `now`: by approver, the time (seconds since 1970) of the latest one."""
    return sum(
        approver != requester and (approvals_expire is None or now < at + approvals_expire)
        for approver, at in approvals.items()
    )


def _may_request(caller: Caller, policy: GrantPolicy) -> bool:
    if policy.request_subjects is None and policy.request_roles is None:
        return True
    named = caller.subject in (policy.request_subjects or ())
    return named or not caller.roles.isdisjoint(policy.request_roles or ())
