"""Many keys in one request: each with its own id, wrapping and entry, and all of them or none."""

from __future__ import annotations

import json
from typing import Any
from uuid import UUID

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from image_keys import opened
from sqlalchemy import func, select

from faceseal.errors import ServerMisbehaved
from faceseal.keytransport import batch_info, open_keys
from faceseal.wire import KeysCreated, encode_base64url
from keyserver import audit
from keyserver.errors import StoreUnavailable
from keyserver.store.tables import KeyRow


def public(private: X25519PrivateKey) -> str:
    return encode_base64url(private.public_key().public_bytes_raw())


def ask(person: Any, keys: list[dict[str, object]], recipient: str | None = None) -> KeysCreated:
    answer = person.post("/v1/keys/batch", {"recipient": recipient, "keys": keys})
    assert answer.status_code == 201, answer.text
    return KeysCreated.model_validate_json(answer.content)


def count_keys(world: Any) -> int:
    with world.ports.database.reading() as session:
        return session.scalar(select(func.count()).select_from(KeyRow)) or 0


def test_a_thousand_keys_come_sealed_to_one_recipient_and_are_stored_under_their_ids(world: Any, alice: Any) -> None:
    mine = X25519PrivateKey.generate()
    made = ask(alice, [{}] * 1000, public(mine))
    (sealed,) = made.sealed
    secrets = open_keys(sealed.sealed_keys, mine, batch_info(made.key_ids), 1000)
    assert len(set(secrets)) == len(set(made.key_ids)) == 1000
    assert opened(world.ports, made.key_ids) == dict(zip(made.key_ids, secrets, strict=True))


def test_each_key_has_its_labels_and_its_entry_in_the_log(world: Any, alice: Any) -> None:
    before = len(world.leaves())
    made = ask(alice, [{"labels": {"frame": str(number)}} for number in range(40)], public(X25519PrivateKey.generate()))
    entries = world.entries()[before:]
    assert [entry["key"] for entry in entries] == [str(key_id) for key_id in made.key_ids]
    assert {(e["event"], e["actor"], e["kek_epoch"]) for e in entries} == {("key.create.allowed", "alice", 1)}
    for number in (0, 17, 39):
        shown = alice.get(f"/v1/keys/{made.key_ids[number]}").json()
        assert (shown["labels"], shown["state"]) == ({"frame": str(number)}, "active")
        (found,) = alice.get(f"/v1/keys?label=frame:{number}").json()["keys"]
        assert found == shown


def test_each_recipient_opens_the_own_keys_and_no_others(world: Any, alice: Any) -> None:
    ann, ben = X25519PrivateKey.generate(), X25519PrivateKey.generate()
    made = ask(alice, [{}, {"recipient": public(ben)}, {}, {"recipient": public(ben)}], public(ann))
    assert [encode_base64url(each.recipient) for each in made.sealed] == [public(ann), public(ben)]
    for each, private, places in zip(made.sealed, (ann, ben), ((0, 2), (1, 3)), strict=True):
        key_ids = [made.key_ids[place] for place in places]
        secrets = open_keys(each.sealed_keys, private, batch_info(key_ids), 2)
        assert opened(world.ports, key_ids) == dict(zip(key_ids, secrets, strict=True))
    with pytest.raises(ServerMisbehaved):
        open_keys(made.sealed[1].sealed_keys, ann, batch_info(made.key_ids[1::2]), 2)


def test_keys_do_not_open_under_other_ids_or_in_another_order(alice: Any) -> None:
    mine = X25519PrivateKey.generate()
    made = ask(alice, [{}] * 3, public(mine))
    sealed = made.sealed[0].sealed_keys
    for key_ids in (made.key_ids[::-1], made.key_ids[:2], [*made.key_ids[:2], UUID(int=7)]):
        with pytest.raises(ServerMisbehaved):
            open_keys(sealed, mine, batch_info(key_ids), 3)
    with pytest.raises(ServerMisbehaved, match="another number"):
        open_keys(sealed, mine, batch_info(made.key_ids), 2)


@pytest.mark.parametrize("point", [bytes(32), bytes([1]) + bytes(31)], ids=["zero", "one"])
def test_one_low_order_recipient_spoils_the_whole_batch(world: Any, alice: Any, point: bytes) -> None:
    keys = [{}, {"recipient": encode_base64url(point)}]
    leaves = world.leaves()
    answer = alice.post("/v1/keys/batch", {"recipient": public(X25519PrivateKey.generate()), "keys": keys})
    assert (answer.status_code, answer.json()["type"]) == (422, "urn:faceseal:problem:invalid")
    assert (count_keys(world), world.leaves()) == (0, leaves)


def test_if_the_log_cannot_be_written_no_key_is_there(world: Any, alice: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise StoreUnavailable("the log is full")

    monkeypatch.setattr(audit, "record_all", broken)
    request = {"recipient": public(X25519PrivateKey.generate()), "keys": [{}] * 100}
    answer = alice.post("/v1/keys/batch", request)
    assert answer.status_code == 503
    assert count_keys(world) == 0


def test_a_batch_is_bounded_in_number_and_needs_recipients(world: Any, alice: Any) -> None:
    recipient = public(X25519PrivateKey.generate())
    for request in (
        {"recipient": recipient, "keys": []},
        {"recipient": recipient, "keys": [{}] * 1001},
        {"keys": [{"recipient": recipient}, {}]},
        {"recipient": recipient, "keys": [{"labels": {str(number): "x" for number in range(17)}}]},
        {"recipient": recipient, "keys": [{"id": "mine"}]},
    ):
        assert alice.post("/v1/keys/batch", request).status_code == 422
    assert count_keys(world) == 0


def test_the_batch_route_has_a_limit_of_its_own_and_no_other_route_has_it(world: Any, alice: Any) -> None:
    recipient = public(X25519PrivateKey.generate())
    labels = {"label": "x" * 50}
    large = {"recipient": recipient, "keys": [{"labels": labels}] * 1000}
    assert len(json.dumps(large)) > 64 * 1024
    assert alice.post("/v1/keys/batch", large).status_code == 201
    assert alice.post("/v1/keys", large).status_code == 413
    assert alice.post("/v1/keys/batch/", large).status_code == 413
    too_large = alice.post("/v1/keys/batch", {"recipient": recipient, "keys": [{"labels": labels}] * 20000})
    assert (too_large.status_code, too_large.json()["type"]) == (413, "urn:faceseal:problem:too-large")


def test_a_token_of_a_tenant_that_does_not_exist_creates_no_batch(world: Any) -> None:
    request = {"recipient": public(X25519PrivateKey.generate()), "keys": [{}]}
    assert world.person("alice", tenant="nowhere").post("/v1/keys/batch", request).status_code == 403
    assert count_keys(world) == 0


def test_keys_of_a_batch_are_of_their_tenant_alone(world: Any, alice: Any) -> None:
    made = ask(alice, [{"labels": {"a": "b"}}], public(X25519PrivateKey.generate()))
    stranger = world.person("alice", tenant="other")
    assert stranger.get(f"/v1/keys/{made.key_ids[0]}").status_code == 404
    assert stranger.get("/v1/keys?label=a:b").json() == {"keys": [], "next": None}


def test_a_batch_under_an_idempotency_key_is_made_once_and_answered_as_before(world: Any, alice: Any) -> None:
    request = {"recipient": public(X25519PrivateKey.generate()), "keys": [{}, {}]}

    def asked() -> Any:
        headers = {**alice.headers(alice.proof("POST", "/v1/keys/batch")), "Idempotency-Key": '"batch"'}
        return alice.client.post("/v1/keys/batch", headers=headers, json=request)

    first, second = asked(), asked()
    assert (first.status_code, second.status_code) == (201, 201)
    assert first.content == second.content
    assert count_keys(world) == 2


def test_the_path_of_batches_is_not_taken_for_a_key(alice: Any) -> None:
    answer = alice.get("/v1/keys/batch")
    assert (answer.status_code, answer.headers["allow"]) == (405, "POST")
