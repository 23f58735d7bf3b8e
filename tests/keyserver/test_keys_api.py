"""Creating, binding, reading and suspending keys over HTTP."""

from __future__ import annotations

import json
from typing import Any
from uuid import uuid4

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from faceseal.wire import encode_base64url

DIGEST = encode_base64url(b"d" * 32)
RECIPIENT = encode_base64url(X25519PrivateKey.generate().public_key().public_bytes_raw())


def test_a_new_key_is_shown_to_the_tenant_without_the_key_itself(world: Any) -> None:
    key, image_key = world.person("alice").create_key()
    answer = world.person("bob", "keys:release").get(f"/v1/keys/{key.id}")
    assert answer.json() == {
        "id": str(key.id),
        "state": "active",
        "created_at": world.clock.now,
        "created_by": "alice",
        "labels": {"album": "summer"},
        "sealed_digest": None,
        "destruction_due_at": None,
    }
    assert key.id.version == 7
    assert encode_base64url(image_key) not in answer.text


def test_two_keys_are_never_the_same(world: Any) -> None:
    alice = world.person("alice")
    assert alice.create_key()[1] != alice.create_key()[1]


def test_keys_are_listed_newest_first_and_at_most_a_hundred(world: Any) -> None:
    alice = world.person("alice")
    made = []
    for _ in range(102):
        world.clock.now += 1
        made.append(str(alice.create_key()[0].id))
    assert [key["id"] for key in alice.get("/v1/keys").json()["keys"]] == made[:1:-1]


def test_a_key_is_bound_once_by_its_creator(world: Any) -> None:
    alice, bob = world.person("alice"), world.person("bob")
    key, _ = alice.create_key()
    path = f"/v1/keys/{key.id}/sealed"
    assert bob.put(path, {"sealed_digest": DIGEST}).status_code == 403
    assert alice.put(path, {"sealed_digest": DIGEST}).json()["sealed_digest"] == DIGEST
    assert alice.put(path, {"sealed_digest": DIGEST}).status_code == 200
    again = alice.put(path, {"sealed_digest": encode_base64url(b"e" * 32)})
    assert (again.status_code, again.json()["type"]) == (409, "urn:faceseal:problem:conflict")
    assert alice.get(f"/v1/keys/{key.id}").json()["sealed_digest"] == DIGEST


def test_a_suspended_key_stays_suspended_and_cannot_be_bound(world: Any) -> None:
    alice, admin = world.person("alice"), world.person("root", "keys:admin")
    key, _ = alice.create_key()
    for _ in range(2):
        answer = admin.post(f"/v1/keys/{key.id}/revoke")
        assert (answer.status_code, answer.json()["state"]) == (200, "suspended")
    assert alice.put(f"/v1/keys/{key.id}/sealed", {"sealed_digest": DIGEST}).status_code == 403
    assert sum(json.loads(leaf)["event"] == "key.revoke.allowed" for leaf in world.leaves()) == 1


def test_another_tenant_sees_and_touches_nothing(world: Any) -> None:
    alice, bob = world.person("alice"), world.person("bob")
    stranger = world.person("alice", tenant="other")
    key, _ = alice.create_key()
    grant_id, _ = world.grant_token(alice, bob, key.id)

    def attempts(key_id: object, grant: object) -> list[Any]:
        return [
            stranger.get(f"/v1/keys/{key_id}"),
            stranger.put(f"/v1/keys/{key_id}/sealed", {"sealed_digest": DIGEST}),
            stranger.post(f"/v1/keys/{key_id}/revoke"),
            stranger.post("/v1/grants", {"key_ids": [str(key_id)], "purpose": "mine now"}),
            stranger.get(f"/v1/grants/{grant}"),
            stranger.post(f"/v1/grants/{grant}/approve"),
            stranger.post(f"/v1/grants/{grant}/deny"),
            stranger.post(f"/v1/grants/{grant}/revoke"),
        ]

    foreign, unknown = attempts(key.id, grant_id), attempts(uuid4(), uuid4())
    assert {answer.status_code for answer in foreign} == {404}
    assert [answer.content for answer in foreign] == [answer.content for answer in unknown]
    assert stranger.get("/v1/keys").json() == {"keys": [], "next": None}
    assert stranger.get("/v1/grants").json() == {"grants": [], "next": None}
    assert alice.get(f"/v1/keys/{key.id}").json()["state"] == "active"
    assert alice.get(f"/v1/grants/{grant_id}").json()["state"] == "approved"
    refused = world.entries()[-16:]
    assert {(entry["tenant"], entry["reason"]) for entry in refused} == {
        ("other", "key_unknown"),
        ("other", "grant_unknown"),
    }


def test_a_token_of_a_tenant_that_does_not_exist_creates_nothing(world: Any) -> None:
    answer = world.person("alice", tenant="nowhere").post("/v1/keys", {"recipient": RECIPIENT})
    assert answer.status_code == 403


@pytest.mark.parametrize("point", [bytes(32), bytes([1]) + bytes(31)], ids=["zero", "one"])
def test_a_key_is_not_made_for_a_low_order_recipient(world: Any, point: bytes) -> None:
    alice = world.person("alice")
    answer = alice.post("/v1/keys", {"recipient": encode_base64url(point)})
    assert (answer.status_code, answer.json()["type"]) == (422, "urn:faceseal:problem:invalid")
    assert alice.get("/v1/keys").json()["keys"] == []


def test_what_was_done_and_refused_is_in_the_log_with_who_and_when(world: Any) -> None:
    alice = world.person("alice")
    key, _ = alice.create_key()
    alice.put(f"/v1/keys/{key.id}/sealed", {"sealed_digest": DIGEST})
    world.person("eve", "keys:release").post(f"/v1/keys/{key.id}/revoke")
    world.person("bob").post(f"/v1/keys/{key.id}/revoke")
    entries = world.entries()[-4:]
    assert [(e["event"], e["actor"], e.get("reason")) for e in entries] == [
        ("key.create.allowed", "alice", None),
        ("key.bind.allowed", "alice", None),
        ("key.revoke.denied", "eve", "scope_missing"),
        ("key.revoke.allowed", "bob", None),
    ]
    assert all(e["at"] == world.clock.now and e["key"] == str(key.id) for e in entries)
    assert entries[1]["sealed_digest"] == DIGEST
