"""AES-256-GCM over one key of 32 bytes (NIST SP 800-38D): ``nonce (12) || ciphertext (32) || tag (16)``."""

from __future__ import annotations

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from keyserver.errors import WrapBroken

KEY_BYTES = 32
NONCE_BYTES = 12
SEALED_BYTES = NONCE_BYTES + KEY_BYTES + 16


def seal(key: bytes, secret: bytes, context: bytes, nonce: bytes) -> bytes:
    """60 bytes; `context` is authenticated, not hidden.  Raises ValueError for other lengths than 32 and 12."""
    if len(secret) != KEY_BYTES or len(nonce) != NONCE_BYTES:
        raise ValueError("wrapping takes a key of 32 bytes and a nonce of 12")
    return nonce + AESGCM(key).encrypt(nonce, secret, context)


def open_sealed(key: bytes, sealed: bytes, context: bytes) -> bytes:
    """The secret (32 bytes).  Raises WrapBroken."""
    if len(sealed) != SEALED_BYTES:
        raise WrapBroken("a wrapped key has the wrong length")
    try:
        return AESGCM(key).decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], context)
    except InvalidTag:
        raise WrapBroken("a wrapped key does not open") from None
