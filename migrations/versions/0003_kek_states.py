"""KEKs can be destroyed: the row then says when, and holds no wrapped bytes."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

CHECK = "destroyed_at IS NULL OR length(wrapped) = 0"


def upgrade() -> None:
    if op.get_bind().dialect.name == "sqlite":
        # A rebuilt table would be dropped in between, and image keys refer to it.
        op.execute(f"ALTER TABLE keks ADD COLUMN destroyed_at BIGINT CONSTRAINT ck_keks_destroyed CHECK ({CHECK})")
        return
    op.add_column("keks", sa.Column("destroyed_at", sa.BigInteger, nullable=True))
    op.create_check_constraint(op.f("ck_keks_destroyed"), "keks", CHECK)


def downgrade() -> None:
    # On both databases the column's check goes with it.
    op.drop_column("keks", "destroyed_at")
