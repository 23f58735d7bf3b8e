"""The revision that binds grants to keys, up and down with grants in the tables, on both databases."""

from __future__ import annotations

from uuid import uuid4

from sqlalchemy import Connection, inspect, select, text

from faceseal.wire import GrantState
from keyserver.policy import grant_state
from keyserver.service.facts import grant_facts
from keyserver.store import schema
from keyserver.store.database import Database
from keyserver.store.tables import GrantRow

NOW = 1_800_000_000
KEPT = "tenant, state, purpose, requested_by, requested_at, valid_for, uses_left, decided_by, expires_at"


def rows(database: Database) -> list[tuple[object, ...]]:
    with database.engine.connect() as connection:
        return [tuple(row) for row in connection.execute(text(f"SELECT {KEPT} FROM grants"))]  # noqa: S608 - a constant


def test_grants_go_up_down_and_up_again_and_lose_nothing_but_their_key(empty_database: Database) -> None:
    schema.upgrade(empty_database, "0003")
    with empty_database.writing_connection() as connection:
        add_tenant(connection)
        add_grant(connection)
    before = rows(empty_database)
    assert len(before) == 1
    for revision, expected in (("0004", True), ("0003", False), ("0004", True)):
        move = schema.upgrade if expected else schema.downgrade
        move(empty_database, revision)
        assert rows(empty_database) == before
        with empty_database.engine.connect() as connection:
            found = {column["name"]: column for column in inspect(connection).get_columns("grants")}
            assert ("jkt" in found) is expected
            if expected:
                assert found["jkt"]["nullable"]
                connection.execute(text("UPDATE grants SET jkt = :jkt"), {"jkt": "j" * 43})
                connection.commit()


def test_a_grant_that_a_server_of_the_previous_revision_adds_has_ended_for_this_one(empty_database: Database) -> None:
    schema.upgrade(empty_database)
    with empty_database.writing_connection() as connection:
        add_tenant(connection)
        add_grant(connection)
    with empty_database.reading() as session:
        [row] = session.scalars(select(GrantRow)).all()
        assert row.jkt is None
        assert grant_state(grant_facts(row), NOW) is GrantState.EXPIRED


def add_tenant(connection: Connection) -> None:
    connection.execute(text("INSERT INTO tenants (name, created_at) VALUES ('default', 1)"))


def add_grant(connection: Connection) -> None:
    """An approved grant with uses and time left, as a server of revision 0003 writes it."""
    values = f":id, 'default', 'approved', 'court order 17', 'alice', {NOW}, 600, 5, 'bob', {NOW + 600}"
    grant_id = uuid4().hex if connection.dialect.name == "sqlite" else str(uuid4())
    connection.execute(text(f"INSERT INTO grants (id, {KEPT}) VALUES ({values})"), {"id": grant_id})  # noqa: S608
