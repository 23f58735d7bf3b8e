"""Reading a backup: verifying it, and restoring it into an installation that holds nothing.

The file is trusted with nothing: its lines are counted and digested, and the audit log's
tree is grown again from the leaves and must be the one that the log's key has signed.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, BinaryIO

from sqlalchemy import Table, insert
from sqlalchemy.orm import Session

from faceseal.errors import TransparencyError
from faceseal.translog import Checkpoint, VerifierKey, leaf_hash, open_checkpoint
from keyserver.audit import tree
from keyserver.audit.indexing import of_leaf
from keyserver.backup.rows import ENTRIES, LONGEST_LINE, NODES, decoder, tables
from keyserver.backup.saving import Manifest, Progress
from keyserver.backup.stream import lines, opened_chunks
from keyserver.errors import BackupBroken
from keyserver.store.index import COLUMNS
from keyserver.store.log import signing_keys
from keyserver.store.tables import IndexKeyRow, IndexRow, LogRow

_BATCH = 1000
Batch = tuple[Table, list[dict[str, Any]]]


@dataclass(frozen=True)
class Verified:
    """What a backup that is whole says of itself."""

    manifest: Manifest
    rows: Mapping[str, int]
    checkpoint: Checkpoint


class _Tree:
    """The audit log's tree, grown leaf by leaf; keeps its right edge alone."""

    def __init__(self) -> None:
        self.size = 0
        self.put_away = 0
        """How many of the first leaves are not there."""
        self._edge: dict[tree.Node, bytes] = {}

    def grow(self, rows: list[dict[str, Any]]) -> dict[tree.Node, bytes]:
        """The nodes that these leaves complete."""
        return self._grow([row["entry_index"] for row in rows], [leaf_hash(row["leaf"].encode()) for row in rows])

    def grow_without(self, rows: list[dict[str, Any]]) -> dict[tree.Node, bytes]:
        """The nodes that leaves complete which were put away, and have left their hashes."""
        if any(row["level"] for row in rows):
            raise BackupBroken("the backup holds hashes of the audit log that are no leaf's")
        self.put_away += len(rows)
        return self._grow([row["position"] for row in rows], [row["hash"] for row in rows])

    def _grow(self, numbers: list[int], leaves: list[bytes]) -> dict[tree.Node, bytes]:
        if numbers != list(range(self.size, self.size + len(leaves))):
            raise BackupBroken("the audit log's entries are not in their order")
        made = tree.grown(self._edge, self.size, leaves)
        self.size += len(leaves)
        known = self._edge | made
        self._edge = {node: known[node] for node in tree.perfect_subtrees((0, self.size))}
        return made

    @property
    def root(self) -> bytes:
        return tree.range_hash((0, self.size), self._edge)


def verify(file: BinaryIO, passphrase: str, progress: Progress, trusted: bytes | None = None) -> Verified:
    """Read all of the file and check that it is whole, and that the log's key signed just this log.

    `trusted` is the log's public key (32 bytes); without it, the one in the backup is believed.  Holds a thousand rows
    at a time.  Raises BackupBroken.
    """
    return _read(file, passphrase, progress, None if trusted is None else [trusted], lambda _table, _rows: None)


def restore(
    session: Session, file: BinaryIO, passphrase: str, progress: Progress, trusted: Sequence[bytes]
) -> Verified:
    """Insert everything in the session's transaction, which must not be committed if this raises BackupBroken.

    `trusted` are public keys; one of them must be in force in the backup's log.
    """

    def keep(table: Table, rows: list[dict[str, Any]]) -> None:
        session.execute(insert(table), rows)

    return _read(file, passphrase, progress, trusted, keep)


def manifest_of(file: BinaryIO, passphrase: str) -> Manifest:
    """What the backup is of; nothing behind its first line is looked at.  Raises BackupBroken."""
    return _manifest(next(lines(opened_chunks(file, passphrase), LONGEST_LINE), b""))


def _read(
    file: BinaryIO,
    passphrase: str,
    progress: Progress,
    trusted: Sequence[bytes] | None,
    keep: Callable[[Table, list[dict[str, Any]]], None],
) -> Verified:
    digest, counts, grown = hashlib.sha256(), {table.name: 0 for table in tables()}, _Tree()
    found = lines(opened_chunks(file, passphrase), LONGEST_LINE)
    first = next(found, b"")
    manifest = _manifest(first)
    digest.update(first + b"\n")
    log_row: dict[str, Any] = {}
    end: dict[str, Any] = {}
    for table, rows in _batches(found, digest.update, end):
        counts[table.name] = counts.get(table.name, 0) + len(rows)
        progress(table.name, counts[table.name], 0)
        if table.name == LogRow.__tablename__:
            log_row = rows[0]
        if table is not NODES:
            keep(table, rows)
        if table in (ENTRIES, NODES):
            made = grown.grow(rows) if table is ENTRIES else grown.grow_without(rows)
            keep(NODES, [{"level": at[0], "position": at[1], "hash": value} for at, value in made.items()])
        if table is ENTRIES:
            for index in _indexed(rows):
                keep(*index)
    if end.get("rows") != counts or not hmac.compare_digest(str(end.get("sha256")), digest.hexdigest()):
        raise BackupBroken("the backup does not hold what its end says")
    checkpoint = _checkpoint(manifest, log_row, trusted)
    if (grown.size, grown.root) != (checkpoint.size, checkpoint.root) or log_row["size"] != grown.size:
        raise BackupBroken("the audit log in the backup is not the one that its key has signed")
    if grown.put_away != log_row["first_kept"]:
        raise BackupBroken("the backup lacks entries of the audit log that were not put away")
    return Verified(manifest, counts, checkpoint)


_INDEX = IndexRow.metadata.tables[IndexRow.__tablename__]
_INDEX_KEYS = IndexKeyRow.metadata.tables[IndexKeyRow.__tablename__]


def _indexed(rows: list[dict[str, Any]]) -> Iterator[Batch]:
    """What the leaves are found by."""
    try:
        indexed = [of_leaf(row["leaf"]) for row in rows]
    except (ValueError, KeyError, TypeError, AttributeError):
        raise BackupBroken("the audit log in the backup holds an entry that cannot be read") from None
    yield _INDEX, [dict(zip(COLUMNS, one.row, strict=True)) for one in indexed]
    keys = [{"key_id": key, "entry_index": one.row[0]} for one in indexed for key in one.keys]
    if keys:
        yield _INDEX_KEYS, keys


def _batches(found: Iterator[bytes], digested: Callable[[bytes], None], end: dict[str, Any]) -> Iterator[Batch]:
    """Rows by table; `end` is filled with the last line, which is no part of what is digested."""
    expected: Iterator[Table] = iter(tables())
    table: Table | None = None
    rows: list[dict[str, Any]] = []
    decode: Callable[[list[Any]], dict[str, Any]] = dict
    for line in found:
        members = _json(line)
        if end:
            raise BackupBroken("the backup goes on behind its end")
        if isinstance(members, list):
            if table is None:
                raise BackupBroken("the backup has rows before a table")
            digested(line + b"\n")
            rows.append(decode(members))
            if len(rows) == _BATCH:
                yield table, rows
                rows = []
            continue
        if table is not None and rows:
            yield table, rows
        rows, table = [], next(expected, None)
        if table is ENTRIES and isinstance(members, dict) and members.get("table") == NODES.name:
            expected, table = chain([table], expected), NODES
        if table is None:
            end.update(members)
            continue
        digested(line + b"\n")
        if members != {"table": table.name, "columns": [column.name for column in table.columns]}:
            raise BackupBroken("the backup is of another version of the key server")
        decode = decoder(table)


def _manifest(line: bytes) -> Manifest:
    try:
        return Manifest(**_json(line))
    except TypeError:
        raise BackupBroken("the backup is of another version of the key server") from None


def _checkpoint(manifest: Manifest, log_row: Mapping[str, Any], trusted: Sequence[bytes] | None) -> Checkpoint:
    if not log_row:
        raise BackupBroken("the backup holds no audit log")
    in_force = signing_keys(LogRow(**log_row))
    counting = [public for public in reversed(in_force) if trusted is None or public in trusted]
    if not counting:
        raise BackupBroken("the backup is of another audit log than the one of this key")
    try:
        return open_checkpoint(manifest.checkpoint, VerifierKey(log_row["origin"], counting[0]))
    except TransparencyError:
        raise BackupBroken("the checkpoint in the backup is not signed by the log's key") from None


def _json(line: bytes) -> Any:
    try:
        return json.loads(line)
    except ValueError:
        raise BackupBroken("the backup holds a line that is no JSON") from None
