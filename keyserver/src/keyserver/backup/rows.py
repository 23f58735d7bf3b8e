"""Rows as lines of JSON that either database can read back: bytes as base64url, UUIDs as text, and so on by type."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from enum import Enum
from typing import Any
from uuid import UUID

from sqlalchemy import Enum as EnumType
from sqlalchemy import LargeBinary, Table, Uuid

from faceseal.wire import decode_base64url, encode_base64url
from keyserver.errors import BackupBroken
from keyserver.store.tables import Base

LEFT_OUT = frozenset({"audit_nodes", "audit_index", "audit_index_keys", "rate_buckets", "dpop_proofs"})
"""What is made anew: the log's tree and index from its leaves, and what lives for minutes."""
ENTRIES = Base.metadata.tables["audit_entries"]
NODES = Base.metadata.tables["audit_nodes"]
"""Of entries that were put away a backup holds the leaf hashes, for the tree cannot be made without them."""
LONGEST_LINE = 4 << 20
"""Bytes; a kept answer is the longest."""


def tables() -> list[Table]:
    """What a backup holds, each after what it refers to."""
    return [table for table in Base.metadata.sorted_tables if table.name not in LEFT_OUT]


def encoded(values: Iterable[Any]) -> bytes:
    """One row as a line, with its end."""
    return json.dumps([_plain(value) for value in values], separators=(",", ":")).encode() + b"\n"


def decoder(table: Table) -> Callable[[list[Any]], dict[str, Any]]:
    """Reads the rows of this table.  The function raises BackupBroken."""
    readers = [(column.name, _reader(column.type)) for column in table.columns]

    def decode(row: list[Any]) -> dict[str, Any]:
        if not isinstance(row, list) or len(row) != len(readers):
            raise BackupBroken(f"a row of {table.name} has another number of columns")
        try:
            return {
                name: None if value is None else read(value) for (name, read), value in zip(readers, row, strict=True)
            }
        except (ValueError, TypeError, AttributeError):
            raise BackupBroken(f"a row of {table.name} cannot be read") from None

    return decode


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return encode_base64url(value)
    if isinstance(value, UUID):
        return str(value)
    return value.value if isinstance(value, Enum) else value


def _reader(kind: Any) -> Callable[[Any], Any]:
    if isinstance(kind, LargeBinary):
        return decode_base64url
    if isinstance(kind, Uuid):
        return UUID
    if isinstance(kind, EnumType) and kind.enum_class is not None:
        return kind.enum_class
    return lambda value: value
