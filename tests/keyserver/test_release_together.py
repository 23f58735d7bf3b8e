"""Releases that share a transaction are decided each by itself, and leave or fail together."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from typing import Any
from uuid import UUID, uuid4

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from sqlalchemy import event, text
from sqlalchemy.orm import ORMExecuteState, Session

from faceseal.keytransport import open_key, release_info
from faceseal.translog import open_checkpoint, verify_inclusion
from faceseal.wire import Release, Released
from keyserver.errors import AccessDenied, KeyServerError, NotFound, StoreUnavailable, Unavailable
from keyserver.policy import Caller
from keyserver.service.release import Asked, Releases
from keyserver.settings import Settings
from keyserver.store.database import Database


class Together(Releases):
    """Releases of one process that are asked for one by one and then done in one transaction."""

    def __init__(self, ports: Any) -> None:
        super().__init__(ports)
        self.asked: list[Asked] = []
        self._combining = self  # type: ignore[assignment]

    def run(self, asked: Asked) -> Any:
        self.asked.append(asked)
        raise _Kept

    def ask(self, caller: Caller, key_id: UUID, token: str, mine: X25519PrivateKey | None = None) -> None:
        recipient = (mine or X25519PrivateKey.generate()).public_key().public_bytes_raw()
        with pytest.raises(_Kept):
            self.release(caller, key_id, Release(grant=token, recipient=recipient))

    def done(self) -> list[Any]:
        return list(self._release_all(self.asked))


class _Kept(Exception):
    pass


def events(world: Any) -> list[str]:
    return [json.loads(leaf)["event"] for leaf in world.leaves()]


def test_each_gets_the_own_key_and_a_receipt_for_one_checkpoint(world: Any, alice: Any, bob: Any) -> None:
    together, expected = Together(world.ports), []
    for _ in range(5):
        key, image_key = alice.create_key()
        grant_id, token = world.grant_token(alice, bob, key.id)
        mine = X25519PrivateKey.generate()
        together.ask(alice.caller(), key.id, token, mine)
        expected.append((key.id, UUID(grant_id), mine, image_key))

    released = together.done()

    assert len({one.receipt.checkpoint for one in released}) == 1
    checkpoint = open_checkpoint(released[0].receipt.checkpoint, world.ports.signer.verifier_key)
    for one, (key_id, grant_id, mine, image_key) in zip(released, expected, strict=True):
        assert open_key(one.sealed_key, mine, release_info(key_id, grant_id)) == image_key
        leaf, receipt = one.receipt.leaf.encode(), one.receipt
        verify_inclusion(receipt.index, checkpoint.size, leaf, receipt.inclusion_proof, checkpoint.root)
        assert json.loads(leaf)["key"] == str(key_id)


def test_the_last_use_of_a_grant_goes_to_one_of_a_batch(world: Any, alice: Any, bob: Any) -> None:
    key, _ = alice.create_key()
    _, token = world.grant_token(alice, bob, key.id, uses=3)
    together = Together(world.ports)
    for _ in range(8):
        together.ask(alice.caller(), key.id, token)

    outcomes = together.done()

    assert [isinstance(one, Released) for one in outcomes] == [True] * 3 + [False] * 5
    logged = [json.loads(leaf) for leaf in world.leaves()][-8:]
    assert [entry.get("uses_left") for entry in logged[:3]] == [2, 1, 0]
    assert {entry["reason"] for entry in logged[3:]} == {"grant_exhausted"}


def test_one_proof_in_one_transaction_is_good_for_one_release(world: Any, alice: Any, bob: Any) -> None:
    key, _ = alice.create_key()
    grant_id, token = world.grant_token(alice, bob, key.id, uses=5)
    together, who = Together(world.ports), alice.caller()
    for _ in range(3):
        together.ask(who, key.id, token)
    together.done()
    reasons = [json.loads(leaf).get("reason") for leaf in world.leaves()][-3:]
    assert reasons == [None, "proof_replayed", "proof_replayed"]
    assert alice.get(f"/v1/grants/{grant_id}").json()["uses_left"] == 4


def test_one_refusal_spoils_no_other_release(world: Any, alice: Any, bob: Any) -> None:
    mine, _ = alice.create_key()
    suspended, _ = alice.create_key()
    _, good = world.grant_token(alice, bob, mine.id)
    _, for_suspended = world.grant_token(alice, bob, suspended.id)
    assert bob.post(f"/v1/keys/{suspended.id}/revoke").status_code == 200
    together = Together(world.ports)
    together.ask(alice.caller(), suspended.id, for_suspended)
    together.ask(alice.caller(), uuid4(), good)
    together.ask(bob.caller(), mine.id, good)
    together.ask(alice.caller(), mine.id, "no grant at all")
    together.ask(alice.caller(), mine.id, good)

    outcomes = together.done()

    assert [isinstance(one, Released) for one in outcomes] == [False] * 4 + [True]
    reasons = [json.loads(leaf).get("reason") for leaf in world.leaves()][-5:]
    assert reasons == [
        "key_not_active",
        "key_unknown",
        "not_grant_requester",
        "grant_token_refused: malformed",
        None,
    ]


def test_a_key_that_does_not_open_fails_alone(world: Any, alice: Any, bob: Any) -> None:
    broken, _ = alice.create_key()
    sound, _ = alice.create_key()
    _, for_broken = world.grant_token(alice, bob, broken.id)
    _, for_sound = world.grant_token(alice, bob, sound.id)
    with world.ports.database.writing() as session:
        change = text("UPDATE image_keys SET wrapped = :wrapped WHERE id = :id")
        kind = session.get_bind().dialect.name
        key_id = broken.id.hex if kind == "sqlite" else broken.id
        assert session.execute(change, {"wrapped": bytes(60), "id": key_id}).rowcount == 1  # type: ignore[attr-defined]
    together = Together(world.ports)
    together.ask(alice.caller(), broken.id, for_broken)
    together.ask(alice.caller(), sound.id, for_sound)

    outcomes = together.done()

    assert [isinstance(one, Released) for one in outcomes] == [False, True]
    assert events(world)[-2:] == ["release.failed", "release.allowed"]
    assert alice.get(f"/v1/keys/{broken.id}").status_code == 200


def test_a_root_that_does_not_answer_for_one_tenant_keeps_no_other_from_its_key(
    world: Any, alice: Any, bob: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    key, _ = alice.create_key()
    _, token = world.grant_token(alice, bob, key.id)
    rita, ben = (world.person(name, tenant="other") for name in ("rita", "ben"))
    theirs, _ = rita.create_key()
    their_grant, their_token = world.grant_token(rita, ben, theirs.id)
    real = type(world.ports.root).unwrap

    def away_for_others(self: object, wrapped: bytes, context: bytes) -> bytes:
        if b"other" in context:
            raise Unavailable("the root does not answer")
        return bytes(real(self, wrapped, context))

    monkeypatch.setattr(type(world.ports.root), "unwrap", away_for_others)
    together = Together(world.ports)
    together.ask(rita.caller(), theirs.id, their_token)
    together.ask(alice.caller(), key.id, token)

    outcomes = together.done()

    assert [isinstance(one, Released) for one in outcomes] == [False, True]
    assert events(world)[-2:] == ["release.failed", "release.allowed"]
    assert rita.get(f"/v1/grants/{their_grant}").json()["uses_left"] == 1


def test_if_the_log_cannot_be_written_nobody_is_given_a_key(world: Any, alice: Any, bob: Any) -> None:
    key, _ = alice.create_key()
    grant_id, token = world.grant_token(alice, bob, key.id, uses=5)
    before = world.leaves()
    with world.ports.database.writing() as session:
        session.execute(text("ALTER TABLE audit_entries RENAME TO hidden"))
    together = Together(world.ports)
    try:
        for _ in range(3):
            together.ask(alice.caller(), key.id, token)
        with pytest.raises(StoreUnavailable):
            together.done()
    finally:
        with world.ports.database.writing() as session:
            session.execute(text("ALTER TABLE hidden RENAME TO audit_entries"))
    assert world.leaves() == before
    assert alice.get(f"/v1/grants/{grant_id}").json()["uses_left"] == 5


def test_sixty_four_at_once_on_two_replicas_get_the_ten_uses_there_are(
    world: Any, alice: Any, bob: Any, settings: Settings
) -> None:
    key, _ = alice.create_key()
    grant_id, token = world.grant_token(alice, bob, key.id, uses=10)
    other = Database(settings.url)
    replicas = [Releases(world.ports), Releases(replace(world.ports, database=other))]

    def attempt(number: int) -> type[KeyServerError] | None:
        mine = X25519PrivateKey.generate().public_key().public_bytes_raw()
        try:
            replicas[number % 2].release(alice.caller(), key.id, Release(grant=token, recipient=mine))
        except (AccessDenied, NotFound, Unavailable) as refused:
            return type(refused)
        return None

    with ThreadPoolExecutor(64) as threads:
        outcomes = list(threads.map(attempt, range(64)))
    other.close()

    assert outcomes.count(None) == 10
    assert outcomes.count(AccessDenied) == 54
    assert events(world).count("release.allowed") == 10
    assert events(world).count("release.denied") == 54
    assert alice.get(f"/v1/grants/{grant_id}").json()["uses_left"] == 0


def test_each_release_of_a_batch_is_of_a_key_that_its_own_grant_names(world: Any, alice: Any, bob: Any) -> None:
    """Two grants and two keys in one transaction: neither grant opens the other's key."""
    (one, _), (other, _) = alice.create_key(), alice.create_key()
    _, for_one = world.grant_token(alice, bob, one.id, uses=5)
    _, for_other = world.grant_token(alice, bob, other.id, uses=5)
    together = Together(world.ports)
    for key, token in ((one, for_one), (one, for_other), (other, for_one), (other, for_other)):
        together.ask(alice.caller(), key.id, token)
    assert [isinstance(each, Released) for each in together.done()] == [True, False, False, True]
    denied = [json.loads(leaf) for leaf in world.leaves()][-3:-1]
    assert [entry["reason"] for entry in denied] == ["key_not_in_grant", "key_not_in_grant"]


def test_a_release_asks_only_for_the_key_in_question_however_many_its_grant_names(
    world: Any, alice: Any, bob: Any
) -> None:
    keys = [alice.create_key()[0] for _ in range(30)]
    _, token = world.grant_token(alice, bob, *(key.id for key in keys), uses=5)
    caller, mine = alice.caller(), X25519PrivateKey.generate().public_key().public_bytes_raw()
    read: list[int] = []
    with rows_read(world.ports.database, "grant_keys", read):
        Releases(world.ports).release(caller, keys[17].id, Release(grant=token, recipient=mine))
    assert read == [1]


@contextmanager
def rows_read(database: Database, table: str, counts: list[int]) -> Iterator[None]:
    """Of each query of this table in the block, how many rows there were."""

    def after(execution: ORMExecuteState) -> None:
        if execution.is_select and f"FROM {table}" in str(execution.statement):
            result = execution.invoke_statement().freeze()
            counts.append(len(result().all()))

    event.listen(Session, "do_orm_execute", after)
    try:
        yield
    finally:
        event.remove(Session, "do_orm_execute", after)
