"""What a DPoP proof that counts leaves behind (RFC 9449)."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Proof:
    """Which key a request was proved to come from, and the number by which the proof counts once."""

    jkt: str
    """Thumbprint of its key (RFC 7638)."""
    jti: str
    iat: int
    """When the client says that it made the proof; seconds since 1970."""
