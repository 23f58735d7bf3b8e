"""Writing a backup: everything as of one moment, while the server serves.

Lines: first what the backup is of (`Manifest`), then for each table ``{"table", "columns"}``
and its rows, at the end ``{"rows": {table: number}, "sha256": of all lines before}``.  If entries
of the log were put away, their hashes stand before the others, as rows of `audit_nodes`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any, BinaryIO

from sqlalchemy import Select, Table, func, select
from sqlalchemy.orm import Session

from keyserver import audit
from keyserver.backup.rows import ENTRIES, NODES, encoded, tables
from keyserver.backup.stream import SealedWriter
from keyserver.service.ports import Ports
from keyserver.store import log, schema

Progress = Callable[[str, int, int], None]
"""The table, how many of its rows are done, and how many there are."""
_BATCH = 1000


@dataclass(frozen=True)
class Manifest:
    """What a backup is of."""

    made_at: int
    schema: str
    root: str
    """The kind of the root that must open the KEKs."""
    checkpoint: str
    """The audit log's, signed: its tree must come out again."""


def save(ports: Ports, file: BinaryIO, passphrase: str, root: str, progress: Progress) -> Manifest:
    """Write the whole file.  Holds a thousand rows at a time.  Raises StoreUnavailable, OSError."""
    # One moment on both databases: SQLite's readers see a snapshot, PostgreSQL's are REPEATABLE READ.
    with ports.database.reading() as session:
        checkpoint = ports.signer.sign(audit.current_checkpoint(session))
        manifest = Manifest(ports.clock(), schema.revision_of(session), root, checkpoint)
        writer = SealedWriter(file, passphrase, ports.random)
        digest = hashlib.sha256()

        def write(line: bytes) -> None:
            digest.update(line)
            writer.write(line)

        write(_line(asdict(manifest)))
        counts = _write_tables(session, write, progress)
        writer.write(_line({"rows": counts, "sha256": digest.hexdigest()}))
        writer.finish()
    return manifest


def _write_tables(session: Session, write: Callable[[bytes], None], progress: Progress) -> dict[str, int]:
    counts = {}
    for table, rows in _parts(session):
        write(_line({"table": table.name, "columns": [column.name for column in table.columns]}))
        total = session.scalar(select(func.count()).select_from(rows.subquery())) or 0
        done = 0
        ordered = rows.order_by(*table.primary_key.columns).execution_options(yield_per=_BATCH)
        for batch in session.execute(ordered).partitions():
            for row in batch:
                write(encoded(row))
            done += len(batch)
            progress(table.name, done, total)
        counts[table.name] = done
    return counts


def _parts(session: Session) -> Iterator[tuple[Table, Select[Any]]]:
    """What is in the file, part by part."""
    first_kept = log.first_kept(session)
    for table in tables():
        if table is ENTRIES and first_kept:
            leaf_hashes = NODES.c.level == 0, NODES.c.position < first_kept
            yield NODES, select(NODES).where(*leaf_hashes)
            # What was put away may not have been deleted yet.
            yield ENTRIES, select(ENTRIES).where(ENTRIES.c.entry_index >= first_kept)
        else:
            yield table, select(table)


def _line(members: object) -> bytes:
    return json.dumps(members, separators=(",", ":")).encode() + b"\n"
