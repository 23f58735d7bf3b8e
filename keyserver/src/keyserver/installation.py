"""An installation on disk: creating it, extending it, opening it to work with.

The key files and the database belong together.  Those of the root, the issuer and the log are
made only as long as the database knows no log: later a missing one is an error, for a new one
would lose every key, or start a log that nobody expects.  That of the nonces is made whenever it
is missing: a new one costs a retry.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy.orm import Session

from faceseal.translog import VerifierKey
from keyserver import audit, keywrap, metrics
from keyserver.actions import Action
from keyserver.audit import Entry, Outcome
from keyserver.audit.entry import OPERATOR
from keyserver.audit.log import start
from keyserver.audit.logkeys import LogKeys, signed_by
from keyserver.errors import SetupError, WrapBroken
from keyserver.ids import RANDOM_BYTES, uuid7
from keyserver.keywrap import Root, RootKind
from keyserver.roots import open_root, settings_of_root
from keyserver.secretfile import SECRET_BYTES, create_secret, read_secret
from keyserver.service import keks, logcheck, people
from keyserver.service.logtrust import LogTrust
from keyserver.service.pages import Cursors
from keyserver.service.ports import Ports
from keyserver.settings import NAME, Settings
from keyserver.sinks.opening import witnessing_of
from keyserver.store import log, queries, schema
from keyserver.store.database import Database
from keyserver.store.tables import KekRow, TenantRow
from keyserver.tokens import AccessVerifier, BuiltinIssuer
from keyserver.tokens.keyfiles import KeyFiles, rotate_keys
from keyserver.tokens.nonces import Nonces

FIRST_EPOCH = 1
MOST_KEKS_CHECKED = 64
MAX_CHECKPOINT_BYTES = 4096


def initialise(settings: Settings, tenant: str, now: int) -> Ports:
    """Create what is missing: folder, key files, schema, log and tenant; and open the result.

    Running it again changes nothing, brings an older schema up to date, or adds a tenant.
    Raises SetupError, StoreUnavailable.
    """
    _prepare_folder(settings)
    database = Database(settings.url)
    schema.upgrade(database)
    with database.reading() as session:
        started = log.head(session) is not None
    if not started:
        secrets = [settings.issuer_key_file, settings.log_key_file]
        if settings.root is RootKind.FILE:
            secrets.append(settings.root_key_file)
        for path in secrets:
            if not path.exists():
                create_secret(path, os.urandom(SECRET_BYTES))
    if not settings.nonce_key_file.exists():
        create_secret(settings.nonce_key_file, os.urandom(SECRET_BYTES))
    root = open_root(settings)
    with database.reading() as session:
        # Before a tenant is added: its KEK must not come to lie under another root than the others.
        _check_root(session, root, settings)
    with database.writing() as session:
        if not started:
            log_key = Ed25519PrivateKey.from_private_bytes(read_secret(settings.log_key_file))
            start(session, f"{NAME}/{os.urandom(4).hex()}", log_key.public_key().public_bytes_raw())
            audit.append(session, Entry(at=now, action=Action.START_LOG, outcome=Outcome.ALLOWED, actor=OPERATOR))
        people.ensure_reader(session, root)
        if not queries.tenant_exists(session, tenant):
            _add_tenant(session, root, tenant, now)
    database.close()
    return open_ports(settings)


def open_ports(settings: Settings, clock: Callable[[], int] | None = None, *, lost_log_key: str | None = None) -> Ports:
    """Everything that the service works with, checked to belong together.

    lost_log_key: hash of a key of the log whose file may be missing, for whoever retires it.

    Raises SetupError if something is missing, does not fit, or the schema is not current.
    """
    if settings.database_url is None and not settings.database_file.exists():
        raise SetupError(f"there is no key server in {settings.data}; run: keyserver init --data {settings.data}")
    database = Database(settings.url, settings.pool)
    if not schema.is_current(database):
        raise SetupError("the database does not have the schema of this version; run: keyserver init")
    root = open_root(settings)
    issuer = BuiltinIssuer(KeyFiles(settings.issuer_key_file), settings.issuer, settings.audience)
    with database.reading() as session:
        head = log.head(session)
        if head is None:
            raise SetupError("the database holds no audit log; run: keyserver init")
        if head.reader_public is None:
            raise SetupError("the audit log has no key to read what it says of people; run: keyserver init")
        log_keys = LogKeys(settings.log_key_file, head.origin, head.public_key, log.signing_keys(head))
        log_keys.require_all(lost_log_key)
        logcheck.require_whole(session)
        if settings.checkpoint_file is not None:
            kept = _read_checkpoint(settings.checkpoint_file)
            logcheck.require_continues(session, kept, _signer_of(kept, log_keys.verifier_keys))
        _check_root(session, root, settings)
    # Before anything is appended: each commit of this process is remembered.
    database.memory = trust = LogTrust(witnessing_of(settings))
    return Ports(
        database=database,
        root=root,
        issuer=issuer,
        verifier=_access_verifier(settings, issuer),
        signer=log_keys,
        clock=clock or (lambda: int(time.time())),
        new_id=lambda: uuid7(time.time_ns() // 1_000_000, os.urandom(RANDOM_BYTES)),
        random=os.urandom,
        nonces=_nonces(settings),
        external_url=settings.external_url,
        cursors=Cursors(log_keys.cursor_secret()),
        destruction_wait=settings.destruction_wait_seconds,
        on_break_glass=lambda _tenant: metrics.count_break_glass(),
        trust=trust,
    )


def rotate_issuer(settings: Settings, now: int) -> str:
    """Let the built-in issuer sign with a new key, on record; returns the key's name.

    Raises SetupError, Unavailable.
    """
    ports = open_ports(settings)
    with ports.database.writing() as session:
        audit.append(session, Entry(at=now, action=Action.ROTATE_ISSUER, outcome=Outcome.ALLOWED, actor=OPERATOR))
        keys = rotate_keys(settings.issuer_key_file, now, os.urandom(SECRET_BYTES))
    ports.database.close()
    return keys.kid


def _access_verifier(settings: Settings, builtin: BuiltinIssuer) -> AccessVerifier:
    if settings.issuers is None:
        return AccessVerifier(builtin)
    # Imported here: without other issuers no HTTP client is loaded.
    from keyserver.tokens.fetching import fetch_key_set
    from keyserver.tokens.issuers import read_issuers
    from keyserver.tokens.jwkscache import JwksCache
    from keyserver.tokens.oidc import OidcIssuer

    configs = read_issuers(settings.issuers)
    issuers = [OidcIssuer(config, JwksCache(config.issuer, partial(fetch_key_set, config))) for config in configs]
    try:
        return AccessVerifier(builtin, issuers)
    except ValueError as cause:
        raise SetupError(f"{settings.issuers}: {cause}") from None


def move_root(settings: Settings, path: Path) -> tuple[str, int]:
    """Wrap every KEK with the root that the settings in the file name; from where to where, and how many KEKs.

    The key of a new root that is a file is made if it is not there.  Raises SetupError and
    what `keks.move_root` raises.
    """
    chosen = settings_of_root(settings, path)
    if chosen.root is RootKind.FILE and not chosen.root_key_file.exists():
        create_secret(chosen.root_key_file, os.urandom(SECRET_BYTES))
    ports = open_ports(settings)
    names = f"{settings.root.value} to {chosen.root.value}"
    moved = keks.move_root(ports, open_root(chosen), names)
    ports.database.close()
    return names, moved


def _prepare_folder(settings: Settings) -> None:
    try:
        settings.data.mkdir(mode=0o700, parents=True, exist_ok=True)
        if settings.database_url is None:
            # Made here for its mode; SQLite gives its other files the same one.
            settings.database_file.touch(mode=0o600, exist_ok=True)
    except OSError as cause:
        raise SetupError(f"cannot use {settings.data} as the data folder: {cause.strerror}") from None


def _signer_of(note: str, keys: Sequence[VerifierKey]) -> VerifierKey:
    """The key whose signature the note carries, or any: whether it is right is seen when the note is opened."""
    return next((key for key in keys if signed_by(note, key)), keys[0])


def _nonces(settings: Settings) -> Nonces:
    path = settings.nonce_key_file
    if not path.exists():
        raise SetupError(f"there is no {path}; copy it from another replica, or make it: keyserver init")
    return Nonces(read_secret(path))


def _add_tenant(session: Session, root: Root, tenant: str, now: int) -> None:
    wrapped = keywrap.wrap_new_kek(root, tenant, FIRST_EPOCH, os.urandom)
    session.add(TenantRow(name=tenant, created_at=now))
    session.flush()
    session.add(KekRow(tenant=tenant, epoch=FIRST_EPOCH, wrapped=wrapped, created_at=now))
    created = Entry(
        at=now,
        action=Action.CREATE_TENANT,
        outcome=Outcome.ALLOWED,
        actor=OPERATOR,
        tenant=tenant,
        kek_epoch=FIRST_EPOCH,
    )
    audit.append(session, created)


def _check_root(session: Session, root: Root, settings: Settings) -> None:
    keks = queries.openable_keks(session)
    # A remote root takes its time: some of its KEKs stand for all, and each is checked again when it is used.
    for row in keks if settings.root is RootKind.FILE else keks[:MOST_KEKS_CHECKED]:
        try:
            keywrap.open_kek(root, row.wrapped, row.tenant, row.epoch)
        except WrapBroken:
            raise SetupError(
                f"{_root_name(settings)} does not open the key of tenant {row.tenant}, epoch {row.epoch}: "
                "it is another root, or the database was altered"
            ) from None
    try:
        people.require_reader(session, root)
    except WrapBroken:
        raise SetupError(
            f"{_root_name(settings)} does not open the key of the audit log's reader: "
            "it is another root, or the database was altered"
        ) from None


def check_root(session: Session, root: Root, settings: Settings) -> None:
    """Raises SetupError if the root does not open the KEKs in the database."""
    _check_root(session, root, settings)


def _read_checkpoint(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return file.read(MAX_CHECKPOINT_BYTES).decode()
    except (OSError, UnicodeDecodeError):
        raise SetupError(f"cannot read the checkpoint {path}") from None


def _root_name(settings: Settings) -> str:
    return str(settings.root_key_file) if settings.root is RootKind.FILE else f"the root ({settings.root.value})"
