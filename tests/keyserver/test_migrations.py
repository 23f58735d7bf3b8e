"""The schema's way up, down and up again, on both databases, and its agreement with the tables."""

from __future__ import annotations

import json
from pathlib import Path
from uuid import uuid4

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import inspect, select, text

from faceseal.wire import GrantState
from keyserver.audit import indexing
from keyserver.errors import SetupError, StoreUnavailable
from keyserver.store import schema
from keyserver.store.database import Database
from keyserver.store.index import COLUMNS
from keyserver.store.replay import remember_proof
from keyserver.store.tables import (
    Base,
    BucketRow,
    GrantRow,
    IndexKeyRow,
    IndexRow,
    KekRow,
    LogRow,
    RepeatRow,
    SubjectRow,
    TenantRow,
    WitnessedRow,
)

BEFORE_READING = "0008"
"""The revision before the one that adds the log's index and the keys of people."""
BEFORE_OPERATIONS = "0006"
"""The revision before the one that adds kept answers and buckets."""
BEFORE_WITNESSES = "0009"
"""The revision before the one that adds the witnessed checkpoint."""


def tables(database: Database) -> set[str]:
    with database.engine.connect() as connection:
        return set(inspect(connection).get_table_names())


def test_the_schema_goes_up_down_and_up_again(empty_database: Database) -> None:
    assert not schema.is_current(empty_database)
    schema.upgrade(empty_database)
    assert schema.is_current(empty_database)
    assert tables(empty_database) == set(Base.metadata.tables) | {"alembic_version"}
    schema.downgrade(empty_database, "base")
    assert not schema.is_current(empty_database)
    assert tables(empty_database) == {"alembic_version"}
    schema.upgrade(empty_database)
    assert schema.is_current(empty_database)


def test_upgrading_twice_changes_nothing(empty_database: Database) -> None:
    for _ in range(2):
        schema.upgrade(empty_database)
    assert schema.is_current(empty_database)


def test_the_migrated_schema_is_the_one_that_the_program_declares(empty_database: Database) -> None:
    schema.upgrade(empty_database)
    with empty_database.engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), Base.metadata) == []


def test_the_migrated_schema_has_every_check_and_name_that_the_tables_have(empty_database: Database) -> None:
    schema.upgrade(empty_database)
    with empty_database.engine.connect() as connection:
        found = inspect(connection)
        for name, table in Base.metadata.tables.items():
            declared = {str(constraint.name) for constraint in table.constraints}
            migrated = {check["name"] for check in found.get_check_constraints(name)}
            migrated |= {key["name"] for key in found.get_foreign_keys(name)}
            migrated |= {unique["name"] for unique in found.get_unique_constraints(name)}
            migrated |= {found.get_pk_constraint(name)["name"]}
            assert migrated == declared


def test_a_migration_that_fails_leaves_nothing_behind(empty_database: Database) -> None:
    with empty_database.writing() as session:
        session.execute(text("CREATE TABLE audit_nodes (x INTEGER)"))
    with pytest.raises(StoreUnavailable):
        schema.upgrade(empty_database)
    assert tables(empty_database) == {"audit_nodes"}


def test_the_table_of_used_proofs_comes_and_goes_with_rows_in_it_and_touches_no_other(empty_database: Database) -> None:
    def count(table: str) -> int:
        with empty_database.reading() as session:
            return int(session.execute(text(f"SELECT COUNT(*) FROM {table}")).scalar_one())  # noqa: S608 - a constant

    schema.upgrade(empty_database, "0001")
    with empty_database.writing() as session:
        session.execute(text("INSERT INTO tenants (name, created_at) VALUES ('before', 1)"))
    for _ in range(2):
        schema.upgrade(empty_database, "0002")
        assert (count("tenants"), count("dpop_proofs")) == (1, 0)
        with empty_database.writing() as session:
            assert all(remember_proof(session, "j" * 43, f"proof {number}", 1) for number in range(3))
        assert count("dpop_proofs") == 3
        schema.downgrade(empty_database, "0001")
        assert "dpop_proofs" not in tables(empty_database)
        assert count("tenants") == 1


def test_the_tables_of_kept_answers_and_of_buckets_come_and_go_with_rows_in_them(empty_database: Database) -> None:
    new = {"idempotency_keys", "rate_buckets"}
    schema.upgrade(empty_database)
    schema.downgrade(empty_database, BEFORE_OPERATIONS)
    with empty_database.writing() as session:
        session.execute(text("INSERT INTO tenants (name, created_at) VALUES ('before', 1)"))
    for _ in range(2):
        assert not new & tables(empty_database)
        schema.upgrade(empty_database)
        with empty_database.writing() as session:
            session.add(RepeatRow(id=b"i", tenant="before", request=b"r", status=200, expires_at=1))
            session.add(BucketRow(id=b"b", tokens=1, refilled_at=1, full_at=1))
        schema.downgrade(empty_database, BEFORE_OPERATIONS)
        with empty_database.reading() as session:
            assert session.execute(text("SELECT name FROM tenants")).scalars().all() == ["before"]


def test_the_table_of_the_witnessed_checkpoint_comes_and_goes_with_a_row_in_it(empty_database: Database) -> None:
    schema.upgrade(empty_database)
    for _ in range(2):
        with empty_database.writing() as session:
            session.add(TenantRow(name=f"tenant {uuid4()}", created_at=1))
            session.add(WitnessedRow(id=1, size=3, note="a note"))
        schema.downgrade(empty_database, BEFORE_WITNESSES)
        assert "audit_witnessed" not in tables(empty_database)
        with empty_database.reading() as session:
            assert session.execute(text("SELECT count(*) FROM tenants")).scalar_one()
        schema.upgrade(empty_database)


def test_entries_from_before_are_found_and_people_and_index_go_again(empty_database: Database) -> None:
    key, other, grant, pseudonym = (str(uuid4()) for _ in range(4))
    leaves = [
        {"actor": "(operator)", "event": "log.start.allowed", "version": 1},
        {"actor": "alice", "event": "key.create.allowed", "key": key, "tenant": "default", "version": 1},
        {"actor": "alice", "event": "grant.request.denied", "keys": [key, other], "tenant": "default", "version": 1},
        {
            "actor": pseudonym,
            "event": "release.allowed",
            "grant": grant,
            "key": key,
            "sealed": "AA",
            "tenant": "default",
        },
    ] * 700
    schema.upgrade(empty_database, BEFORE_READING)
    with empty_database.writing() as session:
        start = text("INSERT INTO audit_log (id, origin, public_key, size) VALUES (1, 'log', :key, :size)")
        session.execute(start, {"key": b"k" * 32, "size": len(leaves)})
        rows = [{"at": at, "leaf": json.dumps({**leaf, "index": at, "at": at})} for at, leaf in enumerate(leaves)]
        session.execute(text("INSERT INTO audit_entries (entry_index, leaf) VALUES (:at, :leaf)"), rows)
    for _ in range(2):
        schema.upgrade(empty_database)
        with empty_database.writing() as session:
            head = session.get_one(LogRow, 1)
            assert (head.indexed, head.size, head.reader_public) == (2800, 2800, None)
            found = session.scalars(select(IndexRow).order_by(IndexRow.entry_index)).all()
            assert [indexing.of_leaf(row["leaf"]).row for row in rows] == [
                tuple(getattr(each, column) for column in COLUMNS) for each in found
            ]
            keys = session.execute(select(IndexKeyRow.key_id, IndexKeyRow.entry_index)).all()
            assert len(keys) == len(set(keys)) == 4 * 700
            person = SubjectRow(id=uuid4(), tenant="default", name="alice", public=b"p" * 32, sealed=b"s" * 80)
            session.add(person)
            head.reader_public = head.reader_wrapped = b"r" * 32
        schema.downgrade(empty_database, BEFORE_READING)
        assert not {"audit_index", "audit_index_keys", "audit_subjects"} & tables(empty_database)
        with empty_database.reading() as session:
            assert session.execute(text("SELECT size, origin FROM audit_log")).one() == (2800, "log")


@pytest.mark.parametrize(
    "row",
    [
        WitnessedRow(id=2, size=0, note=""),
        LogRow(id=2, origin="second log", public_key=b"k", size=0),
        KekRow(tenant="nobody", epoch=1, wrapped=b"w", created_at=0),
    ],
    ids=["a second witnessed checkpoint", "a second log", "a key of no tenant"],
)
def test_the_database_refuses_what_must_not_be(empty_database: Database, row: Base) -> None:
    schema.upgrade(empty_database)

    def add() -> None:
        with empty_database.writing() as session:
            session.add(row)

    with pytest.raises(StoreUnavailable):
        add()


def test_the_database_itself_refuses_a_use_too_many(empty_database: Database) -> None:
    schema.upgrade(empty_database)

    def add(uses_left: int) -> None:
        row = GrantRow(tenant="t", state=GrantState.APPROVED, purpose="p", requested_by="r", uses_left=uses_left)
        row.requested_at = row.valid_for = 1
        with empty_database.writing() as session:
            session.merge(TenantRow(name="t", created_at=0))
            session.flush()
            session.add(row)
            row.id = uuid4()

    add(0)
    with pytest.raises(StoreUnavailable):
        add(-1)


def test_the_migrations_of_the_checkout_are_found() -> None:
    assert schema.migrations_folder() == Path(__file__).parents[2] / "migrations"


@pytest.mark.parametrize("url", ["mysql://x/y", "postgresql://u:secret@h/d", "not a url", "sqlite+aiosqlite:///x", ""])
def test_another_database_is_refused_without_quoting_the_url(url: str) -> None:
    with pytest.raises(SetupError) as refusal:
        Database(url)
    assert "secret" not in str(refusal.value)


def test_a_server_that_is_not_there_is_unavailable_and_not_quoted() -> None:
    database = Database("postgresql+psycopg://u:secret@127.0.0.1:1/d")
    with pytest.raises(StoreUnavailable) as refusal:
        schema.is_current(database)
    assert "secret" not in str(refusal.value)
