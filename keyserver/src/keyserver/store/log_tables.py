"""The tables of the audit log, and of what it is searched by.  See `tables`."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Index,
    Integer,
    LargeBinary,
    SmallInteger,
    String,
    Text,
    UniqueConstraint,
    Uuid,
)
from sqlalchemy.orm import Mapped, mapped_column

from keyserver.store.base import Base, index_where


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
        index_where("name IS NOT NULL", "name", "tenant"),
        index_where("grant_id IS NOT NULL", "grant_id"),
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
