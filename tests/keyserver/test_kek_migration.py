"""The revision that lets KEKs be destroyed, up and down with rows in the tables, on both databases."""

from __future__ import annotations

from uuid import uuid4

from sqlalchemy import Connection, inspect, text

from keyserver.store import schema
from keyserver.store.database import Database


def rows(database: Database) -> list[tuple[object, ...]]:
    with database.engine.connect() as connection:
        return [tuple(row) for row in connection.execute(text("SELECT tenant, epoch, wrapped FROM keks"))]


def test_keks_with_keys_on_them_go_up_down_and_up_again(empty_database: Database) -> None:
    schema.upgrade(empty_database, "0002")
    with empty_database.writing_connection() as connection:
        fill(connection)
    before = rows(empty_database)
    for revision, expected in (("0003", True), ("0002", False), ("0003", True)):
        move = schema.upgrade if expected else schema.downgrade
        move(empty_database, revision)
        assert rows(empty_database) == before
        with empty_database.engine.connect() as connection:
            found = inspect(connection)
            assert ("destroyed_at" in {column["name"] for column in found.get_columns("keks")}) is expected
            checks = {check["name"] for check in found.get_check_constraints("keks")}
            assert ("ck_keks_destroyed" in checks) is expected
            assert connection.execute(text("SELECT count(*) FROM image_keys")).scalar() == 1


def test_a_server_of_the_previous_revision_still_adds_keks(empty_database: Database) -> None:
    schema.upgrade(empty_database, "0003")
    with empty_database.writing_connection() as connection:
        fill(connection)
    with empty_database.engine.connect() as connection:
        assert connection.execute(text("SELECT destroyed_at FROM keks")).scalar() is None


def fill(connection: Connection) -> None:
    """A tenant, its KEK and a key, as a server of revision 0002 writes them."""
    connection.execute(text("INSERT INTO tenants (name, created_at) VALUES ('default', 1)"))
    insert = text("INSERT INTO keks (tenant, epoch, wrapped, created_at) VALUES ('default', 1, :wrapped, 1)")
    connection.execute(insert, {"wrapped": b"w" * 60})
    columns = "id, tenant, state, created_at, created_by, labels, kek_epoch, suite, wrapped"
    values = ":id, 'default', 'active', 1, 'alice', '{}', 1, 'A256GCM', :wrapped"
    key_id = uuid4().hex if connection.dialect.name == "sqlite" else str(uuid4())
    insert = text(f"INSERT INTO image_keys ({columns}) VALUES ({values})")  # noqa: S608
    connection.execute(insert, {"id": key_id, "wrapped": b"w" * 60})
