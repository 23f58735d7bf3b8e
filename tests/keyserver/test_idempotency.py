"""Requests with an Idempotency-Key take effect once, and what was answered is answered again."""

from __future__ import annotations

import json
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import UUID, uuid4

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from sqlalchemy import select, text
from starlette.testclient import TestClient

from faceseal.keytransport import creation_info, open_key, release_info
from faceseal.translog import open_checkpoint, verify_inclusion
from faceseal.wire import PROBLEM_BASE, KeyCreated, Released, Scope, encode_base64url
from keyserver.app import create_app
from keyserver.errors import StoreUnavailable, Unavailable
from keyserver.service import keys
from keyserver.store import idempotency
from keyserver.store.tables import GrantRow, KeyRow, RepeatRow

DAY = 86400


def recipient(private: X25519PrivateKey) -> str:
    return encode_base64url(private.public_key().public_bytes_raw())


def post(person: Any, path: str, key: str, body: object = None, client: Any = None) -> Any:
    headers = {**person.headers(person.proof("POST", path)), "Idempotency-Key": key}
    return (client or person.client).post(path, headers=headers, json=body)


def count(world: Any, table: Any) -> int:
    with world.ports.database.reading() as session:
        return len(session.scalars(select(table)).all())


def events(world: Any) -> Counter[str]:
    return Counter(json.loads(leaf)["event"] for leaf in world.leaves())


@pytest.fixture
def created(world: Any, alice: Any) -> tuple[dict[str, str], Any, X25519PrivateKey]:
    """A request for a key, its answer, and the recipient."""
    mine = X25519PrivateKey.generate()
    body = {"recipient": recipient(mine)}
    return body, post(alice, "/v1/keys", "one", body), mine


@pytest.fixture
def granted(world: Any, alice: Any, bob: Any) -> tuple[Any, bytes, str, str]:
    """A key as the server shows it, the image key, and id and token of a grant of one use."""
    key, image_key = alice.create_key()
    return key, image_key, *world.grant_token(alice, bob, key.id)


def test_a_key_is_created_once_and_answered_byte_by_byte_as_before(world: Any, alice: Any, created: Any) -> None:
    body, first, mine = created
    again = post(alice, "/v1/keys", '"one"', body)
    assert (again.status_code, again.content) == (201, first.content)
    assert count(world, KeyRow) == 1
    assert events(world)["key.create.allowed"] == 1
    answer = KeyCreated.model_validate_json(again.content)
    assert len(open_key(answer.sealed_key, mine, creation_info(answer.key.id))) == 32


def test_a_batch_of_keys_is_created_once(world: Any, alice: Any) -> None:
    body = {"recipient": recipient(X25519PrivateKey.generate()), "keys": [{}] * 40}
    first, again = (post(alice, "/v1/keys/batch", "all", body) for _ in range(2))
    assert (first.status_code, again.status_code) == (201, 201)
    assert again.content == first.content
    assert count(world, KeyRow) == events(world)["key.create.allowed"] == 40


def test_every_kind_of_post_is_answered_again_byte_by_byte(world: Any, alice: Any, bob: Any, created: Any) -> None:
    key, _ = alice.create_key()
    pending, denied = (alice.request_grant(key.id)["id"] for _ in range(2))
    new = recipient(X25519PrivateKey.generate())
    asked = [
        (alice, "/v1/keys", {"recipient": new}),
        (alice, "/v1/keys/batch", {"recipient": new, "keys": [{}, {"labels": {"a": "b"}}]}),
        (alice, "/v1/grants", {"key_ids": [str(key.id)], "purpose": "x"}),
        (bob, f"/v1/grants/{pending}/approve", None),
        (bob, f"/v1/grants/{pending}/revoke", None),
        (bob, f"/v1/grants/{denied}/deny", None),
    ]
    verbs = ("suspend", "resume", "revoke", "schedule-destruction", "cancel-destruction")
    asked += [(bob, f"/v1/keys/{key.id}/{verb}", None) for verb in verbs]
    paths = world.client.get("/openapi.json").json()["paths"]
    posts = {path.replace("{key_id}", str(key.id)) for path, operations in paths.items() if "post" in operations}
    tested = {path.replace(pending, "{grant_id}").replace(denied, "{grant_id}") for _, path, _ in asked}
    # Those have tests of their own.
    assert posts - tested == {f"/v1/keys/{key.id}/release", f"/v1/keys/{key.id}/break-glass"}
    for number, (person, path, body) in enumerate(asked):
        first = post(person, path, f"n{number}", body)
        before = world.leaves()
        again = post(person, path, f"n{number}", body)
        assert first.status_code in (200, 201), path
        assert (again.status_code, again.content) == (first.status_code, first.content), path
        assert world.leaves() == before, path


def test_another_request_under_the_same_key_is_refused(world: Any, alice: Any, created: Any) -> None:
    body, _, _ = created
    others = [
        ("/v1/keys", {**body, "labels": {"a": "b"}}),
        ("/v1/keys?x=1", body),
        ("/v1/grants", {"key_ids": [str(uuid4())], "purpose": "x"}),
    ]
    for path, other in others:
        answer = post(alice, path, "one", other)
        assert (answer.status_code, answer.json()["type"]) == (422, PROBLEM_BASE + "idempotency-key-reused")
    assert count(world, KeyRow) == 1


def test_keys_of_other_clients_and_tenants_are_other_keys(world: Any, alice: Any, bob: Any, created: Any) -> None:
    body, first, _ = created
    stranger = world.person("alice", tenant="other")
    answers = [post(person, "/v1/keys", "one", body) for person in (bob, stranger)]
    assert [answer.status_code for answer in answers] == [201, 201]
    assert len({answer.json()["key"]["id"] for answer in [first, *answers]}) == 3


def test_the_openapi_description_names_the_header_on_every_post(world: Any) -> None:
    paths = world.client.get("/openapi.json").json()["paths"]
    posts = [operations["post"] for operations in paths.values() if "post" in operations]
    assert len(posts) >= 6
    for operation in posts:
        headers = [each for each in operation.get("parameters", []) if each["name"] == "Idempotency-Key"]
        assert len(headers) == 1
        assert {"409", "422", "429"} <= operation["responses"].keys()


def test_without_a_key_each_request_is_its_own(world: Any, alice: Any) -> None:
    body = {"recipient": recipient(X25519PrivateKey.generate())}
    assert alice.post("/v1/keys", body).json()["key"]["id"] != alice.post("/v1/keys", body).json()["key"]["id"]


def test_whoever_lost_the_scope_does_not_get_the_answer_again(world: Any, alice: Any, created: Any) -> None:
    body, _, _ = created
    lesser = world.person("alice", " ".join(set(Scope) - {Scope.KEYS_CREATE}))
    answer = post(lesser, "/v1/keys", "one", body)
    assert (answer.status_code, answer.json()["type"]) == (403, PROBLEM_BASE + "denied")
    assert json.loads(world.leaves()[-1])["reason"] == "scope_missing"


def test_a_token_that_is_over_gets_nothing(world: Any, alice: Any, created: Any) -> None:
    body, _, _ = created
    world.clock.now += 31 * DAY
    assert post(alice, "/v1/keys", "one", body).status_code == 401


def test_after_a_day_the_key_is_new_again_and_the_old_row_gone(world: Any, alice: Any, created: Any) -> None:
    body, first, _ = created
    world.clock.now += DAY
    again = post(alice, "/v1/keys", "one", body)
    assert (again.status_code, again.json()["key"]["id"] == first.json()["key"]["id"]) == (201, False)
    assert count(world, RepeatRow) == 1


def test_expired_rows_leave_a_few_at_a_time(world: Any, alice: Any) -> None:
    with world.ports.database.writing() as session:
        for number in range(40):
            row = {"tenant": "default", "request": b"r", "status": 200, "expires_at": 1}
            session.add(RepeatRow(id=number.to_bytes(32), **row))
    post(alice, "/v1/keys", "new", {"recipient": recipient(X25519PrivateKey.generate())})
    assert count(world, RepeatRow) == 40 - idempotency.SWEEP + 1


@pytest.mark.parametrize(
    "key", ["", '""', '"open', "with space", '"\\"', "é", "x" * 129, '"' + "x" * 129 + '"', "a, b"]
)
def test_a_malformed_key_is_refused_before_anything_happens(world: Any, alice: Any, key: str) -> None:
    headers = [(b"Authorization", f"Bearer {alice.token}".encode()), (b"Idempotency-Key", key.encode())]
    answer = world.client.post("/v1/keys", headers=headers, json={"recipient": recipient(X25519PrivateKey.generate())})
    assert (answer.status_code, answer.json()["type"]) == (422, PROBLEM_BASE + "invalid")
    assert count(world, KeyRow) == 0


def test_a_refusal_is_on_record_and_decided_again_when_it_is_sent_again(world: Any, alice: Any, bob: Any) -> None:
    key, _ = alice.create_key()
    grant_id = alice.request_grant(key.id)["id"]
    before = events(world)["grant.approve.denied"]
    path = f"/v1/grants/{grant_id}/approve"
    assert [post(alice, path, "own").status_code for _ in range(2)] == [403, 403]
    assert events(world)["grant.approve.denied"] == before + 2
    assert count(world, RepeatRow) == 0
    with world.ports.database.reading() as session:
        assert session.scalars(select(GrantRow)).one().state == "pending"
    assert post(bob, path, "own").status_code == 200


def test_an_unusable_recipient_leaves_neither_key_nor_row(world: Any, alice: Any) -> None:
    answer = post(alice, "/v1/keys", "low", {"recipient": encode_base64url(bytes(32))})
    assert answer.status_code == 422
    assert (count(world, KeyRow), count(world, RepeatRow)) == (0, 0)


def test_a_failure_at_the_end_undoes_effect_and_key_together(
    world: Any, alice: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = {"recipient": recipient(X25519PrivateKey.generate())}
    before = world.leaves()

    def broken(*_: object) -> None:
        raise StoreUnavailable("the database failed")

    with monkeypatch.context() as patch:
        patch.setattr(idempotency, "add", broken)
        assert post(alice, "/v1/keys", "one", body).status_code == 503
    assert (count(world, KeyRow), count(world, RepeatRow)) == (0, 0)
    assert world.leaves() == before
    assert post(alice, "/v1/keys", "one", body).status_code == 201


def test_a_bug_undoes_effect_and_key_together(world: Any, alice: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    real = keys.create_key

    def broken(*arguments: Any) -> Any:
        real(*arguments)
        raise RuntimeError

    body = {"recipient": recipient(X25519PrivateKey.generate())}
    monkeypatch.setattr(keys, "create_key", broken)
    assert post(alice, "/v1/keys", "one", body).status_code == 500
    assert (count(world, KeyRow), count(world, RepeatRow)) == (0, 0)


def test_what_is_kept_is_sealed(world: Any, alice: Any, created: Any) -> None:
    _, first, _ = created
    with world.ports.database.reading() as session:
        row = session.scalars(select(RepeatRow)).one()
    assert row.kek_epoch == 1
    assert first.json()["key"]["id"].encode() not in row.answer
    assert first.json()["sealed_key"].encode() not in row.answer


def test_an_answer_that_was_moved_to_another_request_does_not_open(world: Any, alice: Any, created: Any) -> None:
    mine = X25519PrivateKey.generate()
    post(alice, "/v1/keys", "two", {"recipient": recipient(mine)})
    with world.ports.database.writing() as session:
        first, second = session.scalars(select(RepeatRow).order_by(RepeatRow.id)).all()
        first.answer, second.answer = second.answer, first.answer
    answer = post(alice, "/v1/keys", "two", {"recipient": recipient(mine)})
    assert (answer.status_code, answer.json()["type"]) == (409, PROBLEM_BASE + "conflict")


def test_revoking_works_while_the_root_is_away_and_is_still_done_once(
    world: Any, alice: Any, bob: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    key, _ = alice.create_key()

    def away(*_: object) -> bytes:
        raise Unavailable("the root does not answer")

    monkeypatch.setattr(type(world.ports.root), "unwrap", away)
    path = f"/v1/keys/{key.id}/revoke"
    assert post(bob, path, "now").status_code == 200
    answer = post(bob, path, "now")
    assert (answer.status_code, "not kept" in answer.json()["detail"]) == (409, True)
    assert events(world)["key.revoke.allowed"] == 1


def test_a_request_that_still_runs_is_told_to_come_again(
    world: Any, alice: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    entered, go, real = threading.Event(), threading.Event(), keys.create_key

    def slow(*arguments: Any) -> Any:
        entered.set()
        go.wait(20)
        return real(*arguments)

    monkeypatch.setattr(keys, "create_key", slow)
    body = {"recipient": recipient(X25519PrivateKey.generate())}
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(post, alice, "/v1/keys", "one", body)
        entered.wait(20)
        meanwhile = post(alice, "/v1/keys", "one", body)
        go.set()
        done = first.result(20)
    assert (meanwhile.status_code, meanwhile.headers["retry-after"]) == (409, "1")
    assert meanwhile.json()["type"] == PROBLEM_BASE + "in-progress"
    assert done.status_code == 201
    assert post(alice, "/v1/keys", "one", body).content == done.content


def test_many_at_once_on_two_replicas_make_one_key(world: Any, alice: Any) -> None:
    body = {"recipient": recipient(X25519PrivateKey.generate())}
    with TestClient(create_app(world.ports, 16384)) as second, ThreadPoolExecutor(8) as pool:
        asked = [pool.submit(post, alice, "/v1/keys", "one", body, [None, second][n % 2]) for n in range(24)]
        answers = [one.result(60) for one in asked]
    assert {answer.status_code for answer in answers} <= {201, 409}
    assert len({answer.content for answer in answers if answer.status_code == 201}) == 1
    assert count(world, KeyRow) == 1


def test_a_release_is_given_again_without_another_use(world: Any, alice: Any, granted: Any) -> None:
    key, image_key, grant_id, token = granted
    mine = X25519PrivateKey.generate()
    body, path = {"grant": token, "recipient": recipient(mine)}, f"/v1/keys/{key.id}/release"
    first = post(alice, path, "r", body)
    world.person("carol").create_key()
    again = post(alice, path, "r", body)
    assert (first.status_code, again.status_code) == (200, 200)
    assert again.content == first.content
    released = Released.model_validate_json(again.content)
    assert open_key(released.sealed_key, mine, release_info(key.id, UUID(grant_id))) == image_key
    checkpoint = open_checkpoint(released.receipt.checkpoint, world.ports.signer.verifier_key)
    leaf = released.receipt.leaf.encode()
    verify_inclusion(released.receipt.index, checkpoint.size, leaf, released.receipt.inclusion_proof, checkpoint.root)
    assert events(world)["release.allowed"] == 1
    assert post(alice, path, "another", body).status_code == 403


def test_a_release_after_a_revocation_is_refused_even_if_it_was_given_before(
    world: Any, alice: Any, bob: Any, granted: Any
) -> None:
    key, _, _, token = granted
    body = {"grant": token, "recipient": recipient(X25519PrivateKey.generate())}
    path = f"/v1/keys/{key.id}/release"
    assert post(alice, path, "r", body).status_code == 200
    assert bob.post(f"/v1/keys/{key.id}/revoke").status_code == 200
    assert post(alice, path, "r", body).status_code == 403
    entry = json.loads(world.leaves()[-1])
    assert (entry["event"], entry["reason"]) == ("release.denied", "key_not_active")


def test_a_release_key_for_another_recipient_is_refused_and_costs_no_use(world: Any, alice: Any, bob: Any) -> None:
    key, _ = alice.create_key()
    grant_id, token = world.grant_token(alice, bob, key.id, uses=5)
    path = f"/v1/keys/{key.id}/release"
    bodies = [{"grant": token, "recipient": recipient(X25519PrivateKey.generate())} for _ in range(2)]
    assert [post(alice, path, "r", body).status_code for body in bodies] == [200, 422]
    assert alice.get(f"/v1/grants/{grant_id}").json()["uses_left"] == 4


def test_a_refused_release_is_decided_again(world: Any, alice: Any, bob: Any) -> None:
    key, _ = alice.create_key()
    _, token = world.grant_token(alice, bob, key.id)
    other, _ = alice.create_key()
    body = {"grant": token, "recipient": recipient(X25519PrivateKey.generate())}
    assert [post(alice, f"/v1/keys/{other.id}/release", "r", body).status_code for _ in range(2)] == [403, 403]
    assert events(world)["release.denied"] == 2
    assert post(alice, f"/v1/keys/{key.id}/release", "r", body).status_code == 200


def test_many_releases_at_once_under_one_key_take_one_use(world: Any, alice: Any, bob: Any) -> None:
    key, _ = alice.create_key()
    grant_id, token = world.grant_token(alice, bob, key.id, uses=20)
    body = {"grant": token, "recipient": recipient(X25519PrivateKey.generate())}
    path = f"/v1/keys/{key.id}/release"
    with TestClient(create_app(world.ports, 16384)) as second, ThreadPoolExecutor(8) as pool:
        asked = [pool.submit(post, alice, path, "r", body, [None, second][n % 2]) for n in range(24)]
        answers = [one.result(60) for one in asked]
    assert {answer.status_code for answer in answers} <= {200, 409}
    assert len({answer.content for answer in answers if answer.status_code == 200}) == 1
    assert alice.get(f"/v1/grants/{grant_id}").json()["uses_left"] == 19


def test_a_key_that_another_transaction_holds_is_not_waited_for(world: Any, alice: Any) -> None:
    if world.ports.database.engine.dialect.name == "sqlite":
        # One writer at a time: whoever comes second sees what the first has left.
        return
    one = bytes(range(32))
    with world.ports.database.writing() as first:
        assert idempotency.lock(first, [one]) == {one}
        with world.ports.database.writing() as second:
            assert idempotency.lock(second, [one, bytes(32)]) == {bytes(32)}
    with world.ports.database.writing() as third:
        assert idempotency.lock(third, [one]) == {one}
        assert third.execute(text("SELECT 1")).scalar() == 1
