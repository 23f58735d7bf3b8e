"""A server whose role on PostgreSQL is not the tables' owner serves, and cannot change the audit log."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from sqlalchemy import make_url, text
from sqlalchemy.exc import ProgrammingError

from keyserver import audit, installation
from keyserver.cli import main
from keyserver.errors import SetupError, StoreUnavailable
from keyserver.putting_away import DAY, Wanted, put_away
from keyserver.settings import Settings
from keyserver.store.database import Database

DATABASE_KINDS = ["postgresql"]
ROLE = "faceseal-server"
FORBIDDEN = {
    "UPDATE audit_entries SET leaf = leaf": "permission denied",
    "UPDATE audit_nodes SET hash = hash": "permission denied",
    "DELETE FROM audit_entries WHERE entry_index < 0": "permission denied",
    "DELETE FROM audit_nodes WHERE level < 0": "permission denied",
    "DELETE FROM audit_log": "permission denied",
    "TRUNCATE audit_entries": "permission denied",
    "TRUNCATE audit_log": "permission denied",
    "UPDATE audit_log SET first_kept = 1": "permission denied",
    "UPDATE audit_log SET signing_keys = NULL": "permission denied",
    "UPDATE audit_log SET reader_wrapped = NULL": "permission denied",
    "UPDATE audit_log SET origin = 'another'": "permission denied",
    "INSERT INTO audit_log (id, origin, public_key, size) VALUES (1, 'x', 'k', 0)": "permission denied",
    "UPDATE audit_log SET size = 0": "only grow",
    "ALTER TABLE audit_entries DISABLE TRIGGER ALL": "must be owner",
    "DROP TRIGGER audit_entries_no_change ON audit_entries": "must be owner",
    "DROP TABLE audit_entries": "must be owner",
    "CREATE OR REPLACE FUNCTION audit_guard() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'": "",
    "SET session_replication_role = replica": "permission denied",
    "TRUNCATE grants": "permission denied",
    "UPDATE alembic_version SET version_num = version_num": "permission denied",
}


@pytest.fixture
def settings(settings: Settings, capsys: pytest.CaptureFixture[str]) -> Iterator[Settings]:
    """The installation, for a server that connects as a role which the printed SQL allows what it needs."""
    password = secrets.token_hex(16)
    assert main(["database", "grants", "--role", ROLE]) == 0
    printed = capsys.readouterr().out
    owner = Database(settings.url)
    with owner.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text(f"CREATE ROLE \"{ROLE}\" LOGIN PASSWORD '{password}'"))
        try:
            for statement in [*printed.splitlines()] * 2:
                connection.execute(text(statement))
            url = make_url(settings.url).set(username=ROLE, password=password)
            yield settings.model_copy(update={"database_url": SecretStr(url.render_as_string(hide_password=False))})
        finally:
            connection.execute(text(f'DROP OWNED BY "{ROLE}"'))
            connection.execute(text(f'DROP ROLE "{ROLE}"'))
            owner.close()


def test_the_whole_way_of_a_release_works_under_the_role(world: Any, alice: Any, bob: Any) -> None:
    with world.ports.database.reading() as session:
        assert session.execute(text("SELECT current_user")).scalar_one() == ROLE
    key, _ = alice.create_key()
    _, token = world.grant_token(alice, bob, key.id)
    assert alice.release(key.id, token).status_code == 200
    assert alice.release(key.id, token).status_code == 403
    assert bob.post(f"/v1/keys/{key.id}/suspend").status_code == 200
    many = {"recipient": "CQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", "keys": [{}] * 40}
    assert alice.post("/v1/keys/batch", many).status_code == 201
    events = [json.loads(leaf)["event"] for leaf in world.leaves()]
    assert events.count("release.allowed") == events.count("release.denied") == 1
    assert world.client.get("/readyz").status_code == 200


def test_the_role_cannot_change_the_log_nor_take_its_guard_away(world: Any, alice: Any) -> None:
    alice.create_key()
    with world.ports.database.reading() as session:
        before = audit.current_checkpoint(session)
    for statement, words in FORBIDDEN.items():
        with pytest.raises(StoreUnavailable) as refusal, world.ports.database.writing() as session:
            session.execute(text(statement))
        cause = refusal.value.__cause__
        assert isinstance(cause, ProgrammingError) or "only grow" in str(cause), statement
        assert words in str(cause), statement
    with world.ports.database.reading() as session:
        assert audit.current_checkpoint(session) == before


def test_the_role_puts_no_entries_away(world: Any, alice: Any, tmp_path: Path) -> None:
    alice.create_key()
    world.clock.now += 366 * DAY
    with pytest.raises(SetupError, match="use that of the tables' owner"):
        put_away(world.ports, tmp_path / "file", Wanted(keep_days=365), lambda _: None)
    assert list(tmp_path.glob("*file*")) == []


def test_the_root_is_moved_by_the_owner_and_not_by_the_role(
    settings: Settings, world: Any, alice: Any, postgresql_template: Any, tmp_path: Path
) -> None:
    alice.create_key()
    lines = tmp_path / "new.env"
    lines.write_text(f"KEYSERVER_ROOT=file\nKEYSERVER_ROOT_FILE={tmp_path / 'new.key'}\n")
    before = world.leaves()
    with pytest.raises(StoreUnavailable):
        installation.move_root(settings, lines)
    assert world.leaves() == before
    installation.open_ports(settings).database.close()
    owner = settings.model_copy(update={"database_url": postgresql_template.settings.database_url})
    installation.move_root(owner, lines)
    installation.open_ports(settings.model_copy(update={"root_file": tmp_path / "new.key"})).database.close()


def test_the_guide_says_who_moves_the_root() -> None:
    guide = Path(__file__).parents[2] / "docs" / "operating" / "log.md"
    (row,) = [line for line in guide.read_text().splitlines() if line.startswith("| the owner |")]
    assert "`kek move-root`" in row


@pytest.mark.parametrize("name", ["", 'a"; DROP TABLE keks; --', "a b", "1a", "a" * 64, "ä"])
def test_a_name_that_is_none_prints_no_sql(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["database", "grants", "--role", name]) == 2
    assert capsys.readouterr().out == ""
