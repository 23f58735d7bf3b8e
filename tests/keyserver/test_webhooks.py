"""Webhooks from the change of a grant to a real receiver: signed, at least once, and by one worker at a time."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import UUID, uuid4

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from sqlalchemy import func, select, text
from webhook_peer import WebhookPeer, running_webhook_peer

from faceseal.wire import GrantEvent, GrantState, encode_base64url
from keyserver import logs
from keyserver.errors import Conflict, NotFound, WrapBroken
from keyserver.keywrap import FileRoot
from keyserver.service import keks, webhooks
from keyserver.settings import Settings
from keyserver.store.tables import DeliveryRow, WebhookRow
from keyserver.webhooks.delivery import (
    FIRST_PAUSE,
    GIVE_UP_AFTER,
    LEASE_SECONDS,
    LONGEST_PAUSE,
    PER_WEBHOOK,
    deliver_due,
    next_attempt,
)
from keyserver.webhooks.sending import send
from keyserver.webhooks.signing import shown_secret


@pytest.fixture
def peer() -> Iterator[WebhookPeer]:
    with running_webhook_peer() as peer:
        yield peer


def add(world: Any, peer: WebhookPeer, tenant: str = "default") -> tuple[UUID, str]:
    webhook_id, secret = webhooks.add_webhook(world.ports, tenant, peer.url)
    return webhook_id, shown_secret(secret)


def deliver(world: Any) -> int:
    return asyncio.run(deliver_due(world.ports, send))


def waiting(world: Any) -> int:
    with world.ports.database.reading() as session:
        return session.scalar(select(func.count(DeliveryRow.due_at))) or 0


def smash(person: Any, key_id: UUID) -> Any:
    recipient = encode_base64url(X25519PrivateKey.generate().public_key().public_bytes_raw())
    body = {"recipient": recipient, "purpose_code": "medical_treatment", "reference": "ward 3"}
    return person.post(f"/v1/keys/{key_id}/break-glass", body)


def test_every_change_of_a_grant_is_told_signed_and_without_a_token(
    world: Any, alice: Any, bob: Any, peer: WebhookPeer
) -> None:
    _, secret = add(world, peer)
    world.set_policy(quorum=2, break_glass_role="emergency")
    key, image_key = alice.create_key()
    grant = alice.request_grant(key.id, uses=2)["id"]
    bob.post(f"/v1/grants/{grant}/approve")
    world.person("cleo").post(f"/v1/grants/{grant}/approve")
    token = alice.get(f"/v1/grants/{grant}").json()["token"]
    assert alice.release(key.id, token).status_code == 200
    assert alice.release(uuid4(), token).status_code == 404
    bob.post(f"/v1/grants/{grant}/revoke")
    bob.post(f"/v1/grants/{grant}/revoke")
    bob.post(f"/v1/grants/{alice.request_grant(key.id)['id']}/deny")
    assert smash(world.person("doctor", roles="emergency"), key.id).status_code == 200

    while deliver(world):
        continue

    assert sorted(peer.events()) == sorted(
        [
            "grant.requested",
            "grant.approved",
            "grant.approved",
            "grant.in_force",
            "grant.released",
            "grant.revoked",
            "grant.requested",
            "grant.denied",
            "grant.break_glass",
            "grant.released",
        ]
    )
    assert waiting(world) == 0
    assert len({received.headers["webhook-id"] for received in peer.received}) == 10
    for received in peer.received:
        assert received.is_signed_with(secret)
        assert not received.is_signed_with(shown_secret(bytes(32)))
        assert received.headers["content-type"] == "application/json"
        assert received.headers["webhook-id"] == str(received.message.id)
        assert received.headers["webhook-timestamp"] == str(world.clock.now)
        assert received.message.grant is not None
        assert received.message.grant.token is None
        for secret_bytes in (token.encode(), alice.token.encode(), image_key.hex().encode()):
            assert secret_bytes not in received.body
    by_event = {received.message.event: received.message for received in peer.received}
    in_force, alarm = by_event[GrantEvent.IN_FORCE], by_event[GrantEvent.BREAK_GLASS]
    assert (in_force.actor, str(in_force.grant.id), in_force.grant.state) == ("cleo", grant, GrantState.APPROVED)
    assert len(in_force.grant.approvals) == 2
    assert (alarm.actor, alarm.key_id, alarm.grant.break_glass) == ("doctor", key.id, True)


def test_what_was_refused_or_undone_is_not_told(world: Any, alice: Any, bob: Any, peer: WebhookPeer) -> None:
    add(world, peer)
    key, _ = alice.create_key()
    assert alice.post("/v1/grants", {"key_ids": [str(uuid4())], "purpose": "x"}).status_code == 404
    grant = alice.request_grant(key.id)["id"]
    assert alice.post(f"/v1/grants/{grant}/approve").status_code == 403
    with world.ports.database.writing() as session:
        session.execute(text("ALTER TABLE audit_nodes RENAME TO audit_nodes_away"))
    assert bob.post(f"/v1/grants/{grant}/approve").status_code == 503
    with world.ports.database.writing() as session:
        session.execute(text("ALTER TABLE audit_nodes_away RENAME TO audit_nodes"))
    assert waiting(world) == 1


def test_each_webhook_of_the_tenant_is_told_and_no_other_tenants(world: Any, alice: Any, peer: WebhookPeer) -> None:
    with running_webhook_peer() as second, running_webhook_peer() as foreign:
        add(world, peer)
        _, secret = add(world, second)
        add(world, foreign, "other")
        alice.request_grant(alice.create_key()[0].id)
        assert deliver(world) == 2
        assert (peer.events(), second.events(), foreign.events()) == (["grant.requested"], ["grant.requested"], [])
        assert second.received[0].is_signed_with(secret)
        assert not peer.received[0].is_signed_with(secret)


def test_a_receiver_that_fails_is_asked_again_later_with_the_same_message(
    world: Any, alice: Any, peer: WebhookPeer
) -> None:
    add(world, peer)
    alice.request_grant(alice.create_key()[0].id)
    peer.statuses = [500, 302, 404]
    peer.headers = {"Location": "/elsewhere"}
    for pause in (FIRST_PAUSE, 2 * FIRST_PAUSE, 4 * FIRST_PAUSE):
        assert deliver(world) == 1
        assert deliver(world) == 0
        world.clock.now += pause - 1
        assert deliver(world) == 0
        world.clock.now += 1
    (info,) = webhooks.list_webhooks(world.ports)
    assert (info.waiting, info.given_up, info.failure) == (1, 0, "the answer has status 404")
    assert deliver(world) == 1
    assert waiting(world) == 0
    assert len(peer.received) == 4
    assert {received.path for received in peer.received} == {"/hook"}
    assert len({received.headers["webhook-id"] for received in peer.received}) == 1
    assert len({received.body for received in peer.received}) == 1
    # Signed anew: receivers refuse timestamps that are minutes old.
    assert len({received.headers["webhook-timestamp"] for received in peer.received}) == 4


def test_pauses_double_up_to_a_bound_and_end_after_three_days() -> None:
    now, attempts, pauses = 0, 1, []
    while (due_at := next_attempt(0, attempts, now)) is not None:
        pauses.append(due_at - now)
        now, attempts = due_at, attempts + 1
    assert pauses[:4] == [5, 10, 20, 40]
    assert max(pauses) == LONGEST_PAUSE
    assert pauses == sorted(pauses)
    assert GIVE_UP_AFTER - LONGEST_PAUSE <= now < GIVE_UP_AFTER
    assert next_attempt(0, 10**6, 0) == LONGEST_PAUSE


def test_a_message_that_never_arrives_is_given_up_kept_for_a_look_and_logged(
    world: Any, alice: Any, peer: WebhookPeer, caplog: pytest.LogCaptureFixture
) -> None:
    # As the worker does: the HTTP client would write addresses.
    logs.silence_chatter()
    webhook_id, secret = add(world, peer)
    alice.request_grant(alice.create_key()[0].id)
    world.clock.now += GIVE_UP_AFTER
    peer.statuses = [503]
    assert [deliver(world), deliver(world)] == [1, 0]
    (info,) = webhooks.list_webhooks(world.ports, "default")
    assert (info.waiting, info.given_up) == (0, 1)
    assert f"webhook {webhook_id}" in caplog.text
    assert "/hook" not in caplog.text
    assert secret not in caplog.text


def test_two_workers_never_send_the_same_message_at_the_same_time(
    world: Any, alice: Any, bob: Any, peer: WebhookPeer
) -> None:
    for _ in range(5):
        add(world, peer)
    key = alice.create_key()[0].id
    for _ in range(6):
        alice.request_grant(key)
    sent: list[str] = []

    async def slowly(_url: str, headers: Mapping[str, str], _body: bytes) -> None:
        sent.append(headers["webhook-id"])
        await asyncio.sleep(0.01)

    def worker(_: int) -> None:
        while asyncio.run(deliver_due(world.ports, slowly)):
            continue

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(worker, range(4)))
    # Whoever found every message in the hands of others has gone home: the rest is for one more.
    worker(4)
    assert len(sent) == len(set(sent)) == 30
    assert waiting(world) == 0


def test_a_slow_receiver_takes_only_a_few_places_in_a_round(world: Any, alice: Any, peer: WebhookPeer) -> None:
    add(world, peer)
    key = alice.create_key()[0].id
    for _ in range(PER_WEBHOOK + 3):
        alice.request_grant(key)
    with running_webhook_peer() as second:
        add(world, second)
        alice.request_grant(key)
        assert deliver(world) == PER_WEBHOOK + 1
        assert second.events() == ["grant.requested"]
    assert len(peer.received) == PER_WEBHOOK


def test_a_message_that_makes_the_worker_stumble_does_not_stop_the_others(
    world: Any, alice: Any, peer: WebhookPeer, caplog: pytest.LogCaptureFixture
) -> None:
    stumbling, _ = add(world, peer)
    add(world, peer)
    with world.ports.database.writing() as session:
        session.get_one(WebhookRow, stumbling).url = "https://secret.example:port/"
    alice.request_grant(alice.create_key()[0].id)

    async def stumble(url: str, headers: Mapping[str, str], body: bytes) -> None:
        if "secret" in url:
            raise RuntimeError(url)
        await send(url, headers, body)

    assert asyncio.run(deliver_due(world.ports, stumble)) == 2
    world.clock.now += FIRST_PAUSE
    assert deliver(world) == 1
    assert (len(peer.received), waiting(world)) == (1, 1)
    (failing,) = [info for info in webhooks.list_webhooks(world.ports) if info.waiting]
    assert failing.failure == "the connection failed: InvalidURL"
    assert "RuntimeError" in caplog.text
    assert "secret" not in caplog.text


def test_a_worker_that_comes_back_too_late_changes_nothing(world: Any, alice: Any, peer: WebhookPeer) -> None:
    """Its lease was over, and another one has the message."""
    add(world, peer)
    alice.request_grant(alice.create_key()[0].id)

    async def stuck(*_: object) -> None:
        world.clock.now += LEASE_SECONDS
        peer.statuses = [500]
        assert await deliver_due(world.ports, send) == 1

    asyncio.run(deliver_due(world.ports, stuck))
    assert waiting(world) == 1
    with world.ports.database.reading() as session:
        assert session.scalars(select(DeliveryRow.attempts)).one() == 2


def test_a_worker_that_is_killed_after_sending_sends_again_with_the_same_id(
    world: Any, settings: Settings, peer: WebhookPeer
) -> None:
    # The worker is a process of its own, with the real clock.
    world.clock.now = int(time.time())
    add(world, peer)
    alice = world.person("alice")
    alice.request_grant(alice.create_key()[0].id)
    peer.waits = True
    environment = os.environ | {"KEYSERVER_DATABASE_URL": settings.url, "KEYSERVER_DATA": str(settings.data)}
    command = [sys.executable, "-m", "keyserver", "webhook", "deliver"]
    with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL) as worker:
        first = peer.arrivals.get(timeout=20)
        worker.send_signal(signal.SIGKILL)
    peer.waits = False
    peer.go.set()

    assert deliver(world) == 0
    world.clock.now = int(time.time()) + LEASE_SECONDS
    assert deliver(world) == 1
    second = peer.arrivals.get(timeout=20)
    assert (second.headers["webhook-id"], second.body) == (first.headers["webhook-id"], first.body)
    assert waiting(world) == 0


def test_a_removed_webhook_hears_nothing_more_and_is_another_tenants_business(
    world: Any, alice: Any, peer: WebhookPeer
) -> None:
    webhook_id, _ = add(world, peer)
    key = alice.create_key()[0].id
    alice.request_grant(key)
    with pytest.raises(NotFound):
        webhooks.remove_webhook(world.ports, "other", webhook_id)
    webhooks.remove_webhook(world.ports, "default", webhook_id)
    alice.request_grant(key)
    assert deliver(world) == 0
    assert peer.received == []
    entries = [json.loads(leaf) for leaf in world.leaves()]
    told = [entry for entry in entries if entry["event"].startswith("webhook")]
    assert [entry["event"] for entry in told] == ["webhook.add.allowed", "webhook.remove.allowed"]
    assert {entry["receiver"] for entry in told} == {peer.url.removesuffix("/hook")}


def test_a_tenant_has_a_bounded_number_of_webhooks(world: Any, peer: WebhookPeer) -> None:
    for _ in range(webhooks.MOST_WEBHOOKS):
        add(world, peer)
    with pytest.raises(Conflict, match="remove one first"):
        add(world, peer)
    add(world, peer, "other")
    with pytest.raises(NotFound):
        add(world, peer, "nobody")


def test_the_secret_lies_wrapped_and_bound_to_its_webhook(world: Any, alice: Any, peer: WebhookPeer) -> None:
    (first, shown), (second, _) = add(world, peer), add(world, peer)
    with world.ports.database.writing() as session:
        row, other = session.get_one(WebhookRow, first), session.get_one(WebhookRow, second)
        assert row.secret != other.secret
        assert webhooks.opened_secret(world.ports, "default", first)[1] not in row.secret
        row.secret, other.secret = other.secret, row.secret
    with pytest.raises(WrapBroken):
        webhooks.opened_secret(world.ports, "default", first)
    alice.request_grant(alice.create_key()[0].id)
    assert deliver(world) == 2
    assert peer.received == []
    assert waiting(world) == 2
    assert shown not in repr(webhooks.list_webhooks(world.ports))


def test_secrets_move_with_the_keks_to_another_root(world: Any, peer: WebhookPeer) -> None:
    webhook_id, shown = add(world, peer)
    new = FileRoot(b"n" * 32, os.urandom)
    keks.move_root(world.ports, new, "file to file")
    with pytest.raises(WrapBroken):
        webhooks.opened_secret(world.ports, "default", webhook_id)
    moved = type(world.ports)(**{**vars(world.ports), "root": new})
    assert shown_secret(webhooks.opened_secret(moved, "default", webhook_id)[1]) == shown


def test_a_webhook_that_is_added_while_the_root_moves_stops_the_move(
    world: Any, peer: WebhookPeer, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(world, peer)

    class Meddling(FileRoot):
        def unwrap(self, wrapped: bytes, context: bytes) -> bytes:
            if not meddled:
                meddled.append(add(world, peer))
            return super().unwrap(wrapped, context)

    meddled: list[object] = []
    with pytest.raises(Conflict, match="meanwhile"):
        keks.move_root(world.ports, Meddling(b"n" * 32, os.urandom), "file to file")
    assert all(webhooks.opened_secret(world.ports, "default", hook.id) for hook in webhooks.list_webhooks(world.ports))
