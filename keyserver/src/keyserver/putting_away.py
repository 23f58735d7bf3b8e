"""Putting old entries of the audit log away: into a file that proves itself, then out of the database, on record.

The file is an export of a range, with a checkpoint of the log as it was at the range's end.  It is
on disk and verified before anything is deleted, and is never written over.  Its name and the
entry that says what it holds are there before the first row goes, so that wherever this is
broken off, nothing is lost, and the same command goes on.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy.exc import ProgrammingError
from sqlalchemy.orm import Session

from faceseal.durable import sync_folder
from faceseal.errors import TransparencyError
from faceseal.translog import verify_export
from keyserver import audit
from keyserver.actions import Action
from keyserver.audit import Entry, Outcome, retention
from keyserver.audit.entry import OPERATOR
from keyserver.audit.export import export_lines
from keyserver.errors import SetupError, StoreUnavailable
from keyserver.service.ports import Ports
from keyserver.service.witnessed import log_keys, newest_witnessed
from keyserver.store import log
from keyserver.store import retention as store
from keyserver.store.shredding import drop_journal, overwrite_freed

DAY = 24 * 3600
Progress = Callable[[int], None]
"""How many entries are deleted so far."""


@dataclass(frozen=True)
class Wanted:
    """What is to be put away: all that may be, or less.

    keep_days: nothing younger.  before: only what is older (seconds since 1970); until: only entries before this one.
    """

    keep_days: int
    before: int | None = None
    until: int | None = None


@dataclass(frozen=True)
class PutAway:
    """The entries [first, end), the tree's root at their end, and the SHA-256 of the file that holds them."""

    first: int
    end: int
    root: bytes
    sha256: bytes


def put_away(ports: Ports, path: Path, wanted: Wanted, progress: Progress) -> PutAway | None:
    """Put entries away into a new file; None if none is old enough.

    First goes on with what an earlier call has left to be deleted; a file that such a call has written is used, and
    is the answer if it was on record already.  Raises SetupError if something may not be put away, or the file is
    there and is another one; TransparencyError if the database does not hold what was signed; Unavailable.
    """
    _require_owner(ports)
    left = _delete(ports, progress)
    found = _existing(ports, path) if path.exists() else None
    if left and found is not None and _is_on_record(ports, found):
        return found
    with ports.database.reading() as session:
        first, end = log.first_kept(session), _end(session, wanted, ports.clock())
    if found is not None and (found.first != first or not first < found.end <= end):
        raise SetupError(f"{path} is there already, and does not hold what is to be put away")
    if found is None and end <= first:
        return None
    if found is None:
        found = _write(ports, path, end)
    _record(ports, found)
    _delete(ports, progress)
    return found


def _require_owner(ports: Ports) -> None:
    """Before a large file is written for nothing."""
    try:
        with ports.database.probing() as session:
            store.delete(session, 0, [])
    except StoreUnavailable as failure:
        if isinstance(failure.__cause__, ProgrammingError):
            raise SetupError(
                "the database does not let this role delete entries; use that of the tables' owner"
            ) from None
        raise


def _end(session: Session, wanted: Wanted, now: int) -> int:
    first, newest = log.first_kept(session), audit.current_checkpoint(session).size - 1
    youngest = now - wanted.keep_days * DAY
    if wanted.before is not None:
        if wanted.before > youngest:
            raise SetupError(f"entries of the last {wanted.keep_days} days are kept (KEYSERVER_AUDIT_KEEP_DAYS)")
        return retention.end_of_older(session, newest, wanted.before)
    end = retention.end_of_older(session, newest, youngest)
    if wanted.until is None:
        return end
    if wanted.until <= first:
        raise SetupError(f"the entries before {first} were put away already")
    if wanted.until > end:
        raise SetupError(
            f"entry {end} is the newest one, or from the last {wanted.keep_days} days (KEYSERVER_AUDIT_KEEP_DAYS): "
            "it is kept, and all that follow"
        )
    return wanted.until


def _write(ports: Ports, path: Path, end: int) -> PutAway:
    """Write the file, whole, verified and on disk, or not at all."""
    try:
        # Made with mode 0600.
        descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(descriptor, "wb") as file:
                with ports.database.reading() as session:
                    file.writelines(export_lines(session, ports.signer, end=end))
                file.flush()
                os.fsync(file.fileno())
            # Not in the transaction: databases end those that are idle for long.
            written = _verified(ports, Path(name))
            # Unlike a rename, this never replaces a file.
            path.hardlink_to(name)
        finally:
            Path(name).unlink(missing_ok=True)
        sync_folder(path.parent)
    except OSError as cause:
        raise SetupError(f"cannot write {path}: {cause.strerror}") from None
    return written


def _verified(ports: Ports, path: Path) -> PutAway:
    verified = verify_export(path, ports.signer.verifier_key)
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").digest()
    return PutAway(verified.first, verified.size, verified.checkpoint.root, digest)


def _existing(ports: Ports, path: Path) -> PutAway:
    """A file that is there, on disk for sure, if it is what this log's key has signed."""
    try:
        with path.open("rb") as file:
            os.fsync(file.fileno())
        sync_folder(path.parent)
        return _verified(ports, path)
    except TransparencyError as wrong:
        raise SetupError(f"{path} is there already, and is no part of this log: {wrong}") from None
    except OSError as cause:
        raise SetupError(f"cannot read {path}: {cause.strerror}") from None


def _is_on_record(ports: Ports, found: PutAway) -> bool:
    """Whether this very file is the one that was put away last."""
    with ports.database.reading() as session:
        leaf = store.newest_leaf(session, OPERATOR, Action.PUT_AWAY.value)
    return leaf is not None and json.loads(leaf).get("file_sha256") == found.sha256.hex()


def _record(ports: Ports, found: PutAway) -> None:
    with ports.database.writing() as session:
        head = log.head_for_append(session)
        if head.first_kept != found.first:
            raise SetupError("somebody else has put entries away meanwhile; the file is not on record, remove it")
        if not hmac.compare_digest(audit.root_of(session, found.end), found.root):
            raise SetupError("the file is of another history of this log; nothing is put away")
        _require_witnessed(session, ports, found.end)
        head.first_kept = found.end
        # Written before the entry is appended, which reads the row again.
        session.flush()
        audit.append(session, _entry(found, ports.clock()))


def _require_witnessed(session: Session, ports: Ports, end: int) -> None:
    """Where witnesses count: how long an entry has been without them is told by the entry."""
    witnessing = ports.trust.witnessing
    if not witnessing.keys:
        return
    found = newest_witnessed(session, log_keys(ports), witnessing)
    if found is None or found.checkpoint.size < end:
        raise SetupError(
            "no checkpoint that enough witnesses have cosigned covers all of these entries; nothing is put away"
        )
    if not hmac.compare_digest(audit.root_of(session, found.checkpoint.size), found.checkpoint.root):
        raise SetupError("the checkpoint that witnesses have cosigned is not of this log; nothing is put away")


def _entry(found: PutAway, now: int) -> Entry:
    return Entry(
        at=now,
        action=Action.PUT_AWAY,
        outcome=Outcome.ALLOWED,
        actor=OPERATOR,
        count=found.end - found.first,
        first=found.first,
        end=found.end,
        file_sha256=found.sha256,
    )


def _delete(ports: Ports, progress: Progress) -> int:
    done = 0
    while True:
        with ports.database.writing() as session:
            overwrite_freed(session)
            deleted = retention.delete_put_away(session)
        if not deleted:
            break
        done += deleted
        progress(done)
    if done:
        drop_journal(ports.database)
    return done
