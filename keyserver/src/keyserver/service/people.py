"""The people whom the audit log names: the key of its reader, opening what is sealed, and erasing somebody.

The reader is one X25519 key of the installation, made by `keyserver init` and wrapped by the
root.  Writing needs its public half alone; who reads asks the root.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from sqlalchemy.orm import Session

from keyserver import audit
from keyserver.actions import Action
from keyserver.audit import Entry, Outcome, personal
from keyserver.audit.entry import OPERATOR
from keyserver.errors import Conflict, NotFound
from keyserver.keywrap import Root, reader_context
from keyserver.service.ports import Ports
from keyserver.store import log, names, queries, subjects
from keyserver.store.shredding import drop_journal, overwrite_freed


@dataclass(frozen=True)
class WrappedReader:
    """The private key of a log's reader, wrapped by the root."""

    origin: str
    wrapped: bytes


def ensure_reader(session: Session, root: Root) -> None:
    """Make the reader's key if there is none.  Raises Unavailable."""
    head = log.head_for_append(session)
    if head.reader_public is None:
        private, head.reader_public = personal.new_key()
        head.reader_wrapped = root.wrap(private, reader_context(head.origin))
        session.flush()


def wrapped_reader(session: Session) -> WrappedReader | None:
    """None before `keyserver init` has made it."""
    head = log.head(session)
    if head is None or head.reader_wrapped is None:
        return None
    return WrappedReader(head.origin, head.reader_wrapped)


def opened_reader(reader: WrappedReader, root: Root) -> bytes:
    """The private key (32 bytes).  Raises WrapBroken, Unavailable."""
    return root.unwrap(reader.wrapped, reader_context(reader.origin))


def require_reader(session: Session, root: Root) -> None:
    """Raises WrapBroken if the root does not open the reader's key, Unavailable."""
    reader = wrapped_reader(session)
    if reader is not None:
        opened_reader(reader, root)


def moved_reader(reader: WrappedReader | None, old: Root, new: Root) -> bytes | None:
    """The reader's key wrapped by another root, which has opened it once.  Raises WrapBroken, Unavailable."""
    if reader is None:
        return None
    context = reader_context(reader.origin)
    after = new.wrap(old.unwrap(reader.wrapped, context), context)
    new.unwrap(after, context)
    return after


def set_moved_reader(session: Session, before: WrappedReader | None, after: bytes | None) -> None:
    """Write what `moved_reader` made.  Raises Conflict if the key was changed meanwhile."""
    head = log.head_for_append(session)
    if head.reader_wrapped != (None if before is None else before.wrapped):
        raise Conflict("the key of the audit log's reader was changed meanwhile; nothing was moved")
    head.reader_wrapped = after


@dataclass(frozen=True)
class Erasing:
    """How far an erasure is: rows of grants and keys that named the person."""

    grants: int
    keys: int


def erase(ports: Ports, tenant: str, name: str, batch: int = names.BATCH) -> Iterator[Erasing]:
    """Forget somebody: what the log says of them opens to nobody from now on, and grants and keys name a pseudonym.

    Grants of theirs end.  What is yielded is done; called again after it was stopped, it goes
    on.  The same person is somebody else for the log afterwards.  Raises NotFound if there is
    no such tenant, or nothing names the person; StoreUnavailable.
    """
    now = ports.clock()
    with ports.database.writing() as session:
        overwrite_freed(session)
        if not queries.tenant_exists(session, tenant):
            raise NotFound(f"there is no tenant {tenant}")
        known = subjects.pseudonym(session, tenant, name)
        instead = known or subjects.new_pseudonym()
        grants = names.replace_in_grants(session, tenant, name, str(instead))
        left = names.keys_of(session, tenant, name, 1)
        gone = subjects.erase(session, tenant, name)
        if gone is None and not grants and not left:
            raise NotFound(f"nothing names {name} in tenant {tenant}")
        entry = Entry(at=now, action=Action.ERASE_SUBJECT, outcome=Outcome.ALLOWED, actor=OPERATOR, tenant=tenant)
        audit.append(session, replace(entry, about=gone or instead, count=grants))
    keys = 0
    yield Erasing(grants, keys)
    # Requests and decisions that were under way have ended: deleting the person's row has waited for them.
    # In transactions of their own, for whoever releases holds grants before people.
    while True:
        with ports.database.writing() as session:
            overwrite_freed(session)
            replaced = names.replace_in_grants(session, tenant, name, str(instead))
        if not replaced:
            break
        grants += replaced
        yield Erasing(grants, keys)
    while True:
        with ports.database.writing() as session:
            overwrite_freed(session)
            replaced = names.replace_in_keys(session, tenant, name, str(instead), batch)
        if not replaced:
            break
        keys += replaced
        yield Erasing(grants, keys)
    drop_journal(ports.database)
