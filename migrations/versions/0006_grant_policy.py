"""Grants by labels and with purposes, approvals of several people, policies, and webhooks."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def grant_columns() -> list[sa.Column]:
    return [
        # Servers of the revision before go on inserting: whatever must not be empty has a default.
        sa.Column("purpose_code", sa.String(32), server_default="other", nullable=False),
        sa.Column("reference", sa.String(200), nullable=True),
        sa.Column("labels", sa.JSON, nullable=True),
        sa.Column("not_before", sa.BigInteger, nullable=True),
        sa.Column("policy_version", sa.Integer, server_default="0", nullable=False),
        sa.Column("quorum", sa.SmallInteger, server_default="1", nullable=False),
        sa.Column("approvals_expire", sa.Integer, nullable=True),
        sa.Column("break_glass", sa.Boolean, server_default=sa.false(), nullable=False),
    ]


def upgrade() -> None:
    for column in grant_columns():
        op.add_column("grants", column)
    op.create_table(
        "grant_approvals",
        sa.Column("grant_id", sa.Uuid, nullable=False),
        sa.Column("approver", sa.String(200), nullable=False),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("grant_id", "approver", name=op.f("pk_grant_approvals")),
        sa.ForeignKeyConstraint(["grant_id"], ["grants.id"], name=op.f("fk_grant_approvals_grant_id")),
    )
    op.create_table(
        "grant_policies",
        sa.Column("tenant", sa.String(64), nullable=False),
        sa.Column("version", sa.Integer, autoincrement=False, nullable=False),
        sa.Column("document", sa.Text, nullable=False),
        sa.Column("set_at", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("tenant", "version", name=op.f("pk_grant_policies")),
        sa.ForeignKeyConstraint(["tenant"], ["tenants.name"], name=op.f("fk_grant_policies_tenant")),
    )
    op.create_table(
        "webhooks",
        sa.Column("id", sa.Uuid, nullable=False),
        sa.Column("tenant", sa.String(64), nullable=False),
        sa.Column("url", sa.String(2000), nullable=False),
        sa.Column("secret", sa.LargeBinary, nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_webhooks")),
        sa.ForeignKeyConstraint(["tenant"], ["tenants.name"], name=op.f("fk_webhooks_tenant")),
    )
    op.create_index(op.f("ix_webhooks_tenant"), "webhooks", ["tenant"])
    op.create_table(
        "webhook_deliveries",
        sa.Column("id", sa.Uuid, nullable=False),
        sa.Column("webhook_id", sa.Uuid, nullable=False),
        sa.Column("body", sa.Text, nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("due_at", sa.BigInteger, nullable=True),
        sa.Column("failure", sa.String(200), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_webhook_deliveries")),
        sa.ForeignKeyConstraint(["webhook_id"], ["webhooks.id"], name=op.f("fk_webhook_deliveries_webhook_id")),
    )
    op.create_index(op.f("ix_webhook_deliveries_due_at"), "webhook_deliveries", ["due_at"])
    op.create_index(op.f("ix_webhook_deliveries_webhook_id"), "webhook_deliveries", ["webhook_id"])


def downgrade() -> None:
    for table in ("webhook_deliveries", "webhooks", "grant_policies", "grant_approvals"):
        op.drop_table(table)
    for column in reversed(grant_columns()):
        op.drop_column("grants", column.name)
