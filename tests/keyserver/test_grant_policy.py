"""A tenant's policy as a table: every pair of what it says and what is asked."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from faceseal.wire import MAX_USES, MAX_VALIDITY, GrantPolicy, PurposeCode, Scope
from keyserver.grant_policy import NO_POLICY, Wish, counting, decide_break_glass, decide_request
from keyserver.policy import Allowed, Caller, Denied, Reason

NOW = 1_800_000_000
ANNA = Caller("anna", "default", frozenset(Scope), "token-1", frozenset({"desk"}))
BEN = Caller("ben", "default", frozenset(Scope), "token-2")
CARA = Caller("cara", "default", frozenset(Scope), "token-3", frozenset({"Desk", "desk2", "night"}))
WISH = Wish(PurposeCode.OTHER, 3600, 1)


def test_without_a_policy_everything_that_the_protocol_allows_may_be_requested() -> None:
    for code in PurposeCode:
        assert decide_request(BEN, Wish(code, MAX_VALIDITY, MAX_USES), NO_POLICY) == Allowed()
        assert decide_break_glass(ANNA, code, NO_POLICY) == Denied(Reason.BREAK_GLASS_ROLE_MISSING)
    assert (NO_POLICY.quorum, NO_POLICY.approvals_expire) == (1, None)


SUBJECTS = {None: {"anna", "ben", "cara"}, (): set(), ("ben",): {"ben"}, ("BEN", "be", "anna "): set()}
ROLES = {None: {"anna", "ben", "cara"}, (): set(), ("desk",): {"anna"}, ("night", "x"): {"cara"}}


@pytest.mark.parametrize(("subjects", "roles"), [*itertools.product(SUBJECTS, ROLES)])
@pytest.mark.parametrize("caller", [ANNA, BEN, CARA], ids=lambda caller: caller.subject)
def test_whoever_is_named_or_has_a_named_role_may_request(
    caller: Caller, subjects: tuple[str, ...] | None, roles: tuple[str, ...] | None
) -> None:
    policy = GrantPolicy(
        request_subjects=None if subjects is None else [*subjects], request_roles=None if roles is None else [*roles]
    )
    named = SUBJECTS[subjects] if subjects is not None else set()
    with_role = ROLES[roles] if roles is not None else set()
    allowed = {"anna", "ben", "cara"} if subjects is roles is None else named | with_role
    expected = Allowed() if caller.subject in allowed else Denied(Reason.REQUESTER_NOT_ALLOWED)
    assert decide_request(caller, WISH, policy) == expected


@pytest.mark.parametrize(("allowed", "asked"), [*itertools.product(PurposeCode, PurposeCode)])
def test_only_the_policys_purposes_are_allowed_with_and_without_breaking_glass(
    allowed: PurposeCode, asked: PurposeCode
) -> None:
    policy = GrantPolicy(purposes=[allowed], break_glass_role="desk")
    expected = Allowed() if allowed is asked else Denied(Reason.PURPOSE_NOT_ALLOWED)
    assert decide_request(ANNA, Wish(asked, 1, 1), policy) == expected
    assert decide_break_glass(ANNA, asked, policy) == expected


@pytest.mark.parametrize("role", [None, "desk", "night", "d"])
@pytest.mark.parametrize("caller", [ANNA, BEN, CARA], ids=lambda caller: caller.subject)
def test_glass_is_broken_with_exactly_the_policys_role(caller: Caller, role: str | None) -> None:
    policy = GrantPolicy(break_glass_role=role)
    expected = Allowed() if role in caller.roles else Denied(Reason.BREAK_GLASS_ROLE_MISSING)
    assert decide_break_glass(caller, PurposeCode.MEDICAL_TREATMENT, policy) == expected


@given(st.integers(1, 50), st.integers(1, 50), st.integers(1, 50), st.integers(1, 50))
def test_validity_and_uses_are_bounded_each_by_itself(longest: int, most: int, valid_for: int, uses: int) -> None:
    policy = GrantPolicy(longest_validity=longest, most_uses=most)
    decision = decide_request(BEN, Wish(PurposeCode.OTHER, valid_for, uses), policy)
    assert isinstance(decision, Allowed) == (valid_for <= longest and uses <= most)


@pytest.mark.parametrize(
    ("approvals", "lasting", "count"),
    [
        ({}, None, 0),
        ({"ben": NOW}, None, 1),
        ({"anna": NOW}, None, 0),
        ({"anna": NOW, "ben": NOW, "cara": 0}, None, 2),
        ({"ben": NOW - 59, "cara": NOW - 60, "dora": NOW}, 60, 2),
        ({"ben": NOW}, 1, 1),
        ({"ben": NOW - 1}, 1, 0),
        ({"ben": NOW + 5}, 1, 1),
    ],
)
def test_approvals_count_once_each_until_they_are_too_old_and_never_the_requesters(
    approvals: dict[str, int], lasting: int | None, count: int
) -> None:
    assert counting(approvals, "anna", lasting, NOW) == count
