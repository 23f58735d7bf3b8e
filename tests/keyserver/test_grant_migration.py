"""The revision of policies and webhooks, up and down with rows in the tables, on both databases."""

from __future__ import annotations

from uuid import UUID, uuid4

import pytest
from sqlalchemy import Connection, inspect, select, text

from faceseal.wire import GrantState, PurposeCode
from keyserver.store import schema
from keyserver.store.database import Database
from keyserver.store.tables import ApprovalRow, DeliveryRow, GrantRow, PolicyRow, WebhookRow

BEFORE, AFTER = "0003", "0006"
NEW_TABLES = {"grant_approvals", "grant_policies", "webhooks", "webhook_deliveries"}
NEW_COLUMNS = {
    "purpose_code",
    "reference",
    "labels",
    "not_before",
    "policy_version",
    "quorum",
    "approvals_expire",
    "break_glass",
}
GRANT, WEBHOOK = uuid4(), uuid4()


def shown(database: Database, identifier: UUID) -> str:
    return identifier.hex if database.engine.dialect.name == "sqlite" else str(identifier)


def insert_grant(connection: Connection, grant_id: str) -> None:
    """As a server of the revision before inserts it."""
    columns = "id, tenant, state, purpose, requested_by, requested_at, valid_for, uses_left"
    values = f"'{grant_id}', 'default', 'pending', 'court order 17', 'alice', 1, 60, 1"
    connection.execute(text(f"INSERT INTO grants ({columns}) VALUES ({values})"))  # noqa: S608 - constants


def fill(database: Database) -> None:
    with database.writing_connection() as connection:
        connection.execute(text("INSERT INTO tenants (name, created_at) VALUES ('default', 1)"))
        insert_grant(connection, shown(database, GRANT))


def fill_new_tables(database: Database) -> None:
    with database.writing() as session:
        grant = session.get_one(GrantRow, GRANT)
        grant.reference, grant.labels, grant.not_before = "17 O 4/26", {"album": "summer"}, 5
        session.add(ApprovalRow(grant_id=GRANT, approver="bob", at=2))
        session.add(PolicyRow(tenant="default", version=1, document="{}", set_at=1))
        session.add(WebhookRow(id=WEBHOOK, tenant="default", url="https://x/", secret=b"s", created_at=1))
        session.flush()
        session.add(DeliveryRow(id=uuid4(), webhook_id=WEBHOOK, body="{}", created_at=1, attempts=0, due_at=1))


def test_grants_go_up_down_and_up_again_with_everything_in_the_tables(empty_database: Database) -> None:
    schema.upgrade(empty_database, BEFORE)
    fill(empty_database)
    for revision in (AFTER, BEFORE, AFTER):
        (schema.downgrade if revision == BEFORE else schema.upgrade)(empty_database, revision)
        with empty_database.engine.connect() as connection:
            found = inspect(connection)
            columns = {column["name"] for column in found.get_columns("grants")}
            new = revision == AFTER
            assert (columns >= NEW_COLUMNS, bool(columns & NEW_COLUMNS)) == (new, new)
            tables = set(found.get_table_names())
            assert (tables >= NEW_TABLES, bool(tables & NEW_TABLES)) == (new, new)
            checks = {check["name"] for check in found.get_check_constraints("grants")}
            assert checks == {"ck_grants_state", "ck_grants_uses_left"}
            purposes = connection.execute(text("SELECT purpose FROM grants")).scalars().all()
            assert purposes == ["court order 17"]
        if new:
            fill_new_tables(empty_database)


def test_a_grant_of_a_server_of_the_revision_before_is_one_under_no_policy(empty_database: Database) -> None:
    schema.upgrade(empty_database, AFTER)
    fill(empty_database)
    with empty_database.reading() as session:
        row = session.scalars(select(GrantRow)).one()
        assert (row.state, row.purpose_code, row.quorum) == (GrantState.PENDING, PurposeCode.OTHER, 1)
        assert (row.policy_version, row.break_glass, row.labels) == (0, False, None)
        assert (row.reference, row.not_before, row.approvals_expire, row.approvals) == (None, None, None, [])


@pytest.mark.parametrize("statement", ["DELETE FROM webhooks", "DELETE FROM grants"])
def test_what_others_hang_on_cannot_be_deleted_from_under_them(empty_database: Database, statement: str) -> None:
    schema.upgrade(empty_database, AFTER)
    fill(empty_database)
    fill_new_tables(empty_database)

    def delete() -> None:
        with empty_database.writing() as session:
            session.execute(text(statement))

    with pytest.raises(Exception, match="IntegrityError"):
        delete()
