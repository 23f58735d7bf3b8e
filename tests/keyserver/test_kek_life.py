"""KEKs rotated, emptied, destroyed and moved to another root, while keys are made and released."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from image_keys import add_keys, opened
from sqlalchemy import select, text, update

from faceseal.keytransport import open_key, release_info
from faceseal.wire import KeyState, Released
from keyserver import installation, keywrap
from keyserver.errors import Conflict, NotFound, StoreUnavailable, WrapBroken
from keyserver.keywrap import FileRoot
from keyserver.service import keks
from keyserver.service.ports import Ports
from keyserver.settings import Settings
from keyserver.store.tables import KekRow, KeyRow


def epochs(ports: Ports, tenant: str = "default") -> list[tuple[int, str, int, int]]:
    return [(kek.epoch, kek.state.value, kek.keys, kek.destroyed_keys) for kek in keks.list_keks(ports, tenant)]


def destroy_keys(ports: Ports, key_ids: Any) -> None:
    with ports.database.writing() as session:
        session.execute(update(KeyRow).where(KeyRow.id.in_(list(key_ids))).values(state=KeyState.DESTROYED))


def entries(world: Any, event: str) -> list[dict[str, Any]]:
    return [entry for entry in map(json.loads, world.leaves()) if entry["event"] == event]


@pytest.fixture
def ports(world: Any) -> Ports:
    found: Ports = world.ports
    return found


def test_after_a_rotation_new_keys_use_the_new_epoch_and_old_ones_still_open(world: Any, ports: Ports) -> None:
    alice, bob = world.person("alice"), world.person("bob")
    old, old_image_key = alice.create_key()
    assert keks.rotate(ports, "default") == 2
    new, new_image_key = alice.create_key()
    assert epochs(ports) == [(1, "retired", 1, 0), (2, "current", 1, 0)]
    assert epochs(ports, "other") == [(1, "current", 0, 0)]
    assert opened(ports, [old.id, new.id]) == {old.id: old_image_key, new.id: new_image_key}
    _, token = world.grant_token(alice, bob, old.id)
    assert alice.release(old.id, token).status_code == 200
    (entry,) = entries(world, "kek.rotate.allowed")
    assert (entry["actor"], entry["tenant"], entry["kek_epoch"]) == ("(operator)", "default", 2)


def test_two_rotations_at_once_give_one_epoch_each_or_a_conflict(ports: Ports) -> None:
    def attempt(_: int) -> int | None:
        try:
            return keks.rotate(ports, "default")
        except Conflict:
            return None

    with ThreadPoolExecutor(6) as threads:
        got = [epoch for epoch in threads.map(attempt, range(6)) if epoch is not None]
    assert sorted(got) == list(range(2, 2 + len(got)))
    assert [epoch for epoch, *_ in epochs(ports)] == list(range(1, 2 + len(got)))


def test_a_server_with_another_root_does_not_rotate(ports: Ports) -> None:
    with pytest.raises(WrapBroken):
        keks.rotate(replace(ports, root=FileRoot(os.urandom(32), os.urandom)), "default")
    assert epochs(ports) == [(1, "current", 0, 0)]


def test_a_rewrap_moves_every_key_once_and_says_so_in_the_log(world: Any, ports: Ports) -> None:
    first = add_keys(ports, 7)
    keks.rotate(ports, "default")
    second = add_keys(ports, 5)
    theirs = add_keys(ports, 3, "other")
    keks.rotate(ports, "default")
    with ports.database.reading() as session:
        before = {row.id: row.wrapped for row in session.scalars(select(KeyRow))}

    progress = list(keks.rewrap(ports, "default", batch=4))

    assert [(step.moved, step.total, step.broken) for step in progress] == [(n, 12, 0) for n in (0, 4, 8, 12)]
    assert epochs(ports) == [(1, "retired", 0, 0), (2, "retired", 0, 0), (3, "current", 12, 0)]
    assert opened(ports, first | second | theirs) == first | second | theirs
    with ports.database.reading() as session:
        after = {row.id: row.wrapped for row in session.scalars(select(KeyRow))}
    assert {key_id for key_id in before if before[key_id] == after[key_id]} == set(theirs)
    logged = entries(world, "kek.rewrap.allowed")
    assert [(entry["kek_epoch"], entry["count"], entry["from_epochs"]) for entry in logged] == [
        (3, 4, [1]),
        (3, 4, [1, 2]),
        (3, 4, [2]),
    ]
    assert [step.moved for step in keks.rewrap(ports, "default")] == [0]
    assert len(entries(world, "kek.rewrap.allowed")) == 3


def test_a_rewrap_that_is_stopped_between_batches_goes_on(ports: Ports) -> None:
    made = add_keys(ports, 10)
    keks.rotate(ports, "default")
    going = keks.rewrap(ports, "default", batch=3)
    assert [next(going).moved for _ in range(3)] == [0, 3, 6]
    going.close()  # type: ignore[attr-defined]
    assert epochs(ports) == [(1, "retired", 4, 0), (2, "current", 6, 0)]
    assert opened(ports, made) == made
    assert [step.moved for step in keks.rewrap(ports, "default", batch=3)] == [0, 3, 4]
    assert opened(ports, made) == made


def test_suspended_keys_move_too_and_destroyed_ones_stay_to_be_shredded(ports: Ports) -> None:
    made = add_keys(ports, 3)
    suspended, scheduled, destroyed = made
    with ports.database.writing() as session:
        for key_id, state in ((suspended, KeyState.SUSPENDED), (scheduled, KeyState.DESTRUCTION_SCHEDULED)):
            session.get_one(KeyRow, key_id).state = state
    destroy_keys(ports, [destroyed])
    keks.rotate(ports, "default")
    list(keks.rewrap(ports, "default"))
    assert epochs(ports) == [(1, "retired", 0, 1), (2, "current", 2, 0)]
    assert opened(ports, [suspended, scheduled]) == {key: made[key] for key in (suspended, scheduled)}


def test_a_key_that_was_tampered_with_is_counted_and_holds_nobody_up(world: Any, ports: Ports) -> None:
    made = add_keys(ports, 6)
    broken = sorted(made)[2]
    with ports.database.writing() as session:
        row = session.get_one(KeyRow, broken)
        row.wrapped = row.wrapped[:-1] + bytes([row.wrapped[-1] ^ 1])
    keks.rotate(ports, "default")
    last = list(keks.rewrap(ports, "default", batch=2))[-1]
    assert (last.moved, last.broken) == (5, 1)
    (entry,) = entries(world, "kek.rewrap.failed")
    assert (entry["count"], entry["reason"]) == (1, "wrapped keys do not open")
    assert epochs(ports) == [(1, "retired", 1, 0), (2, "current", 5, 0)]
    with pytest.raises(Conflict, match="1 keys"):
        keks.destroy(ports, "default", 1)


def test_releases_during_a_rewrap_succeed_and_give_the_right_keys(world: Any, ports: Ports) -> None:
    alice, bob = world.person("alice"), world.person("bob")
    held = [alice.create_key() for _ in range(4)]
    made = add_keys(ports, 120)
    grant_id, token = world.grant_token(alice, bob, *(key.id for key, _ in held), uses=1000)
    statuses, wrong = [], []
    for _ in range(3):
        keks.rotate(ports, "default")
        with ThreadPoolExecutor(1) as thread:
            rewrapping = thread.submit(lambda: list(keks.rewrap(ports, "default", batch=6)))
            while not rewrapping.done():
                for key, image_key in held:
                    mine = X25519PrivateKey.generate()
                    answer = alice.release(key.id, token, mine)
                    statuses.append(answer.status_code)
                    released = Released.model_validate_json(answer.content)
                    if open_key(released.sealed_key, mine, release_info(key.id, UUID(grant_id))) != image_key:
                        wrong.append(key.id)
            assert rewrapping.result()[-1].broken == 0
    assert set(statuses) == {200}
    assert wrong == []
    assert opened(ports, made) == made
    assert epochs(ports)[-1] == (4, "current", 124, 0)


def test_keys_made_during_rotations_rewraps_and_destructions_are_never_lost(world: Any, ports: Ports) -> None:
    alice = world.person("alice")

    def make(_: int) -> tuple[UUID, bytes]:
        key, image_key = alice.create_key()
        return key.id, image_key

    refusals: list[str] = []

    def turn(_: int) -> None:
        epoch = keks.rotate(ports, "default")
        list(keks.rewrap(ports, "default", batch=5))
        try:
            keks.destroy(ports, "default", epoch - 1)
        except Conflict as cause:
            # A key was made in that very moment: it holds its KEK.
            refusals.append(str(cause))

    with ThreadPoolExecutor(5) as threads:
        making = threads.map(make, range(60))
        turns = [threads.submit(lambda: [turn(number) for number in range(5)])]
        made = dict(making)
        for each in turns:
            each.result()
    assert all("hang on" in refusal for refusal in refusals)
    assert [state for _, state, _, _ in epochs(ports)].count("destroyed") == 5 - len(refusals)
    assert opened(ports, made) == made


def test_a_kek_is_destroyed_only_when_nothing_alive_hangs_on_it(world: Any, ports: Ports) -> None:
    made = add_keys(ports, 5)
    shredded = sorted(made)[:2]
    with pytest.raises(Conflict, match="current"):
        keks.destroy(ports, "default", 1)
    keks.rotate(ports, "default")
    with pytest.raises(Conflict, match="5 keys that are not destroyed"):
        keks.destroy(ports, "default", 1)
    destroy_keys(ports, shredded)
    with pytest.raises(Conflict, match="3 keys that are not destroyed"):
        keks.destroy(ports, "default", 1)
    list(keks.rewrap(ports, "default"))
    assert keks.destroy(ports, "default", 1) == 2
    assert epochs(ports) == [(1, "destroyed", 0, 2), (2, "current", 3, 0)]
    (certificate,) = entries(world, "kek.destroy.allowed")
    named = ("actor", "tenant", "kek_epoch", "count")
    assert tuple(certificate[name] for name in named) == ("(operator)", "default", 1, 2)
    with pytest.raises(Conflict, match="destroyed already"):
        keks.destroy(ports, "default", 1)
    assert len(entries(world, "kek.destroy.allowed")) == 1
    survivors = {key: made[key] for key in made if key not in shredded}
    assert opened(ports, survivors) == survivors
    with pytest.raises(WrapBroken, match="destroyed"):
        opened(ports, shredded)


@pytest.mark.parametrize(("tenant", "epoch"), [("default", 2), ("nobody", 1), ("default", 0)])
def test_a_kek_that_is_not_there_is_not_destroyed(ports: Ports, tenant: str, epoch: int) -> None:
    with pytest.raises(NotFound):
        keks.destroy(ports, tenant, epoch)


@pytest.mark.parametrize(
    "act",
    [
        lambda ports: keks.rotate(ports, "nobody"),
        lambda ports: list(keks.rewrap(ports, "nobody")),
        lambda ports: keks.list_keks(ports, "nobody"),
    ],
    ids=["rotate", "rewrap", "list"],
)
def test_a_tenant_that_is_not_there_is_not_made(ports: Ports, act: Callable[[Ports], object]) -> None:
    with pytest.raises(NotFound):
        act(ports)


def test_old_rows_from_a_backup_do_not_open_once_their_kek_is_destroyed(world: Any, ports: Ports) -> None:
    alice, bob = world.person("alice"), world.person("bob")
    key, _ = alice.create_key()
    _, token = world.grant_token(alice, bob, key.id, uses=9)
    assert alice.release(key.id, token).status_code == 200
    with ports.database.reading() as session:
        backup = session.get_one(KeyRow, key.id).wrapped
    keks.rotate(ports, "default")
    list(keks.rewrap(ports, "default"))
    keks.destroy(ports, "default", 1)
    assert alice.release(key.id, token).status_code == 200
    # Somebody plants the old row, under its old epoch and under the new one.
    for epoch in (1, 2):
        with ports.database.writing() as session:
            planted = session.get_one(KeyRow, key.id)
            planted.wrapped, planted.kek_epoch = backup, epoch
        answer = alice.release(key.id, token)
        assert answer.status_code == 503
        assert json.loads(world.leaves()[-1])["event"] == "release.failed"


def test_a_destroyed_kek_is_closed_at_once_to_a_replica_that_has_used_it(
    settings: Settings, world: Any, ports: Ports
) -> None:
    made = add_keys(ports, 1)
    # A replica whose cache never forgets.
    replica = installation.open_ports(settings)
    replica = replace(replica, root=keywrap.CachedRoot(replica.root, lambda: 0.0, 1e9))
    assert opened(replica, made) == made
    keks.rotate(ports, "default")
    destroy_keys(ports, made)
    keks.destroy(ports, "default", 1)
    with pytest.raises(WrapBroken, match="destroyed"):
        opened(replica, made)
    replica.database.close()


def test_wrapped_bytes_of_another_tenant_epoch_or_key_do_not_open(ports: Ports) -> None:
    mine, theirs = add_keys(ports, 2), add_keys(ports, 1, "other")
    keks.rotate(ports, "default")
    newer = add_keys(ports, 1)
    one, two = mine
    with ports.database.reading() as session:
        wrapped = {row.id: row.wrapped for row in session.scalars(select(KeyRow))}
    for source in (two, *theirs, *newer):
        with ports.database.writing() as session:
            session.get_one(KeyRow, one).wrapped = wrapped[source]
        with pytest.raises(WrapBroken):
            opened(ports, [one])
    with ports.database.writing() as session:
        row = session.get_one(KeyRow, one)
        row.wrapped, row.kek_epoch = wrapped[one], 2
    with pytest.raises(WrapBroken):
        opened(ports, [one])


def test_swapped_keks_of_two_epochs_do_not_open(ports: Ports) -> None:
    made = add_keys(ports, 1)
    keks.rotate(ports, "default")
    with ports.database.writing() as session:
        first, second = (session.get_one(KekRow, ("default", epoch)) for epoch in (1, 2))
        first.wrapped, second.wrapped = second.wrapped, first.wrapped
    with pytest.raises(WrapBroken):
        opened(ports, made)
    with pytest.raises(WrapBroken):
        list(keks.rewrap(ports, "default"))


def test_the_database_itself_refuses_a_destroyed_kek_that_still_has_its_bytes(ports: Ports) -> None:
    def spoil() -> None:
        with ports.database.writing() as session:
            session.execute(text("UPDATE keks SET destroyed_at = 1"))

    with pytest.raises(StoreUnavailable):
        spoil()
