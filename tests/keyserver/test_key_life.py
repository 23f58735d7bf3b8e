"""Keys suspended, resumed and destroyed over HTTP and by command, with releases going on."""

from __future__ import annotations

import secrets
import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from image_keys import add_keys
from pydantic import ValidationError
from sqlalchemy import text, update

from faceseal.wire import KeyState, Release
from keyserver import cli, installation
from keyserver.errors import AccessDenied, StoreUnavailable
from keyserver.policy import Caller
from keyserver.service import keylife
from keyserver.service.release import Releases
from keyserver.settings import Settings
from keyserver.store.tables import KeyRow

WEEK = 7 * 86400


@pytest.fixture
def admin(world: Any) -> Any:
    return world.person("root", "keys:admin")


def state(world: Any, key_id: object) -> KeyRow:
    with world.ports.database.reading() as session:
        row: KeyRow = session.get_one(KeyRow, key_id)
        return row


def destroy_due(world: Any) -> int:
    return sum(keylife.destroy_due(world.ports))


def entries(world: Any, event: str) -> list[dict[str, Any]]:
    return [entry for entry in world.entries() if entry["event"] == event]


def test_a_suspended_key_is_released_again_once_it_is_resumed(world: Any, alice: Any, bob: Any, admin: Any) -> None:
    key, _ = alice.create_key()
    _, token = world.grant_token(alice, bob, key.id, uses=5)
    for _ in range(2):
        assert admin.post(f"/v1/keys/{key.id}/suspend").json()["state"] == "suspended"
    assert alice.release(key.id, token).status_code == 403
    for _ in range(2):
        assert admin.post(f"/v1/keys/{key.id}/resume").json()["state"] == "active"
    assert alice.release(key.id, token).status_code == 200
    assert len(entries(world, "key.revoke.allowed")) == len(entries(world, "key.resume.allowed")) == 1


def test_a_key_is_destroyed_after_the_waiting_period_and_not_before(
    world: Any, alice: Any, bob: Any, admin: Any
) -> None:
    key, _ = alice.create_key()
    _, token = world.grant_token(alice, bob, key.id, uses=5, valid_for=30 * 86400)
    due = world.clock.now + WEEK
    shown = admin.post(f"/v1/keys/{key.id}/schedule-destruction").json()
    assert (shown["state"], shown["destruction_due_at"]) == ("destruction_scheduled", due)
    assert alice.release(key.id, token).status_code == 403
    world.clock.now += 10
    assert admin.post(f"/v1/keys/{key.id}/schedule-destruction").json()["destruction_due_at"] == due
    world.clock.now = due - 1
    assert destroy_due(world) == 0
    world.clock.now = due
    assert destroy_due(world) == 1
    assert destroy_due(world) == 0
    shown = alice.get(f"/v1/keys/{key.id}").json()
    assert (shown["state"], shown["destruction_due_at"]) == ("destroyed", due)
    row = state(world, key.id)
    assert (row.wrapped, row.destroyed_at) == (b"", due)
    assert alice.release(key.id, token).status_code == 403
    (scheduled,), (destroyed,) = (
        entries(world, "key.schedule_destruction.allowed"),
        entries(world, "key.destroy.allowed"),
    )
    assert (scheduled["key"], scheduled["due_at"], scheduled["actor"]) == (str(key.id), due, "root")
    assert (destroyed["key"], destroyed["tenant"], destroyed["actor"]) == (str(key.id), "default", "(operator)")


def test_a_cancelled_destruction_leaves_a_suspended_key_that_does_not_become_due(
    world: Any, alice: Any, bob: Any, admin: Any
) -> None:
    key, _ = alice.create_key()
    _, token = world.grant_token(alice, bob, key.id, uses=5, valid_for=30 * 86400)
    admin.post(f"/v1/keys/{key.id}/schedule-destruction")
    shown = admin.post(f"/v1/keys/{key.id}/cancel-destruction").json()
    assert (shown["state"], shown["destruction_due_at"]) == ("suspended", None)
    assert alice.release(key.id, token).status_code == 403
    world.clock.now += 2 * WEEK
    assert destroy_due(world) == 0
    admin.post(f"/v1/keys/{key.id}/resume")
    assert alice.release(key.id, token).status_code == 200


def test_what_is_due_cannot_be_saved_any_more_even_if_nobody_has_emptied_it(
    world: Any, alice: Any, bob: Any, admin: Any
) -> None:
    key, _ = alice.create_key()
    _, token = world.grant_token(alice, bob, key.id, uses=5, valid_for=30 * 86400)
    admin.post(f"/v1/keys/{key.id}/schedule-destruction")
    world.clock.now += WEEK
    for verb in ("cancel-destruction", "resume", "suspend"):
        answer = admin.post(f"/v1/keys/{key.id}/{verb}")
        assert (answer.status_code, answer.json()["type"]) == (409, "urn:faceseal:problem:conflict")
    with world.ports.database.writing() as session:
        session.execute(update(KeyRow).where(KeyRow.id == key.id).values(state=KeyState.ACTIVE))
    assert admin.post(f"/v1/keys/{key.id}/resume").status_code == 409
    assert alice.release(key.id, token).status_code == 403


def test_a_denied_release_of_a_destroyed_key_reads_like_every_other_denial(
    world: Any, alice: Any, bob: Any, admin: Any
) -> None:
    suspended, destroyed = alice.create_key()[0], alice.create_key()[0]
    _, token = world.grant_token(alice, bob, suspended.id, destroyed.id, uses=5, valid_for=30 * 86400)
    admin.post(f"/v1/keys/{suspended.id}/suspend")
    admin.post(f"/v1/keys/{destroyed.id}/schedule-destruction")
    world.clock.now += WEEK
    destroy_due(world)
    one, other = alice.release(suspended.id, token), alice.release(destroyed.id, token)
    assert (one.status_code, one.content) == (other.status_code, other.content)


def test_another_tenants_administrator_changes_no_state(world: Any, alice: Any) -> None:
    key, _ = alice.create_key()
    stranger = world.person("root", "keys:admin", tenant="other")
    for verb in ("suspend", "resume", "schedule-destruction", "cancel-destruction", "revoke"):
        foreign, unknown = (stranger.post(f"/v1/keys/{each}/{verb}") for each in (key.id, uuid4()))
        assert foreign.status_code == 404
        assert foreign.content == unknown.content
    assert alice.get(f"/v1/keys/{key.id}").json()["state"] == "active"


@pytest.mark.parametrize("verb", ["suspend", "resume", "schedule-destruction", "cancel-destruction"])
def test_who_may_only_create_and_release_changes_no_state(world: Any, alice: Any, verb: str) -> None:
    key, _ = alice.create_key()
    camera = world.person("alice", "keys:create keys:release grants:request grants:approve audit:read")
    assert camera.post(f"/v1/keys/{key.id}/{verb}").status_code == 403
    assert alice.get(f"/v1/keys/{key.id}").json()["state"] == "active"


def test_due_keys_of_all_tenants_are_destroyed_in_batches(world: Any) -> None:
    made = [*add_keys(world.ports, 5), *add_keys(world.ports, 4, "other")]
    kept = list(add_keys(world.ports, 1))
    scheduled = {"state": KeyState.DESTRUCTION_SCHEDULED, "destruction_due_at": world.clock.now}
    with world.ports.database.writing() as session:
        session.execute(update(KeyRow).where(KeyRow.id.in_(made)).values(**scheduled))
    assert list(keylife.destroy_due(world.ports, batch=4)) == [4, 4, 1]
    assert {entry["key"] for entry in entries(world, "key.destroy.allowed")} == {str(key_id) for key_id in made}
    assert state(world, kept[0]).wrapped


def test_the_database_itself_refuses_a_destroyed_key_that_still_has_its_bytes(world: Any) -> None:
    (key_id,) = add_keys(world.ports, 1)

    def cheat() -> None:
        with world.ports.database.writing() as session:
            session.execute(text("UPDATE image_keys SET destroyed_at = 1"))

    with pytest.raises(StoreUnavailable):
        cheat()
    assert state(world, key_id).destroyed_at is None


def newly_proven(caller: Caller) -> Caller:
    """The same caller with a proof that was not used; its token is not looked at again, whatever the clock says."""
    assert caller.proof is not None
    return replace(caller, proof=replace(caller.proof, jti=secrets.token_urlsafe(16)))


def test_after_a_destruction_is_acknowledged_no_release_ever_succeeds(world: Any, alice: Any, bob: Any) -> None:
    """Rounds of releases by eight threads, with the scheduling, and then the destruction, among them."""
    releasing, changing = alice.caller(), bob.caller()
    recipient = X25519PrivateKey.generate().public_key().public_bytes_raw()
    for _ in range(6):
        key, _ = alice.create_key()
        _, token = world.grant_token(alice, bob, key.id, uses=1000, valid_for=30 * 86400)
        replicas = [Releases(world.ports), Releases(world.ports)]
        acknowledged = []

        def attempt(
            number: int, key: Any = key, token: str = token, replicas: Any = replicas, done: Any = acknowledged
        ) -> str:
            if number == 6:
                keylife.schedule_destruction(world.ports, newly_proven(changing), key.id)
                done.append("scheduled")
                world.clock.now += WEEK
                destroyed = sum(keylife.destroy_due(world.ports))
                return f"destroyed {destroyed}"
            too_late = bool(done)
            try:
                replicas[number % 2].release(newly_proven(releasing), key.id, Release(grant=token, recipient=recipient))
            except AccessDenied:
                return "denied"
            return "too late" if too_late else "released"

        assert attempt(1) == "released"
        with ThreadPoolExecutor(8) as threads:
            outcomes = list(threads.map(attempt, range(24)))
        assert outcomes[6] == "destroyed 1"
        assert "too late" not in outcomes
        assert attempt(2) == "denied"
        events = [entry["event"] for entry in world.entries() if entry.get("key") == str(key.id)]
        gone = events.index("key.schedule_destruction.allowed")
        assert "release.allowed" in events[:gone]
        assert "release.allowed" not in events[gone:]
        world.clock.now -= WEEK


def test_two_operators_who_destroy_at_once_destroy_each_key_once(world: Any) -> None:
    made = list(add_keys(world.ports, 30))
    scheduled = {"state": KeyState.DESTRUCTION_SCHEDULED, "destruction_due_at": world.clock.now}
    with world.ports.database.writing() as session:
        session.execute(update(KeyRow).where(KeyRow.id.in_(made)).values(**scheduled))
    with ThreadPoolExecutor(4) as threads:
        counts = list(threads.map(lambda _: sum(keylife.destroy_due(world.ports, batch=7)), range(4)))
    assert sum(counts) == len(entries(world, "key.destroy.allowed")) == 30


def test_sqlites_files_no_longer_hold_a_wrapped_key_that_was_destroyed(sqlite_template: Path, tmp_path: Path) -> None:
    settings = Settings(data=shutil.copytree(sqlite_template, tmp_path / "data"))
    ports = installation.open_ports(settings)
    (key_id,) = add_keys(ports, 1)
    with ports.database.writing() as session:
        wrapped = session.get_one(KeyRow, key_id).wrapped
        session.execute(update(KeyRow).values(state=KeyState.DESTRUCTION_SCHEDULED, destruction_due_at=1))
    assert any(wrapped in path.read_bytes() for path in settings.data.iterdir())
    assert sum(keylife.destroy_due(ports)) == 1
    assert not any(wrapped in path.read_bytes() for path in settings.data.iterdir())
    ports.database.close()


def test_the_command_destroys_what_is_due(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("KEYSERVER_DATABASE_URL", settings.url)
    ports = installation.open_ports(settings)
    add_keys(ports, 2)
    with ports.database.writing() as session:
        session.execute(update(KeyRow).values(state=KeyState.DESTRUCTION_SCHEDULED, destruction_due_at=1))
    ports.database.close()
    for line in ("2 keys are destroyed", "0 keys are destroyed"):
        assert cli.main(["key", "destroy-due", "--data", str(settings.data)]) == 0
        assert capsys.readouterr().out.strip() == line


@pytest.mark.parametrize("seconds", [0, 3599, 365 * 86400 + 1])
def test_the_waiting_period_is_bounded(seconds: int) -> None:
    with pytest.raises(ValidationError):
        Settings(destruction_wait_seconds=seconds)
