"""What an entry says of a person, sealed so that it can be forgotten: to a key of that person's own.

Three steps, the first two HPKE (RFC 9180) in base mode with X25519, HKDF-SHA256 and AES-256-GCM,
the last AES-256-GCM with a fresh random nonce:

    log's reader (private half wrapped by the root)  <-  a person's private key  <-  content key  <-  fields of an entry

1. sealing takes public keys alone: an entry is written also while the root does not answer;
2. fields are bound to tenant, pseudonym, event, time and grant of their entry, and not to its
   index, so that what one transaction says of one person a thousand times is sealed once;
   a content key is bound to tenant and pseudonym, and goes with every entry that it is used for;
3. fields are padded: their length does not tell one name from another;
4. without the person's key, which is in the database once, the fields open to nobody.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite

from keyserver.errors import WrapBroken

PADDED_TO = 64
"""Bytes; the length of what is sealed is a multiple."""
_KEY_BYTES, _NONCE_BYTES = 32, 12
_SEALED_KEY_BYTES = 32 + _KEY_BYTES + 16
_CONTENT = _SEALED_KEY_BYTES + _NONCE_BYTES
_SUITE = Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM)
_BROKEN = "what the audit log says of a person does not open"


@dataclass(frozen=True)
class Subject:
    """Somebody whom the log names: pseudonym, and the key (X25519, 32 bytes) that is sealed to."""

    id: UUID
    public: bytes


@dataclass(frozen=True)
class Binding:
    """What the sealed fields of an entry belong to."""

    tenant: str
    subject: UUID
    event: str
    at: int
    grant_id: UUID | None

    @property
    def info(self) -> bytes:
        """HPKE's `info`: each part after its length, so that no two bindings give the same bytes."""
        grant = b"" if self.grant_id is None else self.grant_id.bytes
        return _context(
            b"entry", self.tenant.encode(), self.subject.bytes, self.event.encode(), self.at.to_bytes(8), grant
        )


@dataclass(frozen=True)
class ContentKey:
    """A key (32 bytes) that entries of one person are sealed with, and itself sealed to that person (80 bytes)."""

    key: bytes = field(repr=False)
    sealed: bytes


def new_content_key(tenant: str, subject: Subject) -> ContentKey:
    """A fresh one."""
    key = os.urandom(_KEY_BYTES)
    info = _content(tenant, subject.id)
    return ContentKey(key, _SUITE.encrypt(key, X25519PublicKey.from_public_bytes(subject.public), info))


def seal_fields(fields: bytes, content_key: ContentKey, binding: Binding) -> bytes:
    """Sealed content key (80 bytes), nonce (12), and ciphertext of a JSON object, padded with spaces."""
    padded, nonce = fields + b" " * (-len(fields) % PADDED_TO), os.urandom(_NONCE_BYTES)
    return content_key.sealed + nonce + AESGCM(content_key.key).encrypt(nonce, padded, binding.info)


def open_fields(sealed: bytes, private: bytes, binding: Binding) -> dict[str, Any]:
    """The JSON object.  Raises WrapBroken if it was not sealed for this binding, and this person."""
    key, nonce, content = sealed[:_SEALED_KEY_BYTES], sealed[_SEALED_KEY_BYTES:_CONTENT], sealed[_CONTENT:]
    try:
        info = _content(binding.tenant, binding.subject)
        opened_key = _SUITE.decrypt(key, X25519PrivateKey.from_private_bytes(private), info)
        opened = json.loads(AESGCM(opened_key).decrypt(nonce, content, binding.info))
    except (InvalidTag, ValueError):
        raise WrapBroken(_BROKEN) from None
    if not isinstance(opened, dict):
        raise WrapBroken(_BROKEN)
    return opened


def new_key() -> tuple[bytes, bytes]:
    """A private key and its public half (X25519, 32 bytes each)."""
    private = X25519PrivateKey.generate()
    return private.private_bytes_raw(), private.public_key().public_bytes_raw()


def seal_person_key(private: bytes, reader: bytes, tenant: str, subject: UUID) -> bytes:
    """A person's private key, sealed to the log's reader (X25519, 32 bytes) for this tenant and pseudonym."""
    return _SUITE.encrypt(private, X25519PublicKey.from_public_bytes(reader), _person(tenant, subject))


def open_person_key(sealed: bytes, reader: bytes, tenant: str, subject: UUID) -> bytes:
    """The person's private key (32 bytes).  Raises WrapBroken."""
    try:
        return _SUITE.decrypt(sealed, X25519PrivateKey.from_private_bytes(reader), _person(tenant, subject))
    except (InvalidTag, ValueError):
        raise WrapBroken(_BROKEN) from None


def _content(tenant: str, subject: UUID) -> bytes:
    return _context(b"content", tenant.encode(), subject.bytes)


def _person(tenant: str, subject: UUID) -> bytes:
    return _context(b"person", tenant.encode(), subject.bytes)


def _context(*parts: bytes) -> bytes:
    return b"faceseal-keyserver/1 audit" + b"".join(len(part).to_bytes(2) + part for part in parts)
