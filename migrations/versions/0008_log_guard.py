"""The database itself keeps the audit log from being changed, and knows which keys sign its checkpoints.

Entries and nodes are inserted and never updated; entries are deleted below ``first_kept`` only,
nodes never.  The log's row keeps its name and first key, and its numbers only grow.  Whoever
owns the tables can take the triggers away: they keep programs and people from mistakes, and a
server whose role does not own them from everything (see docs/operating/log.md).
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

APPENDED = ("audit_entries", "audit_nodes")
KEEP = "the audit log only grows; if this was meant for another database, look where you are connected"
RETENTION = "entries are deleted only below audit_log.first_kept"
HEAD = "size and first_kept only grow, first_kept up to size, and id, origin and public_key never change"
THERE = "it is there already"


def upgrade() -> None:
    op.add_column("audit_log", sa.Column("first_kept", sa.BigInteger, server_default="0", nullable=False))
    op.add_column("audit_log", sa.Column("signing_keys", sa.LargeBinary, nullable=True))
    for statement in _sqlite_guard() if _on_sqlite() else _postgresql_guard():
        op.execute(statement)


def downgrade() -> None:
    if _on_sqlite():
        for name in _sqlite_triggers():
            op.execute(f"DROP TRIGGER {name}")
    else:
        for table in (*APPENDED, "audit_log"):
            op.execute(f"DROP TRIGGER {table}_no_change ON {table}")
        op.execute("DROP TRIGGER audit_entries_no_delete ON audit_entries")
        op.execute("DROP TRIGGER audit_log_only_grows ON audit_log")
        for function in ("audit_guard", "audit_entries_guard", "audit_log_guard"):
            op.execute(f"DROP FUNCTION {function}()")
    op.drop_column("audit_log", "signing_keys")
    op.drop_column("audit_log", "first_kept")


def _on_sqlite() -> bool:
    return bool(op.get_bind().dialect.name == "sqlite")


def _sqlite_triggers() -> dict[str, tuple[str, str, str]]:
    """By name: when and on what, under which condition, and what is said."""
    kept = "OLD.entry_index >= COALESCE((SELECT first_kept FROM audit_log WHERE id = 1), 0)"
    shrinks = (
        "NEW.size < OLD.size OR NEW.first_kept < OLD.first_kept OR NEW.first_kept > NEW.size"
        " OR NEW.id <> OLD.id OR NEW.origin <> OLD.origin OR NEW.public_key <> OLD.public_key"
    )
    # INSERT OR REPLACE deletes what is in its way without telling the triggers of DELETE.
    entry = "EXISTS (SELECT 1 FROM audit_entries WHERE entry_index = NEW.entry_index)"
    node = "EXISTS (SELECT 1 FROM audit_nodes WHERE level = NEW.level AND position = NEW.position)"
    head = "EXISTS (SELECT 1 FROM audit_log WHERE id = NEW.id)"
    return {
        "audit_entries_no_update": ("UPDATE ON audit_entries", "1", f"audit_entries: no UPDATE: {KEEP}"),
        "audit_entries_no_delete": ("DELETE ON audit_entries", kept, f"audit_entries: no DELETE: {RETENTION}; {KEEP}"),
        "audit_entries_no_replace": ("INSERT ON audit_entries", entry, f"audit_entries: no REPLACE: {THERE}; {KEEP}"),
        "audit_nodes_no_update": ("UPDATE ON audit_nodes", "1", f"audit_nodes: no UPDATE: {KEEP}"),
        "audit_nodes_no_delete": ("DELETE ON audit_nodes", "1", f"audit_nodes: no DELETE: {KEEP}"),
        "audit_nodes_no_replace": ("INSERT ON audit_nodes", node, f"audit_nodes: no REPLACE: {THERE}; {KEEP}"),
        "audit_log_only_grows": ("UPDATE ON audit_log", shrinks, f"audit_log: no such UPDATE: {HEAD}; {KEEP}"),
        "audit_log_no_delete": ("DELETE ON audit_log", "1", f"audit_log: no DELETE: {KEEP}"),
        "audit_log_no_replace": ("INSERT ON audit_log", head, f"audit_log: no REPLACE: {THERE}; {KEEP}"),
    }


def _sqlite_guard() -> list[str]:
    return [
        f"CREATE TRIGGER {name} BEFORE {event} WHEN {condition} BEGIN SELECT RAISE(ABORT, '{words}'); END"
        for name, (event, condition, words) in _sqlite_triggers().items()
    ]


def _postgresql_guard() -> list[str]:
    # The log's row is looked for beside the guarded table, wherever the session's search_path leads.
    return [
        _function(
            "audit_guard", f"RAISE EXCEPTION '%: no %', TG_TABLE_NAME, TG_OP USING ERRCODE = '55000', HINT = '{KEEP}';"
        ),
        _function(
            "audit_entries_guard",
            f"""
            EXECUTE format('SELECT COALESCE(max(first_kept), 0) FROM %I.audit_log', TG_TABLE_SCHEMA) INTO kept;
            IF EXISTS (SELECT 1 FROM gone WHERE entry_index >= kept) THEN
                RAISE EXCEPTION 'audit_entries: no DELETE: {RETENTION}' USING ERRCODE = '55000', HINT = '{KEEP}';
            END IF;
            RETURN NULL;
            """,  # noqa: S608 - constants
            "DECLARE kept bigint; ",
        ),
        _function(
            "audit_log_guard",
            f"""
            IF NEW.size < OLD.size OR NEW.first_kept < OLD.first_kept OR NEW.first_kept > NEW.size
                OR (NEW.id, NEW.origin, NEW.public_key) IS DISTINCT FROM (OLD.id, OLD.origin, OLD.public_key)
            THEN
                RAISE EXCEPTION 'audit_log: no such UPDATE: {HEAD}' USING ERRCODE = '55000', HINT = '{KEEP}';
            END IF;
            RETURN NEW;
            """,
        ),
        _trigger("audit_entries_no_change", "BEFORE UPDATE OR TRUNCATE ON audit_entries", "STATEMENT", "audit_guard"),
        _trigger(
            "audit_nodes_no_change", "BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_nodes", "STATEMENT", "audit_guard"
        ),
        _trigger("audit_log_no_change", "BEFORE DELETE OR TRUNCATE ON audit_log", "STATEMENT", "audit_guard"),
        _trigger(
            "audit_entries_no_delete",
            "AFTER DELETE ON audit_entries REFERENCING OLD TABLE AS gone",
            "STATEMENT",
            "audit_entries_guard",
        ),
        _trigger("audit_log_only_grows", "BEFORE UPDATE ON audit_log", "ROW", "audit_log_guard"),
    ]


def _function(name: str, body: str, declared: str = "") -> str:
    return f"CREATE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS $guard$ {declared}BEGIN {body} END $guard$"


def _trigger(name: str, event: str, each: str, function: str) -> str:
    return f"CREATE TRIGGER {name} {event} FOR EACH {each} EXECUTE FUNCTION {function}()"
