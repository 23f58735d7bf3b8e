"""Several approvers, policies of tenants, and the times at which grants begin and end."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import select

from keyserver.errors import AccessDenied, Conflict, KeyServerError
from keyserver.policy import Caller
from keyserver.service import grants, policies
from keyserver.store.tables import ApprovalRow


def last_entry(world: Any) -> dict[str, Any]:
    entry: dict[str, Any] = world.last_entry()
    return entry


@pytest.fixture
def key_id(alice: Any) -> Any:
    return alice.create_key()[0].id


def approve(person: Any, grant_id: str) -> Any:
    return person.post(f"/v1/grants/{grant_id}/approve")


def test_a_grant_comes_into_force_with_the_last_approval_of_its_quorum(world: Any, alice: Any, key_id: Any) -> None:
    assert world.set_policy(quorum=3) == 1
    grant = alice.request_grant(key_id, valid_for=60)
    assert (grant["state"], grant["quorum"], grant["policy_version"]) == ("pending", 3, 1)
    approvers = [world.person(name, "grants:approve") for name in ("ben", "cleo", "dora", "emil")]
    states = []
    for approver in approvers[:3]:
        world.clock.now += 10
        states.append(approve(approver, grant["id"]).json())
    assert [state["state"] for state in states] == ["pending", "pending", "approved"]
    assert [len(state["approvals"]) for state in states] == [1, 2, 3]
    assert (states[1]["expires_at"], states[2]["expires_at"]) == (None, world.clock.now + 60)
    assert states[2]["decided_by"] == "dora"
    assert approve(approvers[3], grant["id"]).status_code == 409
    entries = world.entries()[-4:-1]
    assert [(entry["actor"], entry["approvals"], entry.get("expires_at")) for entry in entries] == [
        ("ben", 1, None),
        ("cleo", 2, None),
        ("dora", 3, world.clock.now + 60),
    ]


def test_the_same_approver_counts_once_however_often_they_approve(
    world: Any, alice: Any, bob: Any, key_id: Any
) -> None:
    world.set_policy(quorum=2)
    grant_id = alice.request_grant(key_id)["id"]
    assert [approve(bob, grant_id).json()["state"] for _ in range(3)] == ["pending"] * 3
    # Neither another token of theirs, nor the requester's own approval, is another person's.
    assert approve(world.person("bob", "grants:approve"), grant_id).json()["state"] == "pending"
    assert approve(alice, grant_id).status_code == 403
    assert last_entry(world)["reason"] == "own_grant"
    assert alice.get(f"/v1/grants/{grant_id}").json()["token"] is None
    events = [json.loads(leaf)["event"] for leaf in world.leaves()]
    assert events.count("grant.approve.allowed") == 1


def test_an_approver_of_another_tenant_sees_no_grant_to_approve(world: Any, alice: Any, key_id: Any) -> None:
    grant_id = alice.request_grant(key_id)["id"]
    stranger = world.person("ben", tenant="other")
    for verb in ("approve", "deny", "revoke"):
        assert stranger.post(f"/v1/grants/{grant_id}/{verb}").status_code == 404
    assert alice.get(f"/v1/grants/{grant_id}").json()["state"] == "pending"


def test_approvals_that_are_too_old_do_not_count_until_they_are_given_again(
    world: Any, alice: Any, bob: Any, key_id: Any
) -> None:
    world.set_policy(quorum=2, approvals_expire=100)
    cleo = world.person("cleo", "grants:approve")
    grant_id = alice.request_grant(key_id)["id"]
    approve(bob, grant_id)
    world.clock.now += 100
    assert approve(cleo, grant_id).json()["state"] == "pending"
    assert last_entry(world)["approvals"] == 1
    world.clock.now += 99
    assert approve(bob, grant_id).json()["state"] == "approved"


def test_one_denial_ends_a_grant_that_others_approved(world: Any, alice: Any, bob: Any, key_id: Any) -> None:
    world.set_policy(quorum=2)
    grant_id = alice.request_grant(key_id)["id"]
    approve(bob, grant_id)
    cleo = world.person("cleo", "grants:approve")
    assert cleo.post(f"/v1/grants/{grant_id}/deny").json()["state"] == "denied"
    assert approve(world.person("dora"), grant_id).status_code == 409


def test_a_quorum_of_none_puts_a_request_in_force_at_once_and_says_so(world: Any, alice: Any, key_id: Any) -> None:
    world.set_policy(quorum=0)
    grant = alice.request_grant(key_id, valid_for=60)
    assert (grant["state"], grant["quorum"], grant["decided_by"]) == ("approved", 0, None)
    entry = last_entry(world)
    assert (entry["event"], entry["quorum"]) == ("grant.request.allowed", 0)
    assert entry["expires_at"] == world.clock.now + 60
    assert alice.release(key_id, grant["token"]).status_code == 200


def test_a_grant_keeps_to_the_policy_of_its_request(world: Any, alice: Any, bob: Any, key_id: Any) -> None:
    before = alice.request_grant(key_id)["id"]
    assert world.set_policy(quorum=2) == 1
    strict = alice.request_grant(key_id)["id"]
    assert world.set_policy(quorum=1) == 2
    assert approve(bob, before).json()["state"] == "approved"
    assert approve(bob, strict).json()["state"] == "pending"
    assert approve(bob, alice.request_grant(key_id)["id"]).json()["state"] == "approved"


@pytest.mark.parametrize(
    ("rules", "request_fields", "reason"),
    [
        ({"request_subjects": ["zoe"]}, {}, "requester_not_allowed"),
        ({"request_roles": ["night"]}, {}, "requester_not_allowed"),
        ({"purposes": ["court_order"]}, {}, "purpose_not_allowed"),
        ({"longest_validity": 60}, {"valid_for": 61}, "validity_too_long"),
        ({"most_uses": 2}, {"uses": 3}, "too_many_uses"),
    ],
)
def test_what_the_policy_refuses_is_denied_alike_and_the_log_knows_why(
    world: Any, alice: Any, key_id: Any, rules: dict[str, Any], request_fields: dict[str, Any], reason: str
) -> None:
    desk = world.person("alice", roles="desk")
    world.set_policy(**rules)
    request = {"key_ids": [str(key_id)], "purpose": "x", **request_fields}
    answer = desk.post("/v1/grants", request)
    assert (answer.status_code, answer.json()["detail"]) == (403, "")
    assert last_entry(world)["reason"] == reason
    # The other tenant's policy is its own.
    other = world.person("alice", tenant="other")
    assert other.post("/v1/grants", request | {"key_ids": [str(other.create_key()[0].id)]}).status_code == 201


def test_who_has_a_role_of_the_policy_may_request(world: Any, alice: Any, key_id: Any) -> None:
    world.set_policy(request_roles=["desk", "night"])
    assert (
        world.person("carol", roles="night x")
        .post("/v1/grants", {"key_ids": [str(key_id)], "purpose": "x"})
        .status_code
        == 201
    )


def test_purpose_and_reference_are_kept_shown_and_on_record(world: Any, alice: Any, bob: Any, key_id: Any) -> None:
    grant = alice.request_grant(key_id, purpose=None, purpose_code="court_order", reference="17 O 4/26")
    assert (grant["purpose_code"], grant["purpose"], grant["reference"]) == ("court_order", "court_order", "17 O 4/26")
    entry = last_entry(world)
    assert (entry["purpose_code"], entry["reference"]) == ("court_order", "17 O 4/26")
    worded = alice.request_grant(key_id, purpose_code="subject_request", purpose="by letter of 3 May")
    shown = bob.get(f"/v1/grants/{worded['id']}").json()
    assert (shown["purpose_code"], shown["purpose"]) == ("subject_request", "by letter of 3 May")


def test_a_grant_is_of_no_use_before_it_begins_and_lasts_from_then(
    world: Any, alice: Any, bob: Any, key_id: Any
) -> None:
    begins = world.clock.now + 1000
    grant_id, token = world.grant_token(alice, bob, key_id, not_before=begins, valid_for=60)
    assert alice.get(f"/v1/grants/{grant_id}").json()["expires_at"] == begins + 60
    world.clock.now = begins - 1
    assert alice.release(key_id, token).status_code == 403
    # A token that somebody made to begin earlier changes nothing.
    forged = world.ports.issuer.issue_grant(UUID(grant_id), "alice", "default", begins - 60, begins + 60, alice.jkt)
    assert alice.release(key_id, forged).status_code == 403
    assert last_entry(world)["reason"] == "grant_not_yet"
    world.clock.now = begins
    assert alice.release(key_id, token).status_code == 200
    world.clock.now = begins + 60
    assert alice.get(f"/v1/grants/{grant_id}").json()["state"] in ("expired", "exhausted")


def test_a_beginning_in_the_past_is_now_and_one_too_far_away_is_refused(
    world: Any, alice: Any, bob: Any, key_id: Any
) -> None:
    grant_id, _ = world.grant_token(alice, bob, key_id, not_before=1, valid_for=60)
    assert alice.get(f"/v1/grants/{grant_id}").json()["expires_at"] == world.clock.now + 60
    far = {"key_ids": [str(key_id)], "purpose": "x", "not_before": world.clock.now + 367 * 86400}
    assert alice.post("/v1/grants", far).status_code == 422


def caller(name: str, world: Any) -> Caller:
    found: Caller = world.ports.issuer.verify_access(world.person(name).token, world.clock.now).caller()
    return found


@pytest.mark.parametrize("quorum", [1, 2, 5])
def test_of_many_approvals_at_once_exactly_the_quorum_counts_and_one_puts_it_in_force(
    world: Any, alice: Any, key_id: Any, quorum: int
) -> None:
    world.set_policy(quorum=quorum)
    grant_id = UUID(alice.request_grant(key_id)["id"])
    # Two tries each, so that the same person also races with themselves.
    callers = [caller(f"approver {number % 8}", world) for number in range(16)]

    def attempt(who: Caller) -> str:
        try:
            return grants.approve_grant(world.ports, who, grant_id).state.value
        except Conflict:
            return "too late"

    with ThreadPoolExecutor(8) as threads:
        outcomes = list(threads.map(attempt, callers))

    assert outcomes.count("approved") == 1
    with world.ports.database.reading() as session:
        approvers = session.scalars(select(ApprovalRow.approver).where(ApprovalRow.grant_id == grant_id)).all()
    assert len(approvers) == len(set(approvers)) == quorum
    entries = world.entries()
    allowed = [entry for entry in entries if entry["event"] == "grant.approve.allowed"]
    assert [entry["approvals"] for entry in allowed] == list(range(1, quorum + 1))
    assert ["expires_at" in entry for entry in allowed] == [False] * (quorum - 1) + [True]


def test_of_an_approval_and_a_denial_at_once_one_holds(world: Any, alice: Any, key_id: Any) -> None:
    yes, no = caller("ben", world), caller("cleo", world)
    for _ in range(8):
        grant_id = UUID(alice.request_grant(key_id)["id"])

        def attempt(what: Any, grant_id: Any = grant_id) -> bool:
            try:
                what[0](world.ports, what[1], grant_id)
            except KeyServerError:
                return False
            return True

        with ThreadPoolExecutor(2) as threads:
            outcomes = list(threads.map(attempt, [(grants.approve_grant, yes), (grants.deny_grant, no)]))
        assert sorted(outcomes) == [False, True]
        assert alice.get(f"/v1/grants/{grant_id}").json()["state"] == ("approved" if outcomes[0] else "denied")


def test_the_policy_is_shown_to_administrators_of_its_own_tenant(world: Any, alice: Any) -> None:
    default = alice.get("/v1/policy").json()
    assert (default["version"], default["set_at"], default["policy"]["quorum"]) == (0, None, 1)
    world.set_policy(quorum=2, break_glass_role="emergency")
    shown = alice.get("/v1/policy").json()
    assert (shown["version"], shown["set_at"]) == (1, world.clock.now)
    assert (shown["policy"]["quorum"], shown["policy"]["break_glass_role"]) == (2, "emergency")
    assert world.person("alice", tenant="other").get("/v1/policy").json()["version"] == 0


def test_setting_a_policy_is_on_record_and_the_same_again_is_not_another(world: Any) -> None:
    assert [world.set_policy(quorum=2), world.set_policy(quorum=2), world.set_policy(quorum=3)] == [1, 1, 2]
    entries = [entry for entry in map(json.loads, world.leaves()) if entry["event"] == "policy.set.allowed"]
    assert [(entry["policy_version"], entry["quorum"], entry["actor"]) for entry in entries] == [
        (1, 2, "(operator)"),
        (2, 3, "(operator)"),
    ]
    assert entries[0]["policy_digest"] != entries[1]["policy_digest"]


def test_two_who_set_a_policy_at_once_make_two_versions(world: Any) -> None:
    with ThreadPoolExecutor(4) as threads:
        versions = list(threads.map(lambda quorum: world.set_policy(quorum=quorum), range(2, 6)))
    assert sorted(versions) == [1, 2, 3, 4]


def test_nobody_of_an_unknown_tenant_requests_anything(world: Any) -> None:
    stray = world.person("alice", tenant="nowhere")
    answer = stray.post("/v1/grants", {"labels": {"album": "summer"}, "purpose": "x"})
    assert answer.status_code == 403
    with pytest.raises(AccessDenied):
        policies.get_policy(world.ports, Caller("eve", "default", frozenset(), "t"))
