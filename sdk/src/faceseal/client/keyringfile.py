"""The format of a local keyring: strict JSON, each image key under a passphrase.

- Argon2id (RFC 9106) turns the passphrase into an AES-256 key; its cost is in the file, and a
  cost outside of the bounds below is refused before it is paid;
- each image key is AES-256-GCM(nonce || ciphertext || tag), bound to its id and photo;
- `check` is the same over nothing, so that a wrong passphrase is told from a damaged entry.

Pure functions: what is random or needs a clock is passed in.
"""

from __future__ import annotations

import unicodedata
from typing import Annotated, Literal
from uuid import UUID

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id
from pydantic import Field, model_validator

from faceseal.client.parse import parse_message
from faceseal.wire import AS_BASE64URL, Digest, Identifier, Message, Timestamp, bytes_of

MAX_KEYS = 50_000
MAX_FILE_BYTES = 24 << 20
NONCE_BYTES = 12
SALT_BYTES = 16
_TAG_BYTES = 16

Salt = Annotated[bytes, bytes_of(SALT_BYTES), AS_BASE64URL]
SealedNothing = Annotated[bytes, bytes_of(NONCE_BYTES + _TAG_BYTES), AS_BASE64URL]
SealedKey = Annotated[bytes, bytes_of(NONCE_BYTES + 32 + _TAG_BYTES), AS_BASE64URL]


class Argon2Cost(Message):
    """Defaults: the second recommended option of RFC 9106, section 4.  Not less, and not much more."""

    memory_kib: Annotated[int, Field(ge=64 * 1024, le=512 * 1024)] = 64 * 1024
    passes: Annotated[int, Field(ge=3, le=10)] = 3
    lanes: Annotated[int, Field(ge=1, le=16)] = 4
    salt: Salt


class StoredKey(Message):
    """One image key, sealed."""

    id: Identifier
    created_at: Timestamp
    sealed_digest: Digest | None
    """SHA-256 of the sealed photo's pixels, once bound."""
    sealed: SealedKey


class KeyringFile(Message):
    """The whole file."""

    format: Literal["faceseal-keyring/1"]
    argon2id: Argon2Cost
    check: SealedNothing
    keys: Annotated[list[StoredKey], Field(max_length=MAX_KEYS)]

    @model_validator(mode="after")
    def _distinct_ids(self) -> KeyringFile:
        if len({key.id for key in self.keys}) != len(self.keys):
            raise ValueError("two entries have the same id")
        return self

    def find(self, key_id: UUID) -> StoredKey | None:
        """The entry with this id."""
        return next((key for key in self.keys if key.id == key_id), None)


def parse_keyring(data: bytes) -> KeyringFile:
    """Raises ValueError, with a text that quotes nothing."""
    if len(data) > MAX_FILE_BYTES:
        raise ValueError("too long")
    return parse_message(KeyringFile, data)


def serialize_keyring(keyring: KeyringFile) -> bytes:
    """Inverse of `parse_keyring`; one member a line, so that a diff shows what changed."""
    return keyring.model_dump_json(indent=1).encode() + b"\n"


def derive_cipher(passphrase: str, cost: Argon2Cost) -> AESGCM:
    """The keyring's cipher; takes about a quarter of a second and `cost.memory_kib` of memory."""
    argon2id = Argon2id(
        salt=cost.salt, length=32, iterations=cost.passes, lanes=cost.lanes, memory_cost=cost.memory_kib
    )
    # The same passphrase reaches us composed from one keyboard and decomposed from another.
    return AESGCM(argon2id.derive(unicodedata.normalize("NFC", passphrase).encode()))


def seal_check(cipher: AESGCM, nonce: bytes) -> bytes:
    """What `passphrase_fits` recognizes."""
    return nonce + cipher.encrypt(nonce, b"", b"faceseal/1 keyring check")


def passphrase_fits(cipher: AESGCM, keyring: KeyringFile) -> bool:
    """Whether the cipher is the one that the keyring was made with."""
    try:
        cipher.decrypt(keyring.check[:NONCE_BYTES], keyring.check[NONCE_BYTES:], b"faceseal/1 keyring check")
    except InvalidTag:
        return False
    return True


def seal_entry(
    cipher: AESGCM, nonce: bytes, key_id: UUID, secret: bytes, sealed_digest: bytes | None, created_at: int
) -> StoredKey:
    """An entry; `nonce` (12 bytes) must be fresh."""
    sealed = nonce + cipher.encrypt(nonce, secret, _context(key_id, sealed_digest))
    return StoredKey(id=key_id, created_at=created_at, sealed_digest=sealed_digest, sealed=sealed)


def open_entry(cipher: AESGCM, entry: StoredKey) -> bytes:
    """The image key's 32 bytes.  Raises ValueError if the entry was altered or moved."""
    nonce, ciphertext = entry.sealed[:NONCE_BYTES], entry.sealed[NONCE_BYTES:]
    try:
        return cipher.decrypt(nonce, ciphertext, _context(entry.id, entry.sealed_digest))
    except InvalidTag:
        raise ValueError("altered") from None


def _context(key_id: UUID, sealed_digest: bytes | None) -> bytes:
    return b"faceseal/1 keyring key " + key_id.bytes + (sealed_digest or b"")
