"""Image keys on their way from the key server to one client: HPKE (RFC 9180), base mode.

Suite: DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, AES-256-GCM.  The `info` ties a ciphertext
to what it was made for, so that an answer cannot be replayed for another request.
"""

from __future__ import annotations

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


def seal_key(image_key: bytes, recipient: bytes, info: bytes) -> bytes:
    """Encapsulation and ciphertext (80 bytes) of an image key for an X25519 public key (32 bytes).

    Raises ValueError if the recipient is not a usable public key.
    """
    return _SUITE.encrypt(image_key, X25519PublicKey.from_public_bytes(recipient), info)


def open_key(sealed_key: bytes, recipient: X25519PrivateKey, info: bytes) -> bytes:
    """The image key (32 bytes).  Raises ServerMisbehaved if it was not sealed for this use."""
    try:
        image_key = _SUITE.decrypt(sealed_key, recipient, info)
    except (InvalidTag, ValueError) as cause:
        raise ServerMisbehaved("the key server sent a key that does not open; ask its operator") from cause
    if len(image_key) != KEY_BYTES:
        raise ServerMisbehaved("the key server sent a key of the wrong length; ask its operator")
    return image_key
