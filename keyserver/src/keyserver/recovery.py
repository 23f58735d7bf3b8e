"""Backups of an installation, and an installation made from one.

A backup holds the database and no key file: without the root, the issuer's key and the log's
key, which are kept elsewhere, nothing in it opens and nothing new can be signed.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from sqlalchemy import inspect, select
from sqlalchemy.orm import Session

from keyserver import audit, installation
from keyserver.actions import Action
from keyserver.audit import Entry, Outcome
from keyserver.audit.entry import OPERATOR
from keyserver.audit.logkeys import held_public_keys
from keyserver.backup import restoring, saving
from keyserver.backup.restoring import Verified
from keyserver.backup.saving import Manifest, Progress
from keyserver.errors import SetupError
from keyserver.roots import open_root
from keyserver.secretfile import read_secret
from keyserver.service.ports import Ports
from keyserver.settings import Settings
from keyserver.store import schema
from keyserver.store.database import Database
from keyserver.store.tables import Base


def back_up(ports: Ports, settings: Settings, path: Path, passphrase: str, progress: Progress) -> Manifest:
    """Write a new file, whole or not at all, readable by its owner; on record.  The server may serve meanwhile.

    Raises SetupError if the file is there or cannot be written, Unavailable.
    """
    if path.exists():
        raise SetupError(f"{path} is there already")
    with ports.database.writing() as session:
        audit.append(session, _entry(Action.MAKE_BACKUP, ports.clock()))
    try:
        # Made with mode 0600.
        descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(descriptor, "wb") as file:
                manifest = saving.save(ports, file, passphrase, settings.root.value, progress)
                file.flush()
                os.fsync(file.fileno())
            # Unlike a rename, this never replaces a file.
            path.hardlink_to(name)
        finally:
            Path(name).unlink(missing_ok=True)
    except OSError as cause:
        raise SetupError(f"cannot write {path}: {cause.strerror}") from None
    return manifest


def verify(path: Path, passphrase: str, progress: Progress, trusted: bytes | None) -> Verified:
    """Read all of a backup; needs no installation.  Raises SetupError, BackupBroken."""
    try:
        with path.open("rb") as file:
            return restoring.verify(file, passphrase, progress, trusted)
    except OSError as cause:
        raise SetupError(f"cannot read {path}: {cause.strerror}") from None


def restore(settings: Settings, path: Path, passphrase: str, progress: Progress, now: int) -> Verified:
    """Fill an installation that holds nothing but its key files, in one transaction; on record.

    Raises SetupError if anything is there, or root and key files are not those of the backup;
    BackupBroken; Unavailable.
    """
    log_keys = held_public_keys(settings.log_key_file)
    read_secret(settings.issuer_key_file)
    try:
        with path.open("rb") as file:
            _require_fitting(restoring.manifest_of(file, passphrase), settings)
            file.seek(0)
            root = open_root(settings)
            database = _empty_database(settings)
            with database.writing() as session:
                _require_empty(session)
                verified = restoring.restore(session, file, passphrase, progress, log_keys)
                installation.check_root(session, root, settings)
                audit.append(session, _entry(Action.RESTORE_BACKUP, now))
            database.close()
    except OSError as cause:
        raise SetupError(f"cannot read {path}: {cause.strerror}") from None
    return verified


def _require_fitting(manifest: Manifest, settings: Settings) -> None:
    if manifest.root != settings.root.value:
        raise SetupError(f"the backup's keys are wrapped by a root of kind {manifest.root}; set KEYSERVER_ROOT to it")
    if manifest.schema != schema.head():
        raise SetupError(
            f"the backup has schema {manifest.schema}, this program {schema.head()}; restore it with the program "
            "that made it, then upgrade"
        )


def _empty_database(settings: Settings) -> Database:
    if settings.database_url is None:
        # Made here for its mode; SQLite gives its other files the same one.
        settings.database_file.touch(mode=0o600, exist_ok=True)
    database = Database(settings.url, settings.pool)
    with database.reading() as session:
        found = set(inspect(session.connection()).get_table_names())
    if found and not schema.is_current(database):
        raise SetupError("the database is not empty; a backup is restored into an empty one only")
    schema.upgrade(database)
    return database


def _require_empty(session: Session) -> None:
    for table in Base.metadata.sorted_tables:
        if session.execute(select(table).limit(1)).first() is not None:
            raise SetupError("the database is not empty; a backup is restored into an empty one only")


def _entry(action: Action, now: int) -> Entry:
    return Entry(at=now, action=action, outcome=Outcome.ALLOWED, actor=OPERATOR)
