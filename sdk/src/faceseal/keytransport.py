"""Image keys on their way from the key server to one client: HPKE (RFC 9180), base mode.

Suite: DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, AES-256-GCM.  The `info` ties a ciphertext
to what it was made for, so that an answer cannot be replayed for another request.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from uuid import UUID

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite

from faceseal.errors import ServerMisbehaved

KEY_BYTES = 32
_SUITE = Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM)


def creation_info(key_id: UUID) -> bytes:
    """HPKE info of a key that was just created."""
    return b"faceseal/1 create " + key_id.bytes


def release_info(key_id: UUID, grant_id: UUID) -> bytes:
    """HPKE info of a key that is released under a grant."""
    return b"faceseal/1 release " + key_id.bytes + grant_id.bytes


def batch_info(key_ids: Sequence[UUID]) -> bytes:
    """HPKE info (64 bytes at most, as RFC 9180, section 7.2.1 recommends) of keys that were created together.

    Ids have one length, so that no two lists give the same bytes.
    """
    return b"faceseal/1 create batch " + hashlib.sha256(b"".join(key_id.bytes for key_id in key_ids)).digest()


def seal_key(image_key: bytes, recipient: bytes, info: bytes) -> bytes:
    """Encapsulation and ciphertext (80 bytes) of an image key for an X25519 public key (32 bytes).

    Raises ValueError if the recipient is not a usable public key.
    """
    return _SUITE.encrypt(image_key, X25519PublicKey.from_public_bytes(recipient), info)


def seal_keys(image_keys: Sequence[bytes], recipient: bytes, info: bytes) -> bytes:
    """Encapsulation and one ciphertext (48 bytes, and 32 for each) of several image keys for one X25519 public key.

    Raises ValueError if the recipient is not a usable public key.
    """
    return _SUITE.encrypt(b"".join(image_keys), X25519PublicKey.from_public_bytes(recipient), info)


def open_keys(sealed_keys: bytes, recipient: X25519PrivateKey, info: bytes, count: int) -> list[bytes]:
    """The image keys (32 bytes each).

    Raises ServerMisbehaved if they were not sealed for this use, or are not `count`.
    """
    try:
        opened = _SUITE.decrypt(sealed_keys, recipient, info)
    except (InvalidTag, ValueError) as cause:
        raise ServerMisbehaved("the key server sent keys that do not open; ask its operator") from cause
    if len(opened) != count * KEY_BYTES:
        raise ServerMisbehaved("the key server sent another number of keys than was asked for; ask its operator")
    return [opened[start : start + KEY_BYTES] for start in range(0, len(opened), KEY_BYTES)]


def open_key(sealed_key: bytes, recipient: X25519PrivateKey, info: bytes) -> bytes:
    """The image key (32 bytes).  Raises ServerMisbehaved if it was not sealed for this use."""
    try:
        image_key = _SUITE.decrypt(sealed_key, recipient, info)
    except (InvalidTag, ValueError) as cause:
        raise ServerMisbehaved("the key server sent a key that does not open; ask its operator") from cause
    if len(image_key) != KEY_BYTES:
        raise ServerMisbehaved("the key server sent a key of the wrong length; ask its operator")
    return image_key
