"""The tables.  Times are whole seconds since 1970-01-01 UTC; hashes and digests are SHA-256."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from uuid import UUID

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    CheckConstraint,
    Enum,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    String,
    Text,
    UniqueConstraint,
    Uuid,
    false,
    text,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

from faceseal.wire import GrantState, KeyState, PurposeCode

_NAMES = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    "pk": "pk_%(table_name)s",
}


class Base(DeclarativeBase):
    """Names every constraint, so that migrations can drop them on any database."""

    metadata = MetaData(naming_convention=_NAMES)


def _state(states: type[StrEnum]) -> Enum:
    return Enum(states, values_callable=lambda members: [m.value for m in members], native_enum=False, length=32)


def _one_of(states: Iterable[StrEnum]) -> CheckConstraint:
    allowed = ", ".join(f"'{state.value}'" for state in states)
    return CheckConstraint(f"state IN ({allowed})", name="state")


def _index_where(condition: str, *columns: str) -> Index:
    return Index(None, *columns, postgresql_where=text(condition), sqlite_where=text(condition))


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
        _one_of(KeyState),
        CheckConstraint("destroyed_at IS NULL OR length(wrapped) = 0", name="destroyed"),
        Index(None, "tenant", "created_at", "id"),
        _index_where("sealed_digest IS NOT NULL", "tenant", "sealed_digest"),
        _index_where("destruction_due_at IS NOT NULL AND destroyed_at IS NULL", "destruction_due_at"),
    )

    id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    tenant: Mapped[str] = mapped_column(String(64))
    state: Mapped[KeyState] = mapped_column(_state(KeyState))
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
        _one_of(_STORED_GRANT_STATES),
        Index(None, "tenant", "requested_at", "id"),
    )

    id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    tenant: Mapped[str] = mapped_column(ForeignKey("tenants.name"))
    state: Mapped[GrantState] = mapped_column(_state(GrantState))
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
    purpose_code: Mapped[PurposeCode] = mapped_column(_state(PurposeCode), server_default=PurposeCode.OTHER.value)
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


class LogRow(Base):
    """The audit log's name, keys and size: exactly one row, and the lock of whoever appends.

    Triggers keep its numbers growing and everything else but `signing_keys` as it is; entries
    and nodes are never changed (see migration 0008).
    """

    __tablename__ = "audit_log"
    __table_args__ = (CheckConstraint("id = 1", name="one_row"),)

    id: Mapped[int] = mapped_column(SmallInteger, primary_key=True, autoincrement=False)
    origin: Mapped[str] = mapped_column(String(200))
    public_key: Mapped[bytes] = mapped_column(LargeBinary)
    """The key that the log was started with."""
    size: Mapped[int] = mapped_column(BigInteger)
    first_kept: Mapped[int] = mapped_column(BigInteger, server_default="0")
    """Entries below this number may be deleted; nodes never."""
    signing_keys: Mapped[bytes | None] = mapped_column(LargeBinary)
    """The public keys (32 bytes each) that sign checkpoints now, oldest first; None: `public_key` alone."""

    # A server of the revision before goes on appending without them: it then leaves `indexed` behind `size`.
    indexed: Mapped[int] = mapped_column(BigInteger, server_default="0")
    """All entries before this one are in the index; see `IndexRow`."""
    reader_public: Mapped[bytes | None] = mapped_column(LargeBinary)
    """X25519 key (32 bytes) that the keys of people are sealed to; None before `keyserver init` has made it."""
    reader_wrapped: Mapped[bytes | None] = mapped_column(LargeBinary)
    """Its private half, wrapped by the root."""


class EntryRow(Base):
    """One leaf of the audit log: canonical JSON."""

    __tablename__ = "audit_entries"

    entry_index: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    leaf: Mapped[str] = mapped_column(Text)


class NodeRow(Base):
    """Root of the perfect subtree over leaves ``[position << level, (position + 1) << level)``."""

    __tablename__ = "audit_nodes"

    level: Mapped[int] = mapped_column(SmallInteger, primary_key=True, autoincrement=False)
    position: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    hash: Mapped[bytes] = mapped_column(LargeBinary)


class WitnessedRow(Base):
    """The newest checkpoint that enough witnesses have cosigned: at most one row, for all replicas."""

    __tablename__ = "audit_witnessed"
    __table_args__ = (CheckConstraint("id = 1", name="one_row"),)

    id: Mapped[int] = mapped_column(SmallInteger, primary_key=True, autoincrement=False)
    size: Mapped[int] = mapped_column(BigInteger)
    note: Mapped[str] = mapped_column(Text)
    """Signed by the log and the witnesses."""


class IndexRow(Base):
    """What an entry of the log is found by.  No part of the tree: it can be made again from the leaves."""

    __tablename__ = "audit_index"
    __table_args__ = (
        Index(None, "tenant", "at", "entry_index"),
        Index(None, "subject", "at", "entry_index"),
        _index_where("name IS NOT NULL", "name", "tenant"),
        _index_where("grant_id IS NOT NULL", "grant_id"),
    )

    entry_index: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    tenant: Mapped[str | None] = mapped_column(String(64))
    at: Mapped[int] = mapped_column(BigInteger)
    action: Mapped[str] = mapped_column(String(64))
    outcome: Mapped[str] = mapped_column(String(16))
    subject: Mapped[UUID | None] = mapped_column(Uuid)
    """Pseudonym of the actor; see `SubjectRow`."""
    name: Mapped[str | None] = mapped_column(String(200))
    """The actor, where the leaf itself has it in the clear: the operator, and entries of before version 2."""
    grant_id: Mapped[UUID | None] = mapped_column(Uuid)
    key_count: Mapped[int] = mapped_column(Integer)
    """How many rows of `IndexKeyRow` there are."""


class IndexKeyRow(Base):
    """An entry that names a key; of a batch or a grant by labels there are many."""

    __tablename__ = "audit_index_keys"

    key_id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    entry_index: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)


class SubjectRow(Base):
    """Somebody whom the log names, by pseudonym; what the log says of them opens with `sealed` and nothing else.

    Deleting the row erases them: the log keeps the pseudonym, and ciphertexts that nobody opens.
    """

    __tablename__ = "audit_subjects"
    __table_args__ = (UniqueConstraint("tenant", "name"),)

    id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    """Random; the pseudonym."""
    tenant: Mapped[str] = mapped_column(String(64))
    """Of the token, which may name one that does not exist."""
    name: Mapped[str] = mapped_column(String(200))
    public: Mapped[bytes] = mapped_column(LargeBinary)
    """X25519 key (32 bytes) that entries are sealed to."""
    sealed: Mapped[bytes] = mapped_column(LargeBinary)
    """Its private half, sealed to the log's reader."""


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
