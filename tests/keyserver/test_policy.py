"""Policy as a table: who may, and why not."""

from __future__ import annotations

from dataclasses import replace
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from faceseal.wire import GrantState, KeyState, Scope
from keyserver import policy
from keyserver.actions import SCOPES, Action
from keyserver.policy import Allowed, Caller, Denied, GrantFacts, KeyFacts, Reason
from keyserver.proof import Proof

NOW = 1_800_000_000
KEY = KeyFacts(uuid4(), "default", KeyState.ACTIVE, "alice", None)
JKT = "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"
PROOF = Proof(JKT, "proof-1", NOW)
GRANT = GrantFacts(uuid4(), "default", GrantState.APPROVED, "alice", frozenset({KEY.id}), 1, NOW + 60, jkt=JKT)
ALICE = Caller("alice", "default", frozenset({Scope.KEYS_RELEASE}), "token-1", proof=PROOF)
BOB = Caller("bob", "default", frozenset({Scope.GRANTS_APPROVE}), "token-2")


def test_the_requester_of_a_grant_in_force_is_given_the_key() -> None:
    assert policy.decide_release(ALICE, KEY, GRANT, NOW) == Allowed()


@pytest.mark.parametrize(
    ("caller", "key", "grant", "now", "reason"),
    [
        (replace(ALICE, scopes=frozenset(Scope) - {Scope.KEYS_RELEASE}), KEY, GRANT, NOW, Reason.SCOPE_MISSING),
        (replace(ALICE, proof=None), KEY, GRANT, NOW, Reason.PROOF_MISSING),
        (replace(ALICE, proof=replace(PROOF, jkt=JKT[::-1])), KEY, GRANT, NOW, Reason.GRANT_OF_ANOTHER_KEY),
        (ALICE, KEY, replace(GRANT, jkt=None), NOW, Reason.GRANT_UNBOUND),
        (replace(ALICE, subject="eve"), KEY, GRANT, NOW, Reason.NOT_GRANT_REQUESTER),
        (replace(ALICE, tenant="other"), KEY, GRANT, NOW, Reason.KEY_UNKNOWN),
        (ALICE, replace(KEY, tenant="other"), GRANT, NOW, Reason.KEY_UNKNOWN),
        (ALICE, KEY, replace(GRANT, tenant="other"), NOW, Reason.NOT_GRANT_REQUESTER),
        (ALICE, KEY, replace(GRANT, requested_by="bob"), NOW, Reason.NOT_GRANT_REQUESTER),
        (ALICE, replace(KEY, id=uuid4()), GRANT, NOW, Reason.KEY_NOT_IN_GRANT),
        (ALICE, replace(KEY, state=KeyState.SUSPENDED), GRANT, NOW, Reason.KEY_NOT_ACTIVE),
        (ALICE, replace(KEY, state=KeyState.DESTRUCTION_SCHEDULED), GRANT, NOW, Reason.KEY_NOT_ACTIVE),
        (ALICE, replace(KEY, state=KeyState.DESTROYED), GRANT, NOW, Reason.KEY_NOT_ACTIVE),
        (ALICE, replace(KEY, destruction_due_at=NOW), GRANT, NOW, Reason.KEY_NOT_ACTIVE),
        (ALICE, KEY, replace(GRANT, state=GrantState.PENDING, expires_at=None), NOW, Reason.GRANT_PENDING),
        (ALICE, KEY, replace(GRANT, state=GrantState.DENIED, expires_at=None), NOW, Reason.GRANT_DENIED),
        (ALICE, KEY, replace(GRANT, state=GrantState.REVOKED), NOW, Reason.GRANT_REVOKED),
        (ALICE, KEY, GRANT, NOW + 60, Reason.GRANT_EXPIRED),
        (ALICE, KEY, replace(GRANT, expires_at=None), NOW, Reason.GRANT_EXPIRED),
        (ALICE, KEY, replace(GRANT, uses_left=0), NOW, Reason.GRANT_EXHAUSTED),
        (ALICE, KEY, replace(GRANT, not_before=NOW + 1), NOW, Reason.GRANT_NOT_YET),
    ],
)
def test_one_thing_wrong_is_enough_to_deny(
    caller: Caller, key: KeyFacts, grant: GrantFacts, now: int, reason: Reason
) -> None:
    assert policy.decide_release(caller, key, grant, now) == Denied(reason)


@given(
    st.sampled_from(["alice", "bob"]),
    st.sampled_from(["default", "other"]),
    st.frozensets(st.sampled_from(list(Scope))),
    st.sampled_from(list(KeyState)),
    st.sampled_from([GrantState.PENDING, GrantState.APPROVED, GrantState.DENIED, GrantState.REVOKED]),
    st.integers(0, 2),
    st.integers(-2, 2),
    st.booleans(),
    st.sampled_from([None, JKT, JKT[::-1]]),
    st.sampled_from([None, JKT]),
)
def test_a_release_is_allowed_exactly_when_all_conditions_hold(
    subject: str,
    tenant: str,
    scopes: frozenset[Scope],
    key_state: KeyState,
    grant_state: GrantState,
    uses: int,
    remaining: int,
    named: bool,
    proven: str | None,
    bound: str | None,
) -> None:
    caller = Caller(subject, tenant, scopes, "token-3", proven and Proof(proven, "proof-3", NOW))
    key = replace(KEY, state=key_state)
    key_ids = frozenset({KEY.id} if named else set())
    grant = replace(GRANT, state=grant_state, uses_left=uses, expires_at=NOW + remaining, key_ids=key_ids, jkt=bound)
    rightful = subject == "alice" and tenant == "default" and Scope.KEYS_RELEASE in scopes
    in_force = grant_state is GrantState.APPROVED and uses > 0 and remaining > 0
    expected = rightful and in_force and named and key_state is KeyState.ACTIVE and proven == bound == JKT
    assert isinstance(policy.decide_release(caller, key, grant, NOW), Allowed) == expected


@pytest.mark.parametrize("state", [GrantState.PENDING, GrantState.APPROVED, GrantState.DENIED, GrantState.REVOKED])
def test_a_grant_is_decided_by_another_than_its_requester_while_pending(state: GrantState) -> None:
    grant = replace(GRANT, state=state)
    assert policy.decide_approval(replace(BOB, subject="alice"), grant) == Denied(Reason.OWN_GRANT)
    pending = state is GrantState.PENDING
    assert policy.decide_approval(BOB, grant) == (Allowed() if pending else Denied(Reason.GRANT_NOT_PENDING))


def test_a_grant_from_before_grants_were_bound_to_keys_has_ended_and_cannot_be_approved() -> None:
    for stored, shown in (
        (GrantState.PENDING, GrantState.EXPIRED),
        (GrantState.APPROVED, GrantState.EXPIRED),
        (GrantState.DENIED, GrantState.DENIED),
        (GrantState.REVOKED, GrantState.REVOKED),
    ):
        assert policy.grant_state(replace(GRANT, state=stored, jkt=None), NOW) is shown
    pending = replace(GRANT, state=GrantState.PENDING, jkt=None)
    assert policy.decide_approval(BOB, pending) == Denied(Reason.GRANT_UNBOUND)


def test_a_grant_exists_for_its_requester_and_for_approvers_of_the_tenant() -> None:
    assert policy.decide_grant_access(ALICE, GRANT) == Allowed()
    assert policy.decide_grant_access(BOB, GRANT) == Allowed()
    assert policy.decide_grant_access(replace(ALICE, subject="eve"), GRANT) == Denied(Reason.GRANT_UNKNOWN)
    assert policy.decide_grant_access(replace(BOB, tenant="other"), GRANT) == Denied(Reason.GRANT_UNKNOWN)


@pytest.mark.parametrize("state", [KeyState.DESTRUCTION_SCHEDULED, KeyState.DESTROYED])
def test_a_key_on_its_way_out_cannot_be_bound(state: KeyState) -> None:
    key = replace(KEY, state=state)
    assert policy.decide_bind(ALICE, key, b"d" * 32) == Denied(Reason.KEY_NOT_ACTIVE)


def test_no_scope_serves_the_operators_actions() -> None:
    everything = Caller("alice", "default", frozenset(Scope), "token-4")
    for action in Action:
        expected = Allowed() if action in SCOPES else Denied(Reason.SCOPE_MISSING)
        assert policy.decide_scope(everything, action) == expected
    assert set(Action) - set(SCOPES) == {
        Action.START_LOG,
        Action.CREATE_TENANT,
        Action.ROTATE_LOG_KEY,
        Action.RETIRE_LOG_KEY,
        Action.ROTATE_ISSUER,
        Action.ROTATE_KEK,
        Action.REWRAP_KEYS,
        Action.DESTROY_KEK,
        Action.DESTROY_KEY,
        Action.MOVE_ROOT,
        Action.SET_POLICY,
        Action.ADD_WEBHOOK,
        Action.REMOVE_WEBHOOK,
        Action.MAKE_BACKUP,
        Action.RESTORE_BACKUP,
        Action.ERASE_SUBJECT,
        Action.PUT_AWAY,
    }
