"""DPoP at the server's door: stolen tokens, stolen grants, proofs of other requests."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any
from uuid import uuid4

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1
from cryptography.hazmat.primitives.asymmetric.ec import generate_private_key as generate_ec
from sqlalchemy import text

from faceseal.wire import PROBLEM_BASE, encode_base64url

INVALID = 'DPoP error="invalid_dpop_proof", algs="EdDSA ES256"'
EITHER = 'Bearer, DPoP algs="EdDSA ES256"'
GRANTS = "/v1/grants"


# What is on record.


def test_the_grant_its_token_and_its_entries_name_the_key_that_it_belongs_to(
    world: Any, alice: Any, bob: Any, granted: Any
) -> None:
    assert alice.get(f"{GRANTS}/{granted.grant_id}").json()["jkt"] == alice.jkt
    assert world.ports.issuer.verify_grant(granted.token, world.clock.now).jkt == alice.jkt
    assert alice.post(granted.path, granted.body()).status_code == 200
    entries = world.entries()
    by_event = {entry["event"]: entry["jkt"] for entry in entries if "jkt" in entry}
    assert by_event["grant.request.allowed"] == by_event["release.allowed"] == alice.jkt
    assert by_event["grant.approve.allowed"] == bob.jkt


# Thieves.


def test_a_stolen_token_and_grant_release_nothing_without_the_key(world: Any, alice: Any, granted: Any) -> None:
    without = granted.asked(alice.headers(None))
    assert (without.status_code, without.headers["www-authenticate"]) == (401, INVALID)
    assert without.json()["type"] == PROBLEM_BASE + "proof-needed"
    assert (world.last_entry()["event"], world.last_entry()["reason"]) == ("release.denied", "proof_missing")

    thief = replace(alice, key=world.person("eve").key)
    denied = thief.post(granted.path, granted.body())
    assert (denied.status_code, denied.json()["type"]) == (403, PROBLEM_BASE + "denied")
    assert (world.last_entry()["reason"], world.last_entry()["jkt"]) == ("grant_of_another_key", thief.jkt)
    assert granted.uses_left() == 5


def test_no_grant_is_requested_without_a_key_to_bind_it_to(world: Any, alice: Any) -> None:
    key, _ = alice.create_key()
    request = {"key_ids": [str(key.id)], "purpose": "x"}
    answer = world.client.post(GRANTS, headers=alice.headers(None), json=request)
    assert (answer.status_code, answer.headers["www-authenticate"]) == (401, INVALID)
    assert (world.last_entry()["event"], world.last_entry()["reason"]) == ("grant.request.denied", "proof_missing")
    assert alice.get(GRANTS).json() == {"grants": [], "next": None}


def test_a_bound_token_opens_no_door_without_its_key(world: Any) -> None:
    alice = world.bound_person("alice")
    assert alice.get("/v1/keys").status_code == 200
    naked = world.client.get("/v1/keys", headers={"Authorization": f"DPoP {alice.token}"})
    assert (naked.status_code, naked.headers["www-authenticate"]) == (401, INVALID)
    for thief in (
        replace(alice, key=world.person("eve").key),
        # A proof of the right key does not make a bearer token of it (RFC 9449, section 7.2).
        replace(alice, scheme="Bearer"),
    ):
        refused = thief.get("/v1/keys")
        assert (refused.status_code, refused.headers["www-authenticate"]) == (401, EITHER)
    as_bearer = world.client.get("/v1/keys", headers={"Authorization": f"Bearer {alice.token}"})
    assert as_bearer.status_code == 401


def test_a_bearer_token_does_not_pass_for_a_bound_one(world: Any, alice: Any) -> None:
    assert replace(alice, scheme="DPoP").get("/v1/keys").status_code == 401
    assert replace(alice, scheme="bearer").get("/v1/keys").status_code == 200
    bound = world.bound_person("alice")
    assert replace(bound, scheme="dpop").get("/v1/keys").status_code == 200


def test_whoever_has_a_bound_token_uses_a_grant_with_the_same_key(world: Any, bob: Any) -> None:
    alice = world.bound_person("alice")
    key, _ = alice.create_key()
    _, token = world.grant_token(alice, bob, key.id)
    assert alice.release(key.id, token).status_code == 200
    assert world.last_entry()["jkt"] == alice.jkt


def test_a_key_of_the_other_kind_does_as_well(world: Any, alice: Any, bob: Any) -> None:
    alice.key = generate_ec(SECP256R1())
    key, _ = alice.create_key()
    _, token = world.grant_token(alice, bob, key.id)
    assert alice.release(key.id, token).status_code == 200


def test_a_grants_token_with_another_binding_than_the_grant_is_refused(world: Any, alice: Any, granted: Any) -> None:
    now = world.clock.now
    thief = replace(alice, key=world.person("eve").key)
    for jkt, who in ((None, alice), (thief.jkt, alice), (None, thief), (thief.jkt, thief)):
        forged = world.ports.issuer.issue_grant(granted.grant_id, "alice", "default", now, now + 60, jkt)
        assert who.post(granted.path, granted.body(forged)).status_code == 403
        assert world.last_entry()["reason"] == "grant_token_refused: binding"
    assert granted.uses_left() == 5


def test_a_grant_from_before_grants_were_bound_releases_nothing_and_shows_as_expired(
    world: Any, alice: Any, bob: Any, granted: Any
) -> None:
    pending = alice.request_grant(granted.path.split("/")[3])["id"]
    with world.ports.database.writing() as session:
        session.execute(text("UPDATE grants SET jkt = NULL"))
    old = world.ports.issuer.issue_grant(granted.grant_id, "alice", "default", world.clock.now, world.clock.now + 60)
    for presented in (granted.token, old):
        assert alice.post(granted.path, granted.body(presented)).status_code == 403
        assert world.last_entry()["reason"] == "grant_unbound"
    assert bob.post(f"{GRANTS}/{pending}/approve").status_code == 403
    assert world.last_entry()["reason"] == "grant_unbound"
    for each in (granted.grant_id, pending):
        shown = alice.get(f"{GRANTS}/{each}").json()
        assert (shown["state"], shown["token"], shown["jkt"]) == ("expired", None, None)


# Proofs of other requests.


@pytest.mark.parametrize(
    "changes",
    [
        {"htm": "GET"},
        {"htm": "post"},
        {"htu": "http://testserver/v1/grants"},
        {"htu": "https://testserver{path}"},
        {"htu": "http://another.example{path}"},
        {"htu": "http://testserver:8480{path}"},
        {"htu": "http://testserver{path}/"},
        {"htu": "{path}"},
        {"ath": encode_base64url(bytes(32))},
        {"ath": None},
        {"jti": None},
        {"jti": "short"},
        {"iat": 1_800_000_000 - 61},
        {"iat": 1_800_000_000 + 6},
        {"iat": "1800000000"},
        {"exp": 1_900_000_000},
    ],
    ids=str,
)
def test_a_proof_that_is_not_of_this_very_request_is_refused_and_takes_no_use(
    world: Any, alice: Any, granted: Any, changes: dict[str, Any]
) -> None:
    if "htu" in changes:
        changes = {"htu": changes["htu"].format(path=granted.path)}
    entries = len(world.leaves())
    answer = granted.asked(alice.headers(alice.proof("POST", granted.path, **changes)))
    assert (answer.status_code, answer.headers["www-authenticate"]) == (401, INVALID)
    assert len(world.leaves()) == entries
    assert granted.uses_left() == 5


def test_a_proof_for_one_route_or_token_is_none_for_another(world: Any, alice: Any, granted: Any) -> None:
    for headers in (
        alice.headers(alice.proof("POST", GRANTS)),
        alice.headers(alice.proof("POST", f"/v1/keys/{uuid4()}/release")),
        alice.headers(replace(alice, token=world.person("alice").token).proof("POST", granted.path)),
    ):
        answer = granted.asked(headers)
        assert (answer.status_code, answer.headers["www-authenticate"]) == (401, INVALID)


def test_a_query_does_not_count_and_an_escape_is_the_character_that_it_stands_for(world: Any, alice: Any) -> None:
    proof = alice.proof("GET", "/v1/keys")
    assert world.client.get("/v1/keys?limit=2", headers=alice.headers(proof)).status_code == 200
    proof = alice.proof("GET", "/v1/%6beys")
    assert world.client.get("/v1/keys", headers=alice.headers(proof)).status_code == 200


@pytest.mark.parametrize(
    "proofs",
    [
        lambda good: [good, good],
        lambda good: [good, "garbage"],
        lambda good: ["", good],
        lambda good: [f"{good}, {good}"],
        lambda _: ["a" * 10_000],
        lambda good: [f"{good}{'A' * 10_000}"],
        lambda _: [""],
        lambda _: ["é.é.é".encode()],
        lambda good: [good.rpartition(".")[0] + "."],
        lambda good: [good.replace(".", " ")],
    ],
    ids=[
        "two",
        "one is garbage",
        "one is empty",
        "joined",
        "10 kB",
        "longer",
        "empty",
        "not ascii",
        "unsigned",
        "spaces",
    ],
)
def test_anything_but_one_proof_is_refused_at_every_door(
    world: Any, alice: Any, granted: Any, proofs: Callable[[str], list[str | bytes]]
) -> None:
    for method, target in (("POST", granted.path), ("GET", "/v1/keys")):
        shown = [("DPoP", proof) for proof in proofs(alice.proof(method, target))]
        headers = [("Authorization", f"Bearer {alice.token}"), *shown]
        content = json.dumps(granted.body()) if method == "POST" else None
        answer = world.client.request(method, target, headers=headers, content=content)
        assert (answer.status_code, answer.headers["www-authenticate"]) == (401, INVALID)
    assert granted.uses_left() == 5


# Whether everything is refused before anything is done.


def test_a_spoiled_proof_never_reaches_the_body(world: Any, alice: Any) -> None:
    headers = {**alice.headers("a.b.c"), "Content-Type": "application/json"}
    assert world.client.post("/v1/keys", content=b"{broken", headers=headers).status_code == 401


def test_an_invalid_token_with_a_good_proof_reads_like_any_other(world: Any, alice: Any) -> None:
    plain = world.client.get("/v1/keys")
    for token in ("x.y.z", alice.token[:-4] + "AAAA"):
        for scheme in ("Bearer", "DPoP"):
            answer = replace(alice, token=token, scheme=scheme).get("/v1/keys")
            assert (answer.status_code, answer.content) == (401, plain.content)
            assert answer.headers["www-authenticate"] == plain.headers["www-authenticate"] == EITHER


def test_no_proof_is_ever_logged(world: Any, alice: Any, granted: Any, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    proofs = [
        alice.proof("POST", granted.path),
        alice.proof("POST", granted.path, htm="GET"),
        alice.proof("POST", granted.path, nonce=None),
    ]
    for proof in (*proofs, proofs[0]):
        granted.asked(alice.headers(proof))
    assert "DPoP proof refused: method" in caplog.text
    assert "DPoP proof refused: nonce" in caplog.text
    everything = caplog.text + "".join(world.leaves())
    for proof in proofs:
        assert all(part not in everything for part in proof.split(".")[1:])
