"""The first schema: tenants, KEKs, image keys, grants, audit log."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "tenants",
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_tenants")),
    )
    op.create_table(
        "keks",
        sa.Column("tenant", sa.String(64), nullable=False),
        sa.Column("epoch", sa.Integer, autoincrement=False, nullable=False),
        sa.Column("wrapped", sa.LargeBinary, nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("tenant", "epoch", name=op.f("pk_keks")),
        sa.ForeignKeyConstraint(["tenant"], ["tenants.name"], name=op.f("fk_keks_tenant")),
    )
    op.create_table(
        "image_keys",
        sa.Column("id", sa.Uuid, nullable=False),
        sa.Column("tenant", sa.String(64), nullable=False),
        sa.Column("state", sa.String(32), nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("created_by", sa.String(200), nullable=False),
        sa.Column("labels", sa.JSON, nullable=False),
        sa.Column("sealed_digest", sa.LargeBinary, nullable=True),
        sa.Column("kek_epoch", sa.Integer, nullable=False),
        sa.Column("suite", sa.String(16), nullable=False),
        sa.Column("wrapped", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_image_keys")),
        sa.ForeignKeyConstraint(
            ["tenant", "kek_epoch"], ["keks.tenant", "keks.epoch"], name=op.f("fk_image_keys_tenant_kek_epoch")
        ),
        sa.CheckConstraint(
            "state IN ('active', 'suspended', 'destruction_scheduled', 'destroyed')", name=op.f("ck_image_keys_state")
        ),
    )
    op.create_index(op.f("ix_image_keys_tenant_created_at_id"), "image_keys", ["tenant", "created_at", "id"])
    op.create_table(
        "grants",
        sa.Column("id", sa.Uuid, nullable=False),
        sa.Column("tenant", sa.String(64), nullable=False),
        sa.Column("state", sa.String(32), nullable=False),
        sa.Column("purpose", sa.String(200), nullable=False),
        sa.Column("requested_by", sa.String(200), nullable=False),
        sa.Column("requested_at", sa.BigInteger, nullable=False),
        sa.Column("valid_for", sa.Integer, nullable=False),
        sa.Column("uses_left", sa.Integer, nullable=False),
        sa.Column("decided_by", sa.String(200), nullable=True),
        sa.Column("expires_at", sa.BigInteger, nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_grants")),
        sa.ForeignKeyConstraint(["tenant"], ["tenants.name"], name=op.f("fk_grants_tenant")),
        sa.CheckConstraint("state IN ('pending', 'approved', 'denied', 'revoked')", name=op.f("ck_grants_state")),
        sa.CheckConstraint("uses_left >= 0", name=op.f("ck_grants_uses_left")),
    )
    op.create_index(op.f("ix_grants_tenant_requested_at_id"), "grants", ["tenant", "requested_at", "id"])
    op.create_table(
        "grant_keys",
        sa.Column("grant_id", sa.Uuid, nullable=False),
        sa.Column("key_id", sa.Uuid, nullable=False),
        sa.Column("position", sa.SmallInteger, nullable=False),
        sa.PrimaryKeyConstraint("grant_id", "key_id", name=op.f("pk_grant_keys")),
        sa.ForeignKeyConstraint(["grant_id"], ["grants.id"], name=op.f("fk_grant_keys_grant_id")),
        sa.ForeignKeyConstraint(["key_id"], ["image_keys.id"], name=op.f("fk_grant_keys_key_id")),
    )
    op.create_table(
        "audit_log",
        sa.Column("id", sa.SmallInteger, autoincrement=False, nullable=False),
        sa.Column("origin", sa.String(200), nullable=False),
        sa.Column("public_key", sa.LargeBinary, nullable=False),
        sa.Column("size", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit_log")),
        sa.CheckConstraint("id = 1", name=op.f("ck_audit_log_one_row")),
    )
    op.create_table(
        "audit_entries",
        sa.Column("entry_index", sa.BigInteger, autoincrement=False, nullable=False),
        sa.Column("leaf", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("entry_index", name=op.f("pk_audit_entries")),
    )
    op.create_table(
        "audit_nodes",
        sa.Column("level", sa.SmallInteger, autoincrement=False, nullable=False),
        sa.Column("position", sa.BigInteger, autoincrement=False, nullable=False),
        sa.Column("hash", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("level", "position", name=op.f("pk_audit_nodes")),
    )


def downgrade() -> None:
    for table in ("audit_nodes", "audit_entries", "audit_log", "grant_keys", "grants", "image_keys", "keks", "tenants"):
        op.drop_table(table)
