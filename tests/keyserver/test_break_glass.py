"""Breaking the glass: for one role, one key and one use, and loudly."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Any
from uuid import UUID, uuid4

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from starlette.testclient import TestClient

from faceseal.keytransport import open_key, release_info
from faceseal.translog import open_checkpoint, verify_inclusion
from faceseal.wire import GlassBroken, encode_base64url
from keyserver.app import create_app

EMERGENCY = {"purpose_code": "medical_treatment", "reference": "ward 3"}


def smash(person: Any, key_id: Any, mine: X25519PrivateKey | None = None, **change: object) -> Any:
    public = (mine or X25519PrivateKey.generate()).public_key().public_bytes_raw()
    body = {"recipient": encode_base64url(public), **EMERGENCY, **change}
    return person.post(f"/v1/keys/{key_id}/break-glass", body)


def entries(world: Any) -> list[dict[str, Any]]:
    return world.entries()


@pytest.fixture
def doctor(world: Any) -> Any:
    world.set_policy(break_glass_role="emergency", quorum=5, request_subjects=[])
    return world.person("doctor", "keys:release", roles="emergency night")


def test_the_key_comes_at_once_with_its_proof_and_everybody_hears_of_it(
    world: Any, alice: Any, doctor: Any, caplog: pytest.LogCaptureFixture
) -> None:
    key, image_key = alice.create_key()
    mine = X25519PrivateKey.generate()

    with caplog.at_level(logging.WARNING):
        answer = smash(doctor, key.id, mine)

    broken = GlassBroken.model_validate_json(answer.content)
    assert open_key(broken.released.sealed_key, mine, release_info(key.id, broken.grant.id)) == image_key
    receipt = broken.released.receipt
    checkpoint = open_checkpoint(receipt.checkpoint, world.ports.signer.verifier_key)
    verify_inclusion(receipt.index, checkpoint.size, receipt.leaf.encode(), receipt.inclusion_proof, checkpoint.root)
    alarm, release = entries(world)[-2:]
    assert (alarm["event"], alarm["actor"], alarm["key"]) == ("break_glass.allowed", "doctor", str(key.id))
    assert (alarm["purpose_code"], alarm["reference"], alarm["quorum"]) == ("medical_treatment", "ward 3", 0)
    assert (release["event"], release["grant"], release["uses_left"]) == ("release.allowed", alarm["grant"], 0)
    (line,) = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert str(key.id) in line.getMessage()
    for secret in (image_key.hex(), encode_base64url(image_key), doctor.token):
        assert secret not in caplog.text
        assert secret not in answer.text


def test_it_is_counted_once_and_only_when_it_happened(world: Any, alice: Any, doctor: Any) -> None:
    counted: list[str] = []
    key, _ = alice.create_key()
    ports = replace(world.ports, on_break_glass=counted.append)
    with TestClient(create_app(ports, 16 * 1024), raise_server_exceptions=False) as client:
        elsewhere = replace(world, ports=ports, client=client)
        assert smash(replace(doctor, world=elsewhere), key.id).status_code == 200
        assert smash(replace(alice, world=elsewhere), key.id).status_code == 403
    assert counted == ["default"]


def test_the_grant_is_used_up_marked_and_shows_no_token(world: Any, alice: Any, bob: Any, doctor: Any) -> None:
    key, _ = alice.create_key()
    shown = smash(doctor, key.id).json()["grant"]
    assert (shown["break_glass"], shown["state"], shown["token"], shown["decided_by"]) == (
        True,
        "exhausted",
        None,
        None,
    )
    assert bob.get(f"/v1/grants/{shown['id']}").json() == shown
    token = world.ports.issuer.issue_grant(
        UUID(shown["id"]), "doctor", "default", world.clock.now, world.clock.now + 300, doctor.jkt
    )
    assert doctor.release(key.id, token).status_code == 403


def test_without_the_role_or_a_policy_that_names_one_it_is_denied_alike_on_record(world: Any, alice: Any) -> None:
    key, _ = alice.create_key()
    nurse = world.person("nurse", roles="emergency")
    refused = [smash(nurse, key.id)]
    world.set_policy(break_glass_role="emergency")
    refused += [
        smash(world.person("nurse"), key.id),
        smash(world.person("nurse", roles="Emergency emergency2 night"), key.id),
        smash(world.person("nurse", "grants:request grants:approve keys:admin", roles="emergency"), key.id),
    ]
    world.set_policy(break_glass_role="emergency", purposes=["court_order"])
    refused.append(smash(nurse, key.id))
    assert {answer.status_code for answer in refused} == {403}
    assert len({answer.content for answer in refused}) == 1
    denied = [entry["reason"] for entry in entries(world) if entry["event"] == "break_glass.denied"]
    missing = "break_glass_role_missing"
    assert denied == [missing, missing, missing, "scope_missing", "purpose_not_allowed"]
    assert not any(entry["event"] == "release.allowed" for entry in entries(world))


def test_another_tenants_key_is_not_found_and_a_suspended_one_is_not_given(
    world: Any, alice: Any, bob: Any, doctor: Any
) -> None:
    foreign, _ = world.person("alice", tenant="other").create_key()
    assert smash(doctor, foreign.id).content == smash(doctor, uuid4()).content
    assert smash(doctor, foreign.id).status_code == 404
    key, _ = alice.create_key()
    bob.post(f"/v1/keys/{key.id}/revoke")
    assert smash(doctor, key.id).status_code == 403
    assert entries(world)[-1]["reason"] == "key_not_active"
    # The role of one tenant's policy opens nothing in another one.
    world.set_policy("other", break_glass_role="chief")
    assert smash(world.person("doctor", tenant="other", roles="emergency"), foreign.id).status_code == 403


@pytest.mark.parametrize(
    "change",
    [
        {"reference": None},
        {"reference": ""},
        {"purpose_code": None},
        {"purpose_code": "other"},
        {"purpose_code": "emergency"},
        {"uses": 2},
        {"recipient": encode_base64url(bytes(32))},
    ],
    ids=str,
)
def test_purpose_and_reference_must_be_stated_and_a_spoiled_request_makes_no_grant(
    world: Any, alice: Any, doctor: Any, change: dict[str, object]
) -> None:
    key, _ = alice.create_key()
    before = len(world.leaves())
    assert smash(doctor, key.id, **change).status_code == 422
    assert len(world.leaves()) == before
    assert world.person("bob").get("/v1/grants").json()["grants"] == []


def test_roles_alone_allow_nothing_else(world: Any, alice: Any, doctor: Any) -> None:
    key, _ = alice.create_key()
    for person in (doctor, world.person("doctor", "grants:request", roles="emergency admin")):
        assert person.post("/v1/grants", {"key_ids": [str(key.id)], "purpose": "x"}).status_code == 403
    assert doctor.post(f"/v1/keys/{key.id}/revoke").status_code == 403
