"""Nonces that a client must sign into its DPoP proofs (RFC 9449, section 9).

A nonce is a MAC of the minute in which it was made, so that replicas with one secret accept
each other's without storing any, and nobody can make proofs for later.
"""

from __future__ import annotations

import hashlib
import hmac

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from faceseal.wire import encode_base64url

SECRET_BYTES = 32
SLOT_SECONDS = 60


class Nonces:
    """Makes and recognizes nonces; times are passed in, in seconds since 1970."""

    def __init__(self, secret: bytes) -> None:
        """`secret` has 32 bytes and is the same on every replica.  Raises ValueError for another length."""
        if len(secret) != SECRET_BYTES:
            raise ValueError(f"the secret of the nonces has {SECRET_BYTES} bytes")
        # Derived, so that a secret that has another use as well has no other use for this key.
        self._key = HKDF(SHA256(), SECRET_BYTES, salt=None, info=b"faceseal-keyserver/1 dpop nonce").derive(secret)

    def fresh_nonce(self, now: int) -> str:
        """The nonce of this minute: 43 characters, accepted for 60 to 120 seconds."""
        return self._nonce(now // SLOT_SECONDS)

    def accepts(self, nonce: str, now: int) -> bool:
        """Whether the nonce is of this minute or of the one before; takes the same time for any of one length."""
        given = nonce.encode(errors="replace")
        slot = now // SLOT_SECONDS
        matches = [hmac.compare_digest(given, self._nonce(each).encode()) for each in (slot, slot - 1)]
        return any(matches)

    def _nonce(self, slot: int) -> str:
        return encode_base64url(hmac.digest(self._key, slot.to_bytes(8), hashlib.sha256))
