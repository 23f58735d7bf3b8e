"""The release path as its attackers and its rightful users meet it."""

from __future__ import annotations

import json
import logging
from typing import Any
from uuid import UUID, uuid4

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from sqlalchemy import text

from faceseal.keytransport import open_key, release_info
from faceseal.translog import open_checkpoint, verify_inclusion
from faceseal.wire import Released, encode_base64url
from keyserver.store.tables import KeyRow


def last_entry(world: Any) -> dict[str, Any]:
    entry: dict[str, Any] = world.last_entry()
    return entry


def test_a_granted_release_gives_back_the_very_key_that_was_created(world: Any, alice: Any, bob: Any) -> None:
    key, image_key = alice.create_key()
    grant_id, token = world.grant_token(alice, bob, key.id)
    mine = X25519PrivateKey.generate()

    answer = alice.release(key.id, token, mine)

    assert answer.status_code == 200
    released = Released.model_validate_json(answer.content)
    assert open_key(released.sealed_key, mine, release_info(key.id, UUID(grant_id))) == image_key


def test_the_receipt_proves_the_release_to_whoever_has_the_verifier_key(world: Any, alice: Any, bob: Any) -> None:
    key, _ = alice.create_key()
    grant_id, token = world.grant_token(alice, bob, key.id)

    receipt = Released.model_validate_json(alice.release(key.id, token).content).receipt

    checkpoint = open_checkpoint(receipt.checkpoint, world.ports.signer.verifier_key)
    leaf = receipt.leaf.encode()
    verify_inclusion(receipt.index, checkpoint.size, leaf, receipt.inclusion_proof, checkpoint.root)
    entry = json.loads(leaf)
    assert (entry["event"], entry["key"], entry["grant"]) == ("release.allowed", str(key.id), grant_id)
    assert "alice" not in receipt.leaf
    assert last_entry(world)["actor"] == "alice"


def test_every_denial_looks_the_same_and_the_log_knows_why(world: Any, alice: Any, bob: Any) -> None:
    key, _ = alice.create_key()
    other_key, _ = alice.create_key()
    suspended_key, _ = alice.create_key()
    _, good = world.grant_token(alice, bob, key.id, uses=5)
    _, for_suspended = world.grant_token(alice, bob, suspended_key.id)
    _, short = world.grant_token(alice, bob, key.id, valid_for=60)
    _, single = world.grant_token(alice, bob, key.id, uses=1)
    revoked_id, revoked = world.grant_token(alice, bob, key.id)
    assert bob.post(f"/v1/grants/{revoked_id}/revoke").status_code == 200
    assert bob.post(f"/v1/keys/{suspended_key.id}/revoke").status_code == 200
    assert alice.release(key.id, single).status_code == 200
    pending = alice.request_grant(key.id)["id"]
    denied = alice.request_grant(key.id)["id"]
    assert bob.post(f"/v1/grants/{denied}/deny").status_code == 200

    def made_up(grant_id: str) -> str:
        """What a stolen signing key could make: the state in the database must still decide."""
        token: str = world.ports.issuer.issue_grant(
            UUID(grant_id), "alice", "default", world.clock.now, world.clock.now + 600, alice.jkt
        )
        return token

    signed_otherwise = good.rpartition(".")[0] + "." + short.rpartition(".")[2]
    eve = world.person("eve")
    unscoped = world.person("alice", "keys:create keys:admin grants:request grants:approve audit:read")
    attempts = {
        "not_grant_requester": lambda: eve.release(key.id, good),
        "scope_missing": lambda: unscoped.release(key.id, good),
        "key_not_in_grant": lambda: alice.release(other_key.id, good),
        "key_not_active": lambda: alice.release(suspended_key.id, for_suspended),
        "grant_exhausted": lambda: alice.release(key.id, single),
        "grant_revoked": lambda: alice.release(key.id, revoked),
        "grant_pending": lambda: alice.release(key.id, made_up(pending)),
        "grant_denied": lambda: alice.release(key.id, made_up(denied)),
        "grant_token_refused: no such grant": lambda: alice.release(key.id, made_up(str(uuid4()))),
        "grant_token_refused: malformed": lambda: alice.release(key.id, "garbage"),
        "grant_token_refused: header": lambda: alice.release(key.id, alice.token),
        "grant_token_refused: signature": lambda: alice.release(key.id, signed_otherwise),
        "grant_token_refused: expired": lambda: alice.release(key.id, short),
    }
    answers = {}
    for reason, attempt in attempts.items():
        if reason.endswith("expired"):
            world.clock.now += 61
        answers[reason] = attempt()
        assert last_entry(world)["event"] == "release.denied"
        assert last_entry(world)["reason"] == reason

    assert {answer.status_code for answer in answers.values()} == {403}
    assert len({answer.content for answer in answers.values()}) == 1
    # The request's own id is random; the nonce tells the minute, and nothing of the reason.
    headers = [{**answer.headers, "dpop-nonce": "", "x-request-id": ""} for answer in answers.values()]
    assert all(each == headers[0] for each in headers)


def test_an_expired_grant_is_refused_even_with_a_token_that_lives_longer(world: Any, alice: Any, bob: Any) -> None:
    key, _ = alice.create_key()
    grant_id, _ = world.grant_token(alice, bob, key.id, valid_for=60)
    now = world.clock.now
    longer = world.ports.issuer.issue_grant(UUID(grant_id), "alice", "default", now, now + 6000, alice.jkt)
    world.clock.now += 60
    assert alice.release(key.id, longer).status_code == 403
    assert last_entry(world)["reason"] == "grant_expired"


def test_a_grant_token_whose_holder_was_changed_is_refused(world: Any, alice: Any, bob: Any) -> None:
    key, _ = alice.create_key()
    grant_id, _ = world.grant_token(alice, bob, key.id)
    stolen = world.ports.issuer.issue_grant(UUID(grant_id), "eve", "default", world.clock.now, world.clock.now + 60)
    assert world.person("eve").release(key.id, stolen).status_code == 403


def test_a_grant_is_good_for_its_uses_and_no_more(world: Any, alice: Any, bob: Any) -> None:
    key, _ = alice.create_key()
    grant_id, token = world.grant_token(alice, bob, key.id, uses=2)
    assert [alice.release(key.id, token).status_code for _ in range(4)] == [200, 200, 403, 403]
    grant = alice.get(f"/v1/grants/{grant_id}").json()
    assert (grant["state"], grant["uses_left"], grant["token"]) == ("exhausted", 0, None)


def test_revoking_the_key_takes_effect_at_the_next_request(world: Any, alice: Any, bob: Any) -> None:
    key, _ = alice.create_key()
    _, token = world.grant_token(alice, bob, key.id, uses=2)
    assert alice.release(key.id, token).status_code == 200
    assert bob.post(f"/v1/keys/{key.id}/revoke").status_code == 200
    assert alice.release(key.id, token).status_code == 403


def test_the_requester_can_revoke_the_own_grant(world: Any, alice: Any, bob: Any) -> None:
    key, _ = alice.create_key()
    grant_id, token = world.grant_token(alice, bob, key.id)
    requester = world.person("alice", "keys:release")
    assert requester.post(f"/v1/grants/{grant_id}/revoke").json()["state"] == "revoked"
    assert alice.release(key.id, token).status_code == 403


def test_an_unknown_key_and_another_tenants_key_are_not_found_alike(world: Any, alice: Any, bob: Any) -> None:
    stranger = world.person("alice", tenant="other")
    key, _ = alice.create_key()
    own, _ = stranger.create_key()
    _, stolen = world.grant_token(alice, bob, key.id)
    _, token = world.grant_token(stranger, world.person("bob", tenant="other"), own.id)

    foreign = [stranger.release(key.id, stolen), stranger.release(key.id, token)]
    unknown = stranger.release(uuid4(), token)

    assert {answer.status_code for answer in [*foreign, unknown]} == {404}
    assert len({answer.content for answer in [*foreign, unknown]}) == 1
    assert last_entry(world)["event"] == "release.denied"


@pytest.mark.parametrize("point", [bytes(32), bytes([1]) + bytes(31)], ids=["zero", "one"])
def test_a_low_order_recipient_is_invalid_and_costs_no_use(world: Any, alice: Any, bob: Any, point: bytes) -> None:
    key, _ = alice.create_key()
    grant_id, token = world.grant_token(alice, bob, key.id)
    answer = alice.post(f"/v1/keys/{key.id}/release", {"grant": token, "recipient": encode_base64url(point)})
    assert answer.status_code == 422
    assert answer.json()["type"] == "urn:faceseal:problem:invalid"
    assert alice.get(f"/v1/grants/{grant_id}").json()["uses_left"] == 1


def test_nothing_is_released_when_the_log_cannot_be_written(world: Any, alice: Any, bob: Any) -> None:
    key, _ = alice.create_key()
    grant_id, token = world.grant_token(alice, bob, key.id)
    with world.ports.database.writing() as session:
        session.execute(text("ALTER TABLE audit_nodes RENAME TO audit_nodes_away"))

    answer = alice.release(key.id, token)
    denial = world.person("eve").release(key.id, token)

    with world.ports.database.writing() as session:
        session.execute(text("ALTER TABLE audit_nodes_away RENAME TO audit_nodes"))
    for refused in (answer, denial):
        assert refused.status_code == 503
        assert refused.json() == {
            "type": "urn:faceseal:problem:unavailable",
            "title": "The server cannot answer now",
            "status": 503,
            "detail": "",
        }
    assert alice.get(f"/v1/grants/{grant_id}").json()["uses_left"] == 1
    assert alice.release(key.id, token).status_code == 200


@pytest.mark.parametrize("damage", ["altered", "swapped", "shortened"])
def test_wrapped_bytes_that_were_tampered_with_release_nothing(world: Any, alice: Any, bob: Any, damage: str) -> None:
    key, _ = alice.create_key()
    other, _ = alice.create_key()
    grant_id, token = world.grant_token(alice, bob, key.id)
    with world.ports.database.writing() as session:
        row, other_row = session.get_one(KeyRow, key.id), session.get_one(KeyRow, other.id)
        if damage == "altered":
            row.wrapped = row.wrapped[:20] + bytes([row.wrapped[20] ^ 1]) + row.wrapped[21:]
        elif damage == "swapped":
            row.wrapped, other_row.wrapped = other_row.wrapped, row.wrapped
        else:
            row.wrapped = row.wrapped[:-1]

    answer = alice.release(key.id, token)

    assert answer.status_code == 503
    assert answer.json()["detail"] == ""
    assert last_entry(world)["event"] == "release.failed"
    assert alice.get(f"/v1/grants/{grant_id}").json()["uses_left"] == 1


def test_no_key_token_or_grant_is_ever_logged(
    world: Any, alice: Any, bob: Any, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    key, image_key = alice.create_key()
    _, token = world.grant_token(alice, bob, key.id, uses=2)
    assert alice.release(key.id, token).status_code == 200
    assert world.person("eve").release(key.id, token).status_code == 403
    assert alice.post(f"/v1/keys/{key.id}/release", {"grant": token, "recipient": 7}).status_code == 422
    with world.ports.database.writing() as session:
        session.get_one(KeyRow, key.id).wrapped = b"broken"
    assert alice.release(key.id, token).status_code == 503
    with world.ports.database.writing() as session:
        session.execute(text("ALTER TABLE audit_nodes RENAME TO audit_nodes_away"))
    answer = alice.release(key.id, token)
    with world.ports.database.writing() as session:
        session.execute(text("ALTER TABLE audit_nodes_away RENAME TO audit_nodes"))
    assert answer.status_code == 503

    captured = capfd.readouterr()
    everything = caplog.text + captured.out + captured.err + "".join(world.leaves())
    assert "StoreUnavailable" in caplog.text
    for secret in (image_key.hex(), encode_base64url(image_key), repr(image_key)[2:-1], token, alice.token):
        assert secret not in everything


def test_neither_ports_nor_tokens_show_their_secrets(world: Any, settings: Any) -> None:
    shown = repr(world.ports) + repr(settings)
    for path in settings.data.glob("*.key"):
        secret = path.read_bytes()
        assert secret.hex() not in shown
        assert repr(secret)[2:-1] not in shown
    if settings.database_url is not None:
        assert settings.url.split(":")[2].split("@")[0] not in shown
