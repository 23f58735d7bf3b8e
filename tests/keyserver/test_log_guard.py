"""The database itself refuses to change the audit log, whoever asks and in whatever statement."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from keyserver import audit, installation, recovery
from keyserver.actions import Action
from keyserver.audit import Entry, Outcome
from keyserver.errors import StoreUnavailable
from keyserver.settings import Settings
from keyserver.store import schema
from keyserver.store.database import Database
from keyserver.store.tables import LogRow

BEFORE = "0007"
"""The revision before the one that guards the log."""

CHANGES = {
    "entry changed": "UPDATE audit_entries SET leaf = leaf",
    "entry moved": "UPDATE audit_entries SET entry_index = entry_index + 1000 WHERE entry_index = 1",
    "entry deleted": "DELETE FROM audit_entries WHERE entry_index = 1",
    "entry replaced": "INSERT INTO audit_entries (entry_index, leaf) VALUES (1, '{}') "
    "ON CONFLICT (entry_index) DO UPDATE SET leaf = 'forged'",
    "node changed": "UPDATE audit_nodes SET position = position WHERE level = 0",
    "node deleted": "DELETE FROM audit_nodes WHERE level = 0 AND position = 1",
    "log cut": "UPDATE audit_log SET size = size - 1",
    "log renamed": "UPDATE audit_log SET origin = 'another'",
    "log moved": "UPDATE audit_log SET id = id + 0, public_key = 'k'",
    "log deleted": "DELETE FROM audit_log",
    "more freed than there is": "UPDATE audit_log SET first_kept = size + 1",
}
SQLITE = {
    "entry replaced": "INSERT OR REPLACE INTO audit_entries (entry_index, leaf) VALUES (1, 'forged')",
    "node replaced": "REPLACE INTO audit_nodes (level, position, hash) VALUES (0, 1, 'forged')",
    "head replaced": "INSERT OR REPLACE INTO audit_log (id, origin, public_key, size) VALUES (1, 'another', 'k', 0)",
}
POSTGRESQL = {
    "entries emptied": "TRUNCATE audit_entries",
    "nodes emptied": "TRUNCATE audit_nodes",
    "head emptied": "TRUNCATE audit_log",
    "moved with bytes": "UPDATE audit_log SET public_key = '\\x00'",
    "a table of that name before it": "CREATE TEMPORARY TABLE audit_log AS SELECT 1000 AS first_kept; "
    "DELETE FROM audit_entries WHERE entry_index = 1",
}


def contents(database: Database) -> list[list[tuple[Any, ...]]]:
    with database.reading() as session:
        return [
            [tuple(row) for row in session.execute(text(f"SELECT * FROM {table} ORDER BY 1, 2"))]  # noqa: S608
            for table in ("audit_entries", "audit_nodes", "audit_log")
        ]


def what_is_said(database: Database, statement: str) -> str:
    """The database's own words of refusal."""
    with pytest.raises(StoreUnavailable) as refusal, database.writing() as session:
        session.execute(text(statement))
    assert isinstance(refusal.value.__cause__, DBAPIError)
    return str(refusal.value.__cause__.orig)


def test_every_change_of_the_log_is_refused_with_words_that_help(world: Any, alice: Any) -> None:
    alice.create_key()
    database, before = world.ports.database, contents(world.ports.database)
    more = SQLITE if database.engine.dialect.name == "sqlite" else POSTGRESQL
    for name, statement in (CHANGES | more).items():
        assert "the audit log only grows; if this was meant for another database" in " ".join(
            what_is_said(database, statement).split()
        ), name
        assert contents(database) == before, name
    alice.create_key()


def test_what_retention_gives_up_can_be_deleted_and_nothing_else(world: Any, alice: Any) -> None:
    for _ in range(4):
        alice.create_key()
    database = world.ports.database
    with database.writing() as session:
        session.get_one(LogRow, 1).first_kept = 3
    for beyond in (" WHERE entry_index = 3", " WHERE entry_index >= 2", ""):
        assert "only below audit_log.first_kept" in what_is_said(database, "DELETE FROM audit_entries" + beyond)  # noqa: S608
    assert "only grow" in what_is_said(database, "UPDATE audit_log SET first_kept = 2")
    with database.writing() as session:
        session.execute(text("DELETE FROM audit_entries WHERE entry_index < 3"))
    alice.create_key()
    with database.reading() as session:
        size = session.get_one(LogRow, 1).size
        # The tree is whole without them.
        assert audit.prove_inclusion(session, 0, size)


def test_a_backup_is_restored_into_guarded_tables_and_they_stay_guarded(
    world: Any, alice: Any, settings: Settings, tmp_path: Any
) -> None:
    alice.create_key()
    recovery.back_up(world.ports, settings, tmp_path / "backup", "passphrase", lambda *_: None)
    fresh = Settings(data=tmp_path / "fresh")
    fresh.data.mkdir()
    for path in settings.data.glob("*.key"):
        (fresh.data / path.name).touch(mode=0o600)
        (fresh.data / path.name).write_bytes(path.read_bytes())
    recovery.restore(fresh, tmp_path / "backup", "passphrase", lambda *_: None, 7)
    ports = installation.open_ports(fresh)
    assert "no DELETE" in what_is_said(ports.database, "DELETE FROM audit_entries")
    ports.database.close()


def test_the_guard_comes_and_goes_with_rows_under_it(empty_database: Database) -> None:
    entry = Entry(at=1, action=Action.RELEASE, outcome=Outcome.ALLOWED, actor="alice")
    schema.upgrade(empty_database, BEFORE)
    with empty_database.writing() as session:
        session.execute(
            text("INSERT INTO audit_log (id, origin, public_key, size) VALUES (1, 'log', :key, 0)"), {"key": b"k" * 32}
        )
        leaf = '{"actor":"(operator)","at":1,"event":"log.start.allowed","index":70,"version":1}'
        session.execute(text("INSERT INTO audit_entries (entry_index, leaf) VALUES (70, :leaf)"), {"leaf": leaf})
    for _ in range(2):
        schema.upgrade(empty_database)
        with empty_database.writing() as session:
            audit.append(session, entry)
        assert "no DELETE" in what_is_said(empty_database, "DELETE FROM audit_entries")
        schema.downgrade(empty_database, BEFORE)
        with empty_database.writing() as session:
            assert session.execute(text("SELECT count(*) FROM audit_entries")).scalar_one() == 2
            session.execute(text("DELETE FROM audit_entries WHERE entry_index < 70"))
            session.execute(text("DELETE FROM audit_nodes"))
            session.execute(text("UPDATE audit_log SET size = 0"))
