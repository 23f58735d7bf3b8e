"""The image key: 32 secret bytes, one per photo, from which everything secret is derived."""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from typing import Protocol
from uuid import UUID

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

IMAGE_KEY_BYTES = 32
LONGEST_DERIVED = 255 * 32
"""Bytes; the end of HKDF-SHA256."""


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class ImageKey:
    """A key and its name.  Neither repr nor str shows the secret; equality takes constant time.

    Raises ValueError unless the secret has exactly 32 bytes.
    """

    key_id: UUID
    secret: bytes

    def __post_init__(self) -> None:
        if not isinstance(self.secret, bytes) or len(self.secret) != IMAGE_KEY_BYTES:
            raise ValueError(f"an image key has exactly {IMAGE_KEY_BYTES} bytes")

    def derive(self, info: bytes, length: int = 32, salt: bytes = b"") -> bytes:
        """`length` bytes (1 to 8160) for the use that `info` names: HKDF-SHA256 (RFC 5869).

        Raises ValueError for another length.
        """
        if not 1 <= length <= LONGEST_DERIVED:
            raise ValueError(f"1 to {LONGEST_DERIVED} bytes can be derived")
        return HKDF(SHA256(), length=length, salt=salt, info=info).derive(self.secret)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, ImageKey):
            return NotImplemented
        return self.key_id == other.key_id and hmac.compare_digest(self.secret, other.secret)

    def __hash__(self) -> int:
        return hash(self.key_id)

    def __repr__(self) -> str:
        return f"ImageKey({self.key_id})"


class KeySource(Protocol):
    """Where image keys come from: a key server or a local keyring.

    Every method raises a `KeySourceError` when it cannot do what it promises.
    """

    def create(self) -> ImageKey:
        """A new key that the source has durably stored."""
        ...

    def bind(self, key_id: UUID, sealed_digest: bytes, perceptual_hash: bytes | None = None) -> None:
        """Tie a key to the one photo that was sealed with it (SHA-256 of its pixels, 32 bytes).

        perceptual_hash: 8 bytes, for sources that find keys by photo; see `faceseal.perceptual`.
        """
        ...

    def release(self, key_id: UUID, grant: str | None) -> ImageKey:
        """A stored key, if `grant` (or owning the source) allows it."""
        ...
