"""pytest-alembic's own checks of the whole chain, and servers of the revision before during an upgrade."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest
from alembic.config import Config
from pytest_alembic import create_alembic_fixture, tests
from sqlalchemy import Connection, Engine, text

from keyserver.store import schema
from keyserver.store.database import Database


@pytest.fixture
def alembic_engine(empty_database: Database) -> Engine:
    return empty_database._writing_engine


@pytest.fixture
def alembic_config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(schema.migrations_folder()).replace("%", "%%"))
    return config


def test_there_is_one_head(alembic_runner: Any) -> None:
    tests.test_single_head_revision(alembic_runner)


def test_every_revision_goes_up_from_nothing(alembic_runner: Any) -> None:
    tests.test_upgrade(alembic_runner)


def test_every_revision_goes_up_and_down(alembic_runner: Any) -> None:
    tests.test_up_down_consistency(alembic_runner)


def test_the_tables_that_the_program_declares_need_no_further_revision(alembic_runner: Any) -> None:
    tests.test_model_definitions_match_ddl(alembic_runner)


def rows_of_the_first_server(connection: Connection) -> None:
    """What a server of revision 0003 writes and reads, with the columns that it knows."""
    sqlite = connection.dialect.name == "sqlite"
    key_id, grant_id = (uuid4().hex if sqlite else str(uuid4()) for _ in range(2))
    tenant = f"tenant-{uuid4().hex[:8]}"
    values = {"tenant": tenant, "key": key_id, "grant": grant_id, "wrapped": b"w" * 60}
    for statement in (
        "INSERT INTO tenants (name, created_at) VALUES (:tenant, 1)",
        "INSERT INTO keks (tenant, epoch, wrapped, created_at, destroyed_at) VALUES (:tenant, 1, :wrapped, 1, NULL)",
        "INSERT INTO image_keys (id, tenant, state, created_at, created_by, labels, sealed_digest, kek_epoch, suite,"
        " wrapped) VALUES (:key, :tenant, 'active', 1, 'alice', '{}', NULL, 1, 'A256GCM', :wrapped)",
        "INSERT INTO grants (id, tenant, state, purpose, requested_by, requested_at, valid_for, uses_left, decided_by,"
        " expires_at) VALUES (:grant, :tenant, 'approved', 'p', 'alice', 1, 60, 2, 'bob', 61)",
        "INSERT INTO grant_keys (grant_id, key_id, position) VALUES (:grant, :key, 0)",
        "INSERT INTO dpop_proofs (digest, expires_at) VALUES (:wrapped, 1)",
        "UPDATE grants SET uses_left = uses_left - 1 WHERE id = :grant",
        "DELETE FROM dpop_proofs WHERE digest = :wrapped",
    ):
        needed = {name: value for name, value in values.items() if f":{name}" in statement}
        assert connection.execute(text(statement), needed).rowcount == 1
    found = text("SELECT uses_left FROM grants JOIN grant_keys ON grants.id = grant_id WHERE key_id = :key")
    assert connection.execute(found, {"key": key_id}).scalar_one() == 1


def rows_of_the_audit_log(connection: Connection) -> None:
    """Entries as they have been since the first revision."""
    size = connection.execute(text("SELECT COALESCE(MAX(size), 0) FROM audit_log")).scalar_one()
    if not size:
        insert = "INSERT INTO audit_log (id, origin, public_key, size) VALUES (1, 'log', :key, 0)"
        connection.execute(text(insert), {"key": b"k" * 32})
    leaf = f'{{"actor":"alice","at":1,"event":"key.read.denied","index":{size},"tenant":"default","version":1}}'
    insert = "INSERT INTO audit_entries (entry_index, leaf) VALUES (:at, :leaf)"
    connection.execute(text(insert), {"at": size, "leaf": leaf})
    insert = "INSERT INTO audit_nodes (level, position, hash) VALUES (0, :at, :hash)"
    connection.execute(text(insert), {"at": size, "hash": b"h" * 32})
    connection.execute(text("UPDATE audit_log SET size = size + 1 WHERE id = 1"))
    assert connection.execute(text("SELECT size FROM audit_log")).scalar_one() == size + 1


@pytest.mark.parametrize("old_server", [rows_of_the_first_server, rows_of_the_audit_log])
def test_a_server_of_the_revision_before_keeps_working_while_the_schema_is_new_already(
    empty_database: Database, old_server: Callable[[Connection], None]
) -> None:
    schema.upgrade(empty_database, "0003")
    with empty_database.writing_connection() as connection:
        old_server(connection)
    schema.upgrade(empty_database)
    with empty_database.writing_connection() as connection:
        old_server(connection)


alembic_runner = create_alembic_fixture()
