"""Requesting and deciding on grants over HTTP."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest


def test_a_request_is_pending_and_has_no_token(world: Any, alice: Any) -> None:
    keys = [alice.create_key()[0].id for _ in range(3)]
    grant = alice.request_grant(*keys, uses=3, valid_for=600)
    assert grant["state"] == "pending"
    assert grant["key_ids"] == [str(key) for key in keys]
    assert (grant["requested_by"], grant["requested_at"]) == ("alice", world.clock.now)
    assert (grant["uses_left"], grant["expires_at"], grant["decided_by"], grant["token"]) == (3, None, None, None)


def test_only_the_requester_ever_sees_the_token(world: Any, alice: Any, bob: Any) -> None:
    key, _ = alice.create_key()
    grant_id = alice.request_grant(key.id)["id"]
    approved = bob.post(f"/v1/grants/{grant_id}/approve").json()
    assert (approved["state"], approved["decided_by"], approved["token"]) == ("approved", "bob", None)
    assert bob.get(f"/v1/grants/{grant_id}").json()["token"] is None
    assert all(grant["token"] is None for grant in bob.get("/v1/grants").json()["grants"])
    token = alice.get(f"/v1/grants/{grant_id}").json()["token"]
    assert str(world.ports.issuer.verify_grant(token, world.clock.now).grant_id) == grant_id


@pytest.mark.parametrize("verb", ["approve", "deny"])
def test_nobody_decides_on_a_grant_of_their_own(world: Any, alice: Any, bob: Any, verb: str) -> None:
    key, _ = alice.create_key()
    grant_id = alice.request_grant(key.id)["id"]
    assert alice.post(f"/v1/grants/{grant_id}/{verb}").status_code == 403
    assert world.last_entry()["reason"] == "own_grant"
    assert bob.get(f"/v1/grants/{grant_id}").json()["state"] == "pending"


@pytest.mark.parametrize("verb", ["approve", "deny"])
def test_a_grant_is_decided_once(alice: Any, bob: Any, verb: str) -> None:
    key, _ = alice.create_key()
    grant_id = alice.request_grant(key.id)["id"]
    assert bob.post(f"/v1/grants/{grant_id}/{verb}").status_code == 200
    assert [bob.post(f"/v1/grants/{grant_id}/{again}").status_code for again in ("approve", "deny")] == [409, 409]


def test_a_grant_lasts_from_its_approval_and_then_shows_as_expired(world: Any, alice: Any, bob: Any) -> None:
    key, _ = alice.create_key()
    grant_id = alice.request_grant(key.id, valid_for=600)["id"]
    world.clock.now += 10_000
    assert bob.post(f"/v1/grants/{grant_id}/approve").json()["expires_at"] == world.clock.now + 600
    world.clock.now += 599
    assert alice.get(f"/v1/grants/{grant_id}").json()["state"] == "approved"
    world.clock.now += 1
    shown = alice.get(f"/v1/grants/{grant_id}").json()
    assert (shown["state"], shown["token"]) == ("expired", None)
    assert bob.post(f"/v1/grants/{grant_id}/revoke").status_code == 409


def test_revoking_needs_a_grant_in_force_and_stays(world: Any, alice: Any, bob: Any) -> None:
    key, _ = alice.create_key()
    pending = alice.request_grant(key.id)["id"]
    assert bob.post(f"/v1/grants/{pending}/revoke").status_code == 409
    grant_id, _ = world.grant_token(alice, bob, key.id)
    assert [bob.post(f"/v1/grants/{grant_id}/revoke").json()["state"] for _ in range(2)] == ["revoked", "revoked"]
    assert alice.get(f"/v1/grants/{grant_id}").json()["token"] is None
    assert bob.post(f"/v1/grants/{grant_id}/approve").status_code == 409


def test_a_colleague_sees_only_the_own_grants_and_an_approver_sees_all(world: Any, alice: Any, bob: Any) -> None:
    key, _ = alice.create_key()
    hers = alice.request_grant(key.id)["id"]
    carol = world.person("carol", "grants:request keys:release")
    own = carol.request_grant(key.id)["id"]
    assert [grant["id"] for grant in carol.get("/v1/grants").json()["grants"]] == [own]
    assert {grant["id"] for grant in bob.get("/v1/grants").json()["grants"]} == {hers, own}
    unknown = carol.get(f"/v1/grants/{uuid4()}")
    for hidden in (carol.get(f"/v1/grants/{hers}"), carol.post(f"/v1/grants/{hers}/revoke")):
        assert (hidden.status_code, hidden.content) == (404, unknown.content)


def test_a_grant_for_a_key_that_does_not_exist_is_not_made(alice: Any) -> None:
    key, _ = alice.create_key()
    request = {"key_ids": [str(key.id), str(uuid4())], "purpose": "x"}
    assert alice.post("/v1/grants", request).status_code == 404
    assert alice.get("/v1/grants").json() == {"grants": [], "next": None}


def test_a_grant_does_not_name_a_key_twice(alice: Any) -> None:
    key, _ = alice.create_key()
    request = {"key_ids": [str(key.id), str(key.id).upper()], "purpose": "x"}
    assert alice.post("/v1/grants", request).status_code == 422


def test_every_decision_is_in_the_log(world: Any, alice: Any, bob: Any) -> None:
    key, _ = alice.create_key()
    grant_id, _ = world.grant_token(alice, bob, key.id, valid_for=60)
    bob.post(f"/v1/grants/{grant_id}/revoke")
    refused = alice.request_grant(key.id)["id"]
    bob.post(f"/v1/grants/{refused}/deny")
    entries = world.entries()[-5:]
    assert [(entry["event"], entry["actor"]) for entry in entries] == [
        ("grant.request.allowed", "alice"),
        ("grant.approve.allowed", "bob"),
        ("grant.revoke.allowed", "bob"),
        ("grant.request.allowed", "alice"),
        ("grant.deny.allowed", "bob"),
    ]
    assert [entry["grant"] for entry in entries] == [grant_id, grant_id, grant_id, refused, refused]
    assert (entries[0]["purpose"], entries[0]["keys"]) == ("court order 17", [str(key.id)])
    assert entries[1]["expires_at"] == world.clock.now + 60
