"""Replacing the key that signs the log: a new one beside the old ones, and later the end of an old one.

The log keeps its name, its entries and its tree.  Its keys are changed under the lock of its
head, in the transaction of the entry that says so: no checkpoint has one without the other.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy.orm import Session

from faceseal.durable import sync_folder
from faceseal.translog import VerifierKey
from keyserver import audit
from keyserver.actions import Action
from keyserver.audit import Entry, Outcome
from keyserver.audit.entry import OPERATOR
from keyserver.audit.logkeys import MOST_KEYS
from keyserver.errors import SetupError
from keyserver.installation import open_ports
from keyserver.secretfile import SECRET_BYTES, create_secret
from keyserver.settings import Settings
from keyserver.sinks.opening import open_sinks
from keyserver.sinks.sink import NoteSink, Sink, SinkFailed, SinkSpoiled, signed_by_one
from keyserver.store import log
from keyserver.store.tables import LogRow


def rotate_log_key(settings: Settings, now: int) -> VerifierKey:
    """Let checkpoints be signed by a new key as well, on record; returns its public half.

    May be broken off at any moment: its file is on disk before the database lists it, and one
    that is not listed is never used.  Raises SetupError, Unavailable.
    """
    ports = open_ports(settings)
    seed = os.urandom(SECRET_BYTES)
    public = Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw()
    with ports.database.writing() as session:
        head = log.head_for_append(session)
        keys, made = log.signing_keys(head), VerifierKey(head.origin, public)
        if len(keys) >= MOST_KEYS:
            raise SetupError(f"{MOST_KEYS} keys sign the log already; retire one: keyserver audit retire-key HASH")
        if any(VerifierKey(head.origin, key).key_hash == made.key_hash for key in keys):
            raise SetupError("the new key has the hash of another one; try again")
        path = ports.signer.path_of(public)
        create_secret(path, seed)
        sync_folder(path.parent)
        _set(session, head, [*keys, public])
        audit.append(session, _entry(Action.ROTATE_LOG_KEY, made, now))
    ports.database.close()
    return made


def retire_log_key(settings: Settings, key_hash: str, now: int, force: bool = False) -> VerifierKey:
    """Let a key sign no checkpoint any more, on record, and delete its file; returns its public half.

    Its file may be lost already.  Raises SetupError if no key in force has this hash, or no other would be left, or,
    unless forced, if a sink is away or holds what none of the others opens; Unavailable.
    """
    ports = open_ports(settings, lost_log_key=key_hash)
    left = [key for key in ports.signer.verifier_keys if key.key_hash.hex() != key_hash]
    if left and not force:
        # Before the log is locked: a sink takes its time.
        _require_readable(open_sinks(settings, ports.trust.witnessing), left)
    with ports.database.writing() as session:
        head = log.head_for_append(session)
        keys = [VerifierKey(head.origin, public) for public in log.signing_keys(head)]
        gone = next((key for key in keys if key.key_hash.hex() == key_hash), None)
        if gone is None:
            names = ", ".join(key.key_hash.hex() for key in keys)
            raise SetupError(f"no key with the hash {key_hash!r} signs the log; those that do: {names}")
        if len(keys) == 1:
            raise SetupError("this is the only key that signs the log; make another: keyserver audit rotate-key")
        _set(session, head, [key.public for key in keys if key != gone])
        audit.append(session, _entry(Action.RETIRE_LOG_KEY, gone, now))
    path = ports.signer.path_of(gone.public)
    path.unlink(missing_ok=True)
    sync_folder(path.parent)
    ports.database.close()
    return gone


def _require_readable(sinks: Sequence[Sink], left: Sequence[VerifierKey]) -> None:
    """Raises SetupError unless each sink that keeps a note keeps one which a key that is left has signed."""
    for sink in sinks:
        if not isinstance(sink, NoteSink):
            continue
        try:
            content = sink.held()
            if content is not None:
                signed_by_one(content, left, left[0].name)
        except SinkSpoiled:
            why = "no other key has signed what it holds; let a server push to it first"
            raise SetupError(f"{sink.name}: {why}, or use --force") from None
        except SinkFailed as failure:
            raise SetupError(f"{sink.name}: {failure}; try again when it is back, or use --force") from None


def _set(session: Session, head: LogRow, keys: list[bytes]) -> None:
    head.signing_keys = b"".join(keys)
    # Written before the entry is appended, which reads the row again.
    session.flush()


def _entry(action: Action, key: VerifierKey, now: int) -> Entry:
    return Entry(at=now, action=action, outcome=Outcome.ALLOWED, actor=OPERATOR, verifier_key=str(key))
