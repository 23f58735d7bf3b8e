"""What the audit log is searched by, and the keys of the people whom it names.

Going back deletes those keys: what entries of version 2 say of people can then never be read again.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from uuid import UUID

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

BATCH = 1000
LOG = sa.table("audit_log", sa.column("indexed", sa.BigInteger))
ENTRIES = sa.table("audit_entries", sa.column("entry_index", sa.BigInteger), sa.column("leaf", sa.Text))
INDEX = sa.table(
    "audit_index",
    sa.column("entry_index", sa.BigInteger),
    sa.column("tenant", sa.String),
    sa.column("at", sa.BigInteger),
    sa.column("action", sa.String),
    sa.column("outcome", sa.String),
    sa.column("subject", sa.Uuid),
    sa.column("name", sa.String),
    sa.column("grant_id", sa.Uuid),
    sa.column("key_count", sa.Integer),
)
KEYS = sa.table("audit_index_keys", sa.column("key_id", sa.Uuid), sa.column("entry_index", sa.BigInteger))


def upgrade() -> None:
    op.create_table(
        "audit_index",
        sa.Column("entry_index", sa.BigInteger, autoincrement=False, nullable=False),
        sa.Column("tenant", sa.String(64), nullable=True),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("action", sa.String(64), nullable=False),
        sa.Column("outcome", sa.String(16), nullable=False),
        sa.Column("subject", sa.Uuid, nullable=True),
        sa.Column("name", sa.String(200), nullable=True),
        sa.Column("grant_id", sa.Uuid, nullable=True),
        sa.Column("key_count", sa.Integer, nullable=False),
        sa.PrimaryKeyConstraint("entry_index", name=op.f("pk_audit_index")),
    )
    op.create_table(
        "audit_index_keys",
        sa.Column("key_id", sa.Uuid, nullable=False),
        sa.Column("entry_index", sa.BigInteger, autoincrement=False, nullable=False),
        sa.PrimaryKeyConstraint("key_id", "entry_index", name=op.f("pk_audit_index_keys")),
    )
    op.create_table(
        "audit_subjects",
        sa.Column("id", sa.Uuid, nullable=False),
        sa.Column("tenant", sa.String(64), nullable=False),
        sa.Column("name", sa.String(200), nullable=False),
        sa.Column("public", sa.LargeBinary, nullable=False),
        sa.Column("sealed", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit_subjects")),
        sa.UniqueConstraint("tenant", "name", name=op.f("uq_audit_subjects_tenant_name")),
    )
    indexed = _fill(op.get_bind())
    op.create_index(op.f("ix_audit_index_tenant_at_entry_index"), "audit_index", ["tenant", "at", "entry_index"])
    op.create_index(op.f("ix_audit_index_subject_at_entry_index"), "audit_index", ["subject", "at", "entry_index"])
    for columns in (["name", "tenant"], ["grant_id"]):
        name, there = f"ix_audit_index_{'_'.join(columns)}", sa.text(f"{columns[0]} IS NOT NULL")
        op.create_index(op.f(name), "audit_index", columns, postgresql_where=there, sqlite_where=there)
    # Last: from here on servers of the revision before wait for their turn at the log.
    op.add_column("audit_log", sa.Column("indexed", sa.BigInteger, server_default="0", nullable=False))
    op.add_column("audit_log", sa.Column("reader_public", sa.LargeBinary, nullable=True))
    op.add_column("audit_log", sa.Column("reader_wrapped", sa.LargeBinary, nullable=True))
    op.execute(LOG.update().values(indexed=indexed))


def downgrade() -> None:
    for column in ("reader_wrapped", "reader_public", "indexed"):
        op.drop_column("audit_log", column)
    for table in ("audit_subjects", "audit_index_keys", "audit_index"):
        op.drop_table(table)


def _fill(connection: sa.Connection) -> int:
    """Index all leaves that are there; up to which.  What is appended meanwhile is left to the server."""
    indexed = 0
    for leaves in _batches(connection):
        rows, keys = [], []
        for leaf in leaves:
            entry = json.loads(leaf)
            action, _, outcome = entry["event"].rpartition(".")
            named = ([entry["key"]] if "key" in entry else []) + entry.get("keys", [])
            mine = [UUID(key) for key in dict.fromkeys(named)]
            # After a downgrade there are entries of version 2, whose actor is a pseudonym.
            hidden = "sealed" in entry
            rows.append(
                {
                    "entry_index": entry["index"],
                    "tenant": entry.get("tenant"),
                    "at": entry["at"],
                    "action": action,
                    "outcome": outcome,
                    "subject": UUID(entry["actor"]) if hidden else None,
                    "name": None if hidden else entry["actor"],
                    "grant_id": UUID(entry["grant"]) if "grant" in entry else None,
                    "key_count": len(mine),
                }
            )
            keys += [{"key_id": key, "entry_index": entry["index"]} for key in mine]
        connection.execute(INDEX.insert(), rows)
        if keys:
            connection.execute(KEYS.insert(), keys)
        indexed = rows[-1]["entry_index"] + 1
    return indexed


def _batches(connection: sa.Connection) -> Iterator[list[str]]:
    last = -1
    while True:
        found = sa.select(ENTRIES).where(ENTRIES.c.entry_index > last).order_by(ENTRIES.c.entry_index).limit(BATCH)
        rows = connection.execute(found).all()
        if not rows:
            return
        last = rows[-1].entry_index
        yield [row.leaf for row in rows]
