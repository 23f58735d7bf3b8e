"""The revision of destruction, labels and perceptual hashes, up and down with rows, on both databases."""

from __future__ import annotations

import json
from uuid import UUID, uuid4

from sqlalchemy import Connection, inspect, select, text

from keyserver.store import schema
from keyserver.store.database import Database
from keyserver.store.tables import KeyLabelRow, KeyRow

BEFORE, HERE = "0003", "0005"
LABELS = {"album": "summer", "a:b": "c/d", "year": "2026"}
NAMES = {"image_keys_tenant_sealed_digest", "image_keys_destruction_due_at"}


def keys(database: Database) -> list[tuple[object, ...]]:
    with database.engine.connect() as connection:
        columns = "id, tenant, state, created_at, created_by, sealed_digest, kek_epoch, suite, wrapped"
        return [tuple(row) for row in connection.execute(text(f"SELECT {columns} FROM image_keys ORDER BY id"))]  # noqa: S608


def fill(connection: Connection, key_ids: dict[UUID, dict[str, str]]) -> None:
    """Keys with these labels, and a grant for one of them, as a server of the revision before writes them."""
    sqlite = connection.dialect.name == "sqlite"
    columns = "id, tenant, state, created_at, created_by, labels, kek_epoch, suite, wrapped"
    values = ":id, 'default', 'active', 5, 'alice', :labels, 1, 'A256GCM', :wrapped"
    for key_id, labels in key_ids.items():
        row = {"id": key_id.hex if sqlite else str(key_id), "labels": json.dumps(labels), "wrapped": b"w" * 60}
        connection.execute(text(f"INSERT INTO image_keys ({columns}) VALUES ({values})"), row)  # noqa: S608


def start(database: Database) -> dict[UUID, dict[str, str]]:
    schema.upgrade(database, BEFORE)
    made: dict[UUID, dict[str, str]] = {uuid4(): LABELS, uuid4(): {}, uuid4(): {"album": "winter"}}
    with database.writing_connection() as connection:
        connection.execute(text("INSERT INTO tenants (name, created_at) VALUES ('default', 1)"))
        kek = text("INSERT INTO keks (tenant, epoch, wrapped, created_at) VALUES ('default', 1, :wrapped, 1)")
        connection.execute(kek, {"wrapped": b"w" * 60})
        fill(connection, made)
        sqlite = connection.dialect.name == "sqlite"
        grant, key_id = ((each.hex if sqlite else str(each)) for each in (uuid4(), next(iter(made))))
        columns = "id, tenant, state, purpose, requested_by, requested_at, valid_for, uses_left"
        values = ":id, 'default', 'pending', 'p', 'rita', 1, 1, 1"
        connection.execute(text(f"INSERT INTO grants ({columns}) VALUES ({values})"), {"id": grant})  # noqa: S608
        named = text("INSERT INTO grant_keys (grant_id, key_id, position) VALUES (:grant, :key, 0)")
        connection.execute(named, {"grant": grant, "key": key_id})
    return made


def labels_of(database: Database) -> dict[UUID, dict[str, str]]:
    found: dict[UUID, dict[str, str]] = {}
    with database.reading() as session:
        for row in session.scalars(select(KeyLabelRow)):
            found.setdefault(row.key_id, {})[row.name] = row.value
            assert (row.tenant, row.created_at) == ("default", 5)
    return found


def test_keys_with_labels_and_grants_go_up_down_and_up_again(empty_database: Database) -> None:
    made = start(empty_database)
    before = keys(empty_database)
    for revision in (HERE, BEFORE, HERE):
        move = schema.upgrade if revision == HERE else schema.downgrade
        move(empty_database, revision)
        assert keys(empty_database) == before
        with empty_database.engine.connect() as connection:
            found = inspect(connection)
            present = revision == HERE
            columns = {column["name"] for column in found.get_columns("image_keys")}
            assert ({"destruction_due_at", "destroyed_at"} <= columns) is present
            checks = {check["name"] for check in found.get_check_constraints("image_keys")}
            assert ("ck_image_keys_destroyed" in checks) is present
            assert "ck_image_keys_state" in checks
            assert ({"key_labels", "photo_hashes"} <= set(found.get_table_names())) is present
            indexes = {str(index["name"]).removeprefix("ix_") for index in found.get_indexes("image_keys")}
            assert (indexes >= NAMES) is present
            assert connection.execute(text("SELECT count(*) FROM grant_keys")).scalar() == 1
    assert labels_of(empty_database) == {key_id: labels for key_id, labels in made.items() if labels}


def test_a_server_of_the_previous_revision_still_adds_keys(empty_database: Database) -> None:
    start(empty_database)
    schema.upgrade(empty_database, HERE)
    key_id = uuid4()
    with empty_database.writing_connection() as connection:
        fill(connection, {key_id: LABELS})
    with empty_database.reading() as session:
        row = session.get_one(KeyRow, key_id)
        assert (row.destruction_due_at, row.destroyed_at, row.labels) == (None, None, LABELS)
