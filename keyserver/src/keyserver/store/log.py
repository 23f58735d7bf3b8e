"""Queries of the audit log: its head, its leaves and its stored subtree hashes."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence

from sqlalchemy import select, tuple_
from sqlalchemy.orm import Session

from keyserver.store.bulk import insert_rows
from keyserver.store.tables import EntryRow, LogRow, NodeRow

_BATCH = 1000
KEY_BYTES = 32


def head(session: Session) -> LogRow | None:
    """The log's row, or None before the log was started."""
    return session.get(LogRow, 1)


def head_for_append(session: Session) -> LogRow:
    """The log's row, locked: nobody else appends meanwhile."""
    return session.get_one(LogRow, 1, with_for_update=True)


def signing_keys(head: LogRow) -> tuple[bytes, ...]:
    """The public keys (32 bytes each) whose signatures the log's checkpoints carry, oldest first; at least one."""
    listed = head.signing_keys or head.public_key
    return tuple(listed[start : start + KEY_BYTES] for start in range(0, len(listed), KEY_BYTES))


def reader(session: Session) -> bytes | None:
    """The public key of the log's reader; the row stays unread otherwise, for who locks it later."""
    return session.scalar(select(LogRow.reader_public).where(LogRow.id == 1))


def unindexed(session: Session) -> int:
    """How many entries, from the first that is not in the index on, may be missing there."""
    return session.scalar(select(LogRow.size - LogRow.indexed).where(LogRow.id == 1)) or 0


def size_for_probe(session: Session) -> int | None:
    """The log's size, from a row that could be locked for appending; None if somebody is appending right now.

    Fails where nothing can be written, such as on a standby.
    """
    found = select(LogRow.size).where(LogRow.id == 1).with_for_update(skip_locked=True)
    return session.scalars(found).one_or_none()


def nodes(session: Session, wanted: Collection[tuple[int, int]]) -> Mapping[tuple[int, int], bytes]:
    """The stored hashes of these subtrees, by (level, position)."""
    if not wanted:
        return {}
    found = select(NodeRow).where(tuple_(NodeRow.level, NodeRow.position).in_(list(wanted)))
    return {(row.level, row.position): row.hash for row in session.scalars(found)}


def add(session: Session, first: int, new: Sequence[str], hashes: Mapping[tuple[int, int], bytes]) -> None:
    """Insert leaves, from number `first` on, and hashes by (level, position)."""
    insert_rows(session, EntryRow, ("entry_index", "leaf"), list(enumerate(new, start=first)))
    found = [(level, position, value) for (level, position), value in hashes.items()]
    insert_rows(session, NodeRow, ("level", "position", "hash"), found)


def leaf(session: Session, index: int) -> str:
    """The leaf with this number, which there is."""
    return session.get_one(EntryRow, index).leaf


def first_kept(session: Session) -> int:
    """The lowest number of an entry that was not put away; the row stays unread, for who locks it later."""
    return session.scalar(select(LogRow.first_kept).where(LogRow.id == 1)) or 0


def leaves(session: Session, size: int, first: int = 0) -> Iterator[str]:
    """The leaves from number `first` on of the first `size`, in order, read in batches."""
    wanted = EntryRow.entry_index < size, EntryRow.entry_index >= first
    rows = select(EntryRow.leaf).where(*wanted).order_by(EntryRow.entry_index)
    yield from session.scalars(rows.execution_options(yield_per=_BATCH))
