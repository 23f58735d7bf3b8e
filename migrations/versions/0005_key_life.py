"""Keys are destroyed, searched by label, and found by the perceptual hash of their photo.

The labels that are there are copied.  A server of the revision before may go on while this
one comes; what it creates meanwhile, ``keyserver key index-labels`` copies afterwards.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

CHECK = "destroyed_at IS NULL OR length(wrapped) = 0"
BANDS = ("band_0", "band_1", "band_2", "band_3")
DIGESTS = "ix_image_keys_tenant_sealed_digest"
DUE = "ix_image_keys_destruction_due_at"


def upgrade() -> None:
    sqlite = op.get_bind().dialect.name == "sqlite"
    op.add_column("image_keys", sa.Column("destruction_due_at", sa.BigInteger, nullable=True))
    if sqlite:
        # A rebuilt table would be dropped in between, and grants refer to it.
        check = f"CONSTRAINT ck_image_keys_destroyed CHECK ({CHECK})"
        op.execute(f"ALTER TABLE image_keys ADD COLUMN destroyed_at BIGINT {check}")
    else:
        op.add_column("image_keys", sa.Column("destroyed_at", sa.BigInteger, nullable=True))
        op.create_check_constraint(op.f("ck_image_keys_destroyed"), "image_keys", CHECK)
    _index(DIGESTS, ["tenant", "sealed_digest"], "sealed_digest IS NOT NULL")
    _index(DUE, ["destruction_due_at"], "destruction_due_at IS NOT NULL AND destroyed_at IS NULL")
    op.create_table(
        "key_labels",
        sa.Column("key_id", sa.Uuid, nullable=False),
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("value", sa.String(64), nullable=False),
        sa.Column("tenant", sa.String(64), nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("key_id", "name", name=op.f("pk_key_labels")),
        sa.ForeignKeyConstraint(["key_id"], ["image_keys.id"], name=op.f("fk_key_labels_key_id")),
    )
    each = (
        "json_each(image_keys.labels) AS label" if sqlite else "json_each_text(image_keys.labels) AS label(key, value)"
    )
    op.execute(
        "INSERT INTO key_labels (key_id, name, value, tenant, created_at) "  # noqa: S608 - constants
        "SELECT image_keys.id, label.key, label.value, image_keys.tenant, image_keys.created_at "
        f"FROM image_keys, {each}"
    )
    op.create_index(
        op.f("ix_key_labels_tenant_name_value_created_at_key_id"),
        "key_labels",
        ["tenant", "name", "value", "created_at", "key_id"],
    )
    op.create_table(
        "photo_hashes",
        sa.Column("key_id", sa.Uuid, nullable=False),
        sa.Column("tenant", sa.String(64), nullable=False),
        *(sa.Column(band, sa.Integer, nullable=False) for band in BANDS),
        sa.PrimaryKeyConstraint("key_id", name=op.f("pk_photo_hashes")),
        sa.ForeignKeyConstraint(["key_id"], ["image_keys.id"], name=op.f("fk_photo_hashes_key_id")),
    )
    for band in BANDS:
        op.create_index(op.f(f"ix_photo_hashes_tenant_{band}"), "photo_hashes", ["tenant", band])


def downgrade() -> None:
    op.drop_table("photo_hashes")
    op.drop_table("key_labels")
    op.drop_index(DIGESTS, "image_keys")
    op.drop_index(DUE, "image_keys")
    # On both databases the column's check goes with it.
    op.drop_column("image_keys", "destroyed_at")
    op.drop_column("image_keys", "destruction_due_at")


def _index(name: str, columns: list[str], condition: str) -> None:
    where = sa.text(condition)
    op.create_index(op.f(name), "image_keys", columns, postgresql_where=where, sqlite_where=where)
