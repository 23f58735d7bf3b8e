"""Kept answers at rest: sealed under a key that is derived from the tenant's KEK, for that use alone.

A KEK wraps few enough keys for random nonces; how many answers there will be nobody knows,
so they have a key and a count of their own (HKDF-SHA256, RFC 5869; AES-256-GCM).
"""

from __future__ import annotations

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from keyserver.errors import WrapBroken
from keyserver.keywrap.aead import KEY_BYTES, NONCE_BYTES


class AnswerKey:
    """Seals and opens answers; each is bound to the request that it answers (`context`)."""

    def __init__(self, kek: bytes) -> None:
        derived = HKDF(SHA256(), KEY_BYTES, salt=None, info=b"faceseal-keyserver/1 kept answers").derive(kek)
        self._aead = AESGCM(derived)

    def seal(self, answer: bytes, context: bytes, nonce: bytes) -> bytes:
        """``nonce (12) || ciphertext || tag (16)``; `nonce` is 12 bytes, used once."""
        return nonce + self._aead.encrypt(nonce, answer, context)

    def open(self, sealed: bytes, context: bytes) -> bytes:
        """Raises WrapBroken if it is not this key or this request, or was altered."""
        try:
            return self._aead.decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], context)
        except (InvalidTag, ValueError):
            raise WrapBroken("a kept answer does not open") from None
