"""The newest checkpoint that witnesses have cosigned."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "audit_witnessed",
        sa.Column("id", sa.SmallInteger, autoincrement=False, nullable=False),
        sa.Column("size", sa.BigInteger, nullable=False),
        sa.Column("note", sa.Text, nullable=False),
        sa.CheckConstraint("id = 1", name=op.f("ck_audit_witnessed_one_row")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit_witnessed")),
    )


def downgrade() -> None:
    op.drop_table("audit_witnessed")
