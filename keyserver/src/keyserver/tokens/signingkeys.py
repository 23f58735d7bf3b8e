"""The built-in issuer's keys: one that signs, and its predecessors, which only verify.

A key that is replaced verifies for `MAX_LIFETIME` longer: by then every token that it signed
is over.  Keys are named by their RFC 7638 thumbprint.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from faceseal.wire import encode_base64url
from keyserver.tokens.claims import MAX_LIFETIME
from keyserver.tokens.jws import Algorithm, VerificationKey
from keyserver.tokens.thumbprint import thumbprint


@dataclass(frozen=True)
class RetiredKey:
    """A key that signed until `retired_at` (seconds since 1970)."""

    key: VerificationKey
    retired_at: int

    def over(self, now: int) -> bool:
        """Whether everything that the key signed has expired."""
        return is_over(self.retired_at, now)


def is_over(retired_at: int, now: int) -> bool:
    """Whether every token that was signed until `retired_at` has expired (seconds since 1970)."""
    return now >= retired_at + MAX_LIFETIME


@dataclass(frozen=True)
class SigningKeys:
    """The present key, and those before it, in any order."""

    private: Ed25519PrivateKey = field(repr=False)
    retired: tuple[RetiredKey, ...] = ()

    @property
    def kid(self) -> str:
        """The present key's name."""
        return str(self._present.kid)

    @cached_property
    def _present(self) -> VerificationKey:
        return verification_key(self.private)

    def find(self, kid: str | None, now: int) -> VerificationKey | None:
        """The key of this name, if it still verifies at `now`; without a name the oldest."""
        if kid is None:
            if not self.retired:
                return self._present
            oldest = min(self.retired, key=lambda retired: retired.retired_at)
            return None if oldest.over(now) else oldest.key
        if kid == self.kid:
            return self._present
        return next((r.key for r in self.retired if r.key.kid == kid and not r.over(now)), None)


def verification_key(private: Ed25519PrivateKey) -> VerificationKey:
    """The public half, with its name."""
    public = private.public_key()
    jwk = {"kty": "OKP", "crv": "Ed25519", "x": encode_base64url(public.public_bytes_raw())}
    return VerificationKey(thumbprint(jwk), Algorithm.EDDSA, public)
