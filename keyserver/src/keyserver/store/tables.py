"""All tables.  Times are whole seconds since 1970-01-01 UTC; hashes and digests are SHA-256."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    CheckConstraint,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    SmallInteger,
    String,
    Text,
    Uuid,
    false,
)
from sqlalchemy.orm import Mapped, mapped_column, relationship

from faceseal.wire import GrantState, KeyState, PurposeCode
from keyserver.store.base import Base, index_where, one_of, state_of
from keyserver.store.log_tables import EntryRow, IndexKeyRow, IndexRow, LogRow, NodeRow, SubjectRow, WitnessedRow

__all__ = [
    "ApprovalRow",
    "Base",
    "BucketRow",
    "DeliveryRow",
    "EntryRow",
    "GrantKeyRow",
    "GrantRow",
    "IndexKeyRow",
    "IndexRow",
    "KekRow",
    "KeyLabelRow",
    "KeyRow",
    "LogRow",
    "NodeRow",
    "PhotoHashRow",
    "PolicyRow",
    "ProofRow",
    "RepeatRow",
    "SubjectRow",
    "TenantRow",
    "WebhookRow",
    "WitnessedRow",
]

_STORED_GRANT_STATES = (GrantState.PENDING, GrantState.APPROVED, GrantState.DENIED, GrantState.REVOKED)


class TenantRow(Base):
    """Keys, grants and tokens of different tenants never meet."""

    __tablename__ = "tenants"

    name: Mapped[str] = mapped_column(String(64), primary_key=True)
    created_at: Mapped[int] = mapped_column(BigInteger)


class KekRow(Base):
    """A tenant's key-encryption key of one epoch, wrapped by the root."""

    __tablename__ = "keks"
    __table_args__ = (CheckConstraint("destroyed_at IS NULL OR length(wrapped) = 0", name="destroyed"),)

    tenant: Mapped[str] = mapped_column(ForeignKey("tenants.name"), primary_key=True)
    epoch: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    wrapped: Mapped[bytes] = mapped_column(LargeBinary)
    """Empty once destroyed; the row stays, for keys that are destroyed as well refer to it."""
    created_at: Mapped[int] = mapped_column(BigInteger)
    destroyed_at: Mapped[int | None] = mapped_column(BigInteger)


class KeyRow(Base):
    """An image key, wrapped by its tenant's KEK."""

    __tablename__ = "image_keys"
    __table_args__ = (
        ForeignKeyConstraint(["tenant", "kek_epoch"], ["keks.tenant", "keks.epoch"]),
        one_of(KeyState),
        CheckConstraint("destroyed_at IS NULL OR length(wrapped) = 0", name="destroyed"),
        Index(None, "tenant", "created_at", "id"),
        index_where("sealed_digest IS NOT NULL", "tenant", "sealed_digest"),
        index_where("destruction_due_at IS NOT NULL AND destroyed_at IS NULL", "destruction_due_at"),
    )

    id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    tenant: Mapped[str] = mapped_column(String(64))
    state: Mapped[KeyState] = mapped_column(state_of(KeyState))
    created_at: Mapped[int] = mapped_column(BigInteger)
    created_by: Mapped[str] = mapped_column(String(200))
    labels: Mapped[dict[str, str]] = mapped_column(JSON)
    sealed_digest: Mapped[bytes | None] = mapped_column(LargeBinary)
    kek_epoch: Mapped[int] = mapped_column(Integer)
    suite: Mapped[str] = mapped_column(String(16))
    wrapped: Mapped[bytes] = mapped_column(LargeBinary)
    """Empty once destroyed."""
    destruction_due_at: Mapped[int | None] = mapped_column(BigInteger)
    destroyed_at: Mapped[int | None] = mapped_column(BigInteger)


class KeyLabelRow(Base):
    """One of a key's labels, to search by; `KeyRow.labels` has them all.  In the index keys lie in a page's order."""

    __tablename__ = "key_labels"
    __table_args__ = (Index(None, "tenant", "name", "value", "created_at", "key_id"),)

    key_id: Mapped[UUID] = mapped_column(ForeignKey("image_keys.id"), primary_key=True)
    name: Mapped[str] = mapped_column(String(64), primary_key=True)
    value: Mapped[str] = mapped_column(String(64))
    tenant: Mapped[str] = mapped_column(String(64))
    created_at: Mapped[int] = mapped_column(BigInteger)
    """The key's."""


class PhotoHashRow(Base):
    """The perceptual hash (64 bits) of the photo that a key is bound to, in four bands; see `photo_hashes`."""

    __tablename__ = "photo_hashes"
    __table_args__ = tuple(Index(None, "tenant", f"band_{number}") for number in range(4))

    key_id: Mapped[UUID] = mapped_column(ForeignKey("image_keys.id"), primary_key=True)
    tenant: Mapped[str] = mapped_column(String(64))
    band_0: Mapped[int] = mapped_column(Integer)
    """The first 16 bits."""
    band_1: Mapped[int] = mapped_column(Integer)
    band_2: Mapped[int] = mapped_column(Integer)
    band_3: Mapped[int] = mapped_column(Integer)


class GrantRow(Base):
    """A grant.  Expired and exhausted are not stored: time and uses say so."""

    __tablename__ = "grants"
    __table_args__ = (
        CheckConstraint("uses_left >= 0", name="uses_left"),
        one_of(_STORED_GRANT_STATES),
        Index(None, "tenant", "requested_at", "id"),
    )

    id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    tenant: Mapped[str] = mapped_column(ForeignKey("tenants.name"))
    state: Mapped[GrantState] = mapped_column(state_of(GrantState))
    purpose: Mapped[str] = mapped_column(String(200))
    requested_by: Mapped[str] = mapped_column(String(200))
    requested_at: Mapped[int] = mapped_column(BigInteger)
    valid_for: Mapped[int] = mapped_column(Integer)
    uses_left: Mapped[int] = mapped_column(Integer)
    decided_by: Mapped[str | None] = mapped_column(String(200))
    expires_at: Mapped[int | None] = mapped_column(BigInteger)
    jkt: Mapped[str | None] = mapped_column(String(43))
    """Thumbprint of the requester's key (RFC 7638); None in rows from before grants were bound to keys."""

    # With defaults in the database: servers of the revision before go on inserting without them.
    purpose_code: Mapped[PurposeCode] = mapped_column(state_of(PurposeCode), server_default=PurposeCode.OTHER.value)
    reference: Mapped[str | None] = mapped_column(String(200))
    labels: Mapped[dict[str, str] | None] = mapped_column(JSON(none_as_null=True))
    """What keys are selected by when the grant comes into force; None: they were named."""
    not_before: Mapped[int | None] = mapped_column(BigInteger)
    policy_version: Mapped[int] = mapped_column(Integer, server_default="0")
    quorum: Mapped[int] = mapped_column(SmallInteger, server_default="1")
    approvals_expire: Mapped[int | None] = mapped_column(Integer)
    """Seconds; both are the policy's at the time of the request."""
    break_glass: Mapped[bool] = mapped_column(Boolean, server_default=false())

    keys: Mapped[list[GrantKeyRow]] = relationship(order_by="GrantKeyRow.position", lazy="selectin")
    # Loaded when they are asked for: releases do without.
    approvals: Mapped[list[ApprovalRow]] = relationship(order_by="ApprovalRow.at, ApprovalRow.approver")


class GrantKeyRow(Base):
    """One of the keys that a grant names, in the order of the request."""

    __tablename__ = "grant_keys"

    grant_id: Mapped[UUID] = mapped_column(ForeignKey("grants.id"), primary_key=True)
    key_id: Mapped[UUID] = mapped_column(ForeignKey("image_keys.id"), primary_key=True)
    position: Mapped[int] = mapped_column(SmallInteger)


class ApprovalRow(Base):
    """One approver's yes; a later one by the same approver takes its place."""

    __tablename__ = "grant_approvals"

    grant_id: Mapped[UUID] = mapped_column(ForeignKey("grants.id"), primary_key=True)
    approver: Mapped[str] = mapped_column(String(200), primary_key=True)
    at: Mapped[int] = mapped_column(BigInteger)


class PolicyRow(Base):
    """A version of a tenant's policy.  None is ever changed or deleted; the highest holds."""

    __tablename__ = "grant_policies"

    tenant: Mapped[str] = mapped_column(ForeignKey("tenants.name"), primary_key=True)
    version: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    document: Mapped[str] = mapped_column(Text)
    """JSON of `faceseal.wire.GrantPolicy`."""
    set_at: Mapped[int] = mapped_column(BigInteger)


class WebhookRow(Base):
    """An address that is told of what happens to a tenant's grants."""

    __tablename__ = "webhooks"
    __table_args__ = (Index(None, "tenant"),)

    id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    tenant: Mapped[str] = mapped_column(ForeignKey("tenants.name"))
    url: Mapped[str] = mapped_column(String(2000))
    secret: Mapped[bytes] = mapped_column(LargeBinary)
    """32 bytes to sign with, wrapped by the root."""
    created_at: Mapped[int] = mapped_column(BigInteger)


class DeliveryRow(Base):
    """A message on its way to one webhook; gone once it is delivered."""

    __tablename__ = "webhook_deliveries"
    __table_args__ = (Index(None, "due_at"), Index(None, "webhook_id"))

    id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    """Also the message's id, the same at every attempt."""
    webhook_id: Mapped[UUID] = mapped_column(ForeignKey("webhooks.id"))
    body: Mapped[str] = mapped_column(Text)
    created_at: Mapped[int] = mapped_column(BigInteger)
    attempts: Mapped[int] = mapped_column(Integer)
    """Those begun; a worker that took the row knows by it whether the row is still its own."""
    due_at: Mapped[int | None] = mapped_column(BigInteger)
    """Not to be taken before; None: given up."""
    failure: Mapped[str | None] = mapped_column(String(200))
    """What went wrong at the latest attempt."""


class ProofRow(Base):
    """A DPoP proof that was used.  After `expires_at` its time is over anyway, and the row may go."""

    __tablename__ = "dpop_proofs"
    __table_args__ = (Index(None, "expires_at"),)

    digest: Mapped[bytes] = mapped_column(LargeBinary, primary_key=True)
    """Of the key's thumbprint and the proof's `jti`."""
    expires_at: Mapped[int] = mapped_column(BigInteger)


class RepeatRow(Base):
    """A request that took effect under an Idempotency-Key.  After `expires_at` the key counts as new."""

    __tablename__ = "idempotency_keys"
    __table_args__ = (Index(None, "expires_at"),)

    id: Mapped[bytes] = mapped_column(LargeBinary, primary_key=True)
    """Digest of tenant, subject and key."""
    tenant: Mapped[str] = mapped_column(String(64))
    request: Mapped[bytes] = mapped_column(LargeBinary)
    """Digest of method, path and body."""
    status: Mapped[int] = mapped_column(SmallInteger)
    kek_epoch: Mapped[int | None] = mapped_column(Integer)
    """Of the KEK under which `answer` is sealed; None if it holds no secret."""
    answer: Mapped[bytes | None] = mapped_column(LargeBinary)
    """None if it could not be kept."""
    expires_at: Mapped[int] = mapped_column(BigInteger)


class BucketRow(Base):
    """A token bucket: how much one client, or one tenant, may still do of one kind."""

    __tablename__ = "rate_buckets"
    __table_args__ = (Index(None, "full_at"),)

    id: Mapped[bytes] = mapped_column(LargeBinary, primary_key=True)
    """Digest of whose it is and what for."""
    tokens: Mapped[int] = mapped_column(BigInteger)
    """In thousandths, as of `refilled_at`."""
    refilled_at: Mapped[int] = mapped_column(BigInteger)
    """Milliseconds since 1970."""
    full_at: Mapped[int] = mapped_column(BigInteger)
    """Milliseconds since 1970; a bucket that is full need not be kept."""
