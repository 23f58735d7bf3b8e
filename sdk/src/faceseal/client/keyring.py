"""Image keys without a server: one file under a passphrase."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from uuid import UUID, uuid4

from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from filelock import FileLock, Timeout

from faceseal.client.keyringfile import (
    MAX_FILE_BYTES,
    MAX_KEYS,
    NONCE_BYTES,
    SALT_BYTES,
    Argon2Cost,
    KeyringFile,
    StoredKey,
    derive_cipher,
    open_entry,
    parse_keyring,
    passphrase_fits,
    seal_check,
    seal_entry,
    serialize_keyring,
)
from faceseal.durable import replace_file
from faceseal.errors import KeyringError, UnknownKey
from faceseal.imagekey import IMAGE_KEY_BYTES, ImageKey

LOCK_SECONDS = 30.0


class LocalKeyring:
    """A `KeySource` for one person on one machine.

    Whoever has file and passphrase has the keys: there are no grants, no approvals and no log.
    The first `create` makes the file; nothing else does.  The passphrase is turned into a key
    once per instance, when it is first needed.

    Every change takes a lock beside the file (`NAME.lock`) and replaces the file as a whole, so
    that several processes may write, a reader needs no lock, and a crash leaves the old file.

    Every method raises KeyringError (unreadable, damaged, wrong passphrase) and, for an id that
    is not there, UnknownKey.
    """

    def __init__(self, path: Path | str, passphrase: str) -> None:
        if not passphrase:
            raise KeyringError("the keyring needs a passphrase that is not empty")
        # Replacing the file must not replace a link to it.
        self.path = Path(path).resolve()
        self._passphrase = passphrase
        self._derived: tuple[Argon2Cost, AESGCM] | None = None

    def __repr__(self) -> str:
        return f"LocalKeyring({str(self.path)!r})"

    def create(self) -> ImageKey:
        """A new image key, stored before this returns."""
        (key,) = self.create_keys(1)
        return key

    def create_keys(self, count: int) -> list[ImageKey]:
        """New image keys, all stored before this returns, or none."""
        if count < 1:
            raise KeyringError("at least one key can be created")
        with self._locked():
            keyring = self._read() if self.path.exists() else self._empty()
            cipher, now = self._cipher(keyring), int(time.time())
            if len(keyring.keys) + count > MAX_KEYS:
                raise KeyringError(
                    f"{self.path} holds {len(keyring.keys)} keys, and {MAX_KEYS} is all it can; begin another keyring"
                )
            keys = [ImageKey(uuid4(), secrets.token_bytes(IMAGE_KEY_BYTES)) for _ in range(count)]
            entries = [seal_entry(cipher, _nonce(), key.key_id, key.secret, None, now) for key in keys]
            self._write(keyring.model_copy(update={"keys": [*keyring.keys, *entries]}))
        return keys

    def bind(self, key_id: UUID, sealed_digest: bytes, perceptual_hash: bytes | None = None) -> None:  # noqa: ARG002
        """Tie the key to a photo; once.  Raises also KeyringError if it is tied to another.

        The perceptual hash is not kept: no key is looked up by photo here.
        """
        with self._locked():
            keyring = self._read()
            cipher, entry = self._cipher(keyring), self._entry(keyring, key_id)
            if entry.sealed_digest == sealed_digest:
                return
            if entry.sealed_digest is not None:
                raise KeyringError(f"the key {key_id} already belongs to another photo")
            secret = self._open(cipher, entry)
            bound = seal_entry(cipher, _nonce(), key_id, secret, sealed_digest, entry.created_at)
            self._write(
                keyring.model_copy(update={"keys": [bound if key.id == key_id else key for key in keyring.keys]})
            )

    def release(self, key_id: UUID, grant: str | None = None) -> ImageKey:
        """The key.  A grant is refused, for nobody would check it, count its uses or log it."""
        if grant is not None:
            raise KeyringError("a local keyring knows no grants; leave the grant out, or name the key server")
        keyring = self._read()
        cipher = self._cipher(keyring)
        return ImageKey(key_id, self._open(cipher, self._entry(keyring, key_id)))

    def list_keys(self) -> Sequence[StoredKey]:
        """All entries, oldest first.  Their text is not secret; the passphrase is checked all the same."""
        keyring = self._read()
        self._cipher(keyring)
        return keyring.keys

    def remove(self, key_id: UUID) -> None:
        """Delete a key for good: without another copy of the file, no photo sealed with it comes back."""
        with self._locked():
            keyring = self._read()
            self._cipher(keyring)
            self._entry(keyring, key_id)
            self._write(keyring.model_copy(update={"keys": [key for key in keyring.keys if key.id != key_id]}))

    def _empty(self) -> KeyringFile:
        cost = Argon2Cost(salt=secrets.token_bytes(SALT_BYTES))
        cipher = derive_cipher(self._passphrase, cost)
        self._derived = cost, cipher
        return KeyringFile(format="faceseal-keyring/1", argon2id=cost, check=seal_check(cipher, _nonce()), keys=[])

    def _cipher(self, keyring: KeyringFile) -> AESGCM:
        if self._derived is None or self._derived[0] != keyring.argon2id:
            self._derived = keyring.argon2id, derive_cipher(self._passphrase, keyring.argon2id)
        cipher = self._derived[1]
        if not passphrase_fits(cipher, keyring):
            raise KeyringError(f"wrong passphrase for {self.path}")
        return cipher

    def _entry(self, keyring: KeyringFile, key_id: UUID) -> StoredKey:
        entry = keyring.find(key_id)
        if entry is None:
            raise UnknownKey(f"the keyring {self.path} has no key {key_id}")
        return entry

    def _open(self, cipher: AESGCM, entry: StoredKey) -> bytes:
        try:
            return open_entry(cipher, entry)
        except ValueError:
            raise KeyringError(f"the entry of key {entry.id} in {self.path} was altered; use a backup") from None

    def _read(self) -> KeyringFile:
        try:
            with self.path.open("rb") as file:
                data = file.read(MAX_FILE_BYTES + 1)
        except FileNotFoundError:
            raise KeyringError(f"there is no keyring at {self.path}; sealing a photo makes one") from None
        except OSError as cause:
            raise KeyringError(f"cannot read the keyring {self.path}: {cause.strerror}") from cause
        try:
            return parse_keyring(data)
        except ValueError:
            raise KeyringError(f"{self.path} is not a keyring, or is damaged; use a backup") from None

    def _write(self, keyring: KeyringFile) -> None:
        data = serialize_keyring(keyring)
        try:
            replace_file(self.path, data)
        except OSError as cause:
            raise KeyringError(f"cannot write the keyring {self.path}: {cause.strerror}") from cause

    @contextmanager
    def _locked(self) -> Iterator[None]:
        if not self.path.parent.is_dir():
            raise KeyringError(f"there is no folder {self.path.parent} for the keyring")
        lock = FileLock(f"{self.path}.lock", timeout=LOCK_SECONDS, mode=0o600)
        try:
            lock.acquire()
        except Timeout:
            raise KeyringError(f"another program has held {self.path} for {LOCK_SECONDS:g} seconds") from None
        except OSError as cause:
            raise KeyringError(f"cannot lock the keyring {self.path}: {cause.strerror}") from cause
        try:
            yield
        finally:
            lock.release()


def _nonce() -> bytes:
    return secrets.token_bytes(NONCE_BYTES)
