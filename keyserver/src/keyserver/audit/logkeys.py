"""The keys that sign the log's checkpoints: which they are, the database says; they lie in files.

`log.key` is the key that the log was started with; one that a rotation made is in
``log.<hash>.key``, by the hash that its verifier key and its signatures carry.  Every
checkpoint brings the list of keys in force from the transaction that it is of, so that a
replica signs with a new key from the rotation on, and never with one that is not listed.  What
it lacks it looks for again each time, and signs with the rest: clients know old keys longer
than replicas go without a new one.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from faceseal.errors import TransparencyError
from faceseal.translog import VerifierKey, open_checkpoint, sign_checkpoint
from keyserver.audit.log import LogHead
from keyserver.errors import SetupError, Unavailable
from keyserver.secretfile import read_secret

MOST_KEYS = 4
"""In force at a time: every receipt carries a signature by each."""
_log = logging.getLogger(__name__)


class LogKeys:
    """Signs checkpoints with every key that is in force and in this replica's folder."""

    def __init__(self, path: Path, origin: str, first: bytes, keys: Sequence[bytes]) -> None:
        """`path` is that of the key that the log was started with, `first`; `keys` are those in force, oldest first."""
        self._path, self._origin, self._first = path, origin, first
        self._keys = tuple(keys)
        self._held: dict[bytes, Ed25519PrivateKey] = {}
        self._missed: set[bytes] = set()

    @property
    def verifier_key(self) -> VerifierKey:
        """Of the newest key in force that has been seen here."""
        return self.verifier_keys[0]

    @property
    def verifier_keys(self) -> list[VerifierKey]:
        """Of all keys in force that have been seen here, newest first."""
        return [VerifierKey(self._origin, public) for public in reversed(self._keys)]

    def require_all(self, spared: str | None = None) -> None:
        """Raises SetupError unless every key in force is here; of several, the one of the hash `spared` need not be."""
        for public in self._keys:
            if len(self._keys) == 1 or VerifierKey(self._origin, public).key_hash.hex() != spared:
                self._held[public] = self._read(public)

    def require_one(self, head: LogHead) -> None:
        """To be called before the commit of what the checkpoint is to prove.  Raises Unavailable."""
        self._usable(head)

    def sign(self, head: LogHead) -> str:
        """The checkpoint as a note with a signature by each key, newest first; for committed trees only.

        Raises Unavailable if this replica holds none of the keys in force.
        """
        notes = [sign_checkpoint(head, private, self._origin) for private in self._usable(head)]
        return notes[0] + "".join(note.removeprefix(f"{head.body()}\n") for note in notes[1:])

    def cursor_secret(self) -> bytes:
        """The oldest key in force that is held: a secret that all replicas have, and that stays longest."""
        return next(self._held[public] for public in self._keys if public in self._held).private_bytes_raw()

    def path_of(self, public: bytes) -> Path:
        """The file of this key, whether there is one or not."""
        if public == self._first:
            return self._path
        name = f"{self._path.stem}.{VerifierKey(self._origin, public).key_hash.hex()}{self._path.suffix}"
        return self._path.with_name(name)

    def _usable(self, head: LogHead) -> list[Ed25519PrivateKey]:
        self._keys = head.keys
        found = [private for public in reversed(head.keys) if (private := self._find(public)) is not None]
        if not found:
            raise Unavailable("this replica holds none of the keys that sign the audit log")
        return found

    def _find(self, public: bytes) -> Ed25519PrivateKey | None:
        if public not in self._held:
            try:
                self._held[public] = self._read(public)
            except SetupError as cause:
                if public not in self._missed:
                    _log.error("checkpoints lack a signature here; copy the key from where it was made: %s", cause)
                    self._missed.add(public)
                return None
        return self._held[public]

    def _read(self, public: bytes) -> Ed25519PrivateKey:
        path = self.path_of(public)
        private = Ed25519PrivateKey.from_private_bytes(read_secret(path))
        if private.public_key().public_bytes_raw() != public:
            which = "that this log was started with" if public == self._first else "that its name and this log say"
            raise SetupError(f"{path} is not the key {which}")
        return private


def signed_by(note: str, key: VerifierKey) -> bool:
    """Whether a signed note opens with this key."""
    try:
        open_checkpoint(note, key)
    except TransparencyError:
        return False
    return True


def held_public_keys(path: Path) -> list[bytes]:
    """Of all keys beside `path` that may be a log's.  Raises SetupError if there is none."""
    found = sorted(path.parent.glob(f"{path.stem}.????????{path.suffix}"))
    files = [path, *found] if path.exists() or not found else found
    return [Ed25519PrivateKey.from_private_bytes(read_secret(each)).public_key().public_bytes_raw() for each in files]
