"""Grants are bound to their requester's key: its RFC 7638 thumbprint; none in grants from before."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("grants", sa.Column("jkt", sa.String(43), nullable=True))


def downgrade() -> None:
    op.drop_column("grants", "jkt")
