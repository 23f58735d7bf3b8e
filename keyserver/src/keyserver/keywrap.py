"""Keys at rest: the root wraps KEKs, a KEK wraps image keys, both with AES-256-GCM.

Rules:
1. wrapped bytes are ``nonce (12) || ciphertext (32) || tag (16)``, the nonce fresh from the
   operating system; a KEK wraps far fewer than 2**32 keys, the bound for random nonces
   (NIST SP 800-38D, section 8.3);
2. a wrapped image key is bound to tenant, key id and suite, and *not* to the KEK's epoch:
   after a rotation the same binding must still hold;
3. a wrapped KEK is bound to tenant and epoch;
4. what does not open says only that it does not open.

Python cannot promise to wipe key bytes from memory; they live as short as the code allows.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Protocol
from uuid import UUID

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from keyserver.errors import WrapBroken
from keyserver.secretfile import read_secret

Random = Callable[[int], bytes]
"""So many bytes from the operating system."""

SUITE = "A256GCM"
"""How an image key is wrapped; part of its binding."""
KEY_BYTES = 32
_NONCE_BYTES = 12
_WRAPPED_BYTES = _NONCE_BYTES + KEY_BYTES + 16


class Root(Protocol):
    """What wraps KEKs.  `context` is authenticated, not hidden, and must be the same to unwrap."""

    def wrap(self, kek: bytes, context: bytes) -> bytes:
        """The wrapped KEK.  Raises Unavailable if the root does not answer."""
        ...

    def unwrap(self, wrapped: bytes, context: bytes) -> bytes:
        """The KEK (32 bytes).  Raises WrapBroken if it does not open."""
        ...


class FileRoot:
    """A root whose key is 32 bytes in a file of mode 0600."""

    def __init__(self, key: bytes, random: Random) -> None:
        self._key = key
        self._random = random

    @classmethod
    def read(cls, path: Path, random: Random) -> FileRoot:
        """Raises SetupError if the file is missing, open to others or of the wrong length."""
        return cls(read_secret(path), random)

    def wrap(self, kek: bytes, context: bytes) -> bytes:
        """See `Root`."""
        return _seal(self._key, kek, context, self._random(_NONCE_BYTES))

    def unwrap(self, wrapped: bytes, context: bytes) -> bytes:
        """See `Root`."""
        return _open(self._key, wrapped, context)


class Kek:
    """The key-encryption key of one tenant and epoch."""

    def __init__(self, key: bytes, tenant: str) -> None:
        self._key = key
        self._tenant = tenant

    def wrap(self, image_key: bytes, key_id: UUID, suite: str, nonce: bytes) -> bytes:
        """The wrapped image key (60 bytes); `nonce` is 12 bytes, used once."""
        return _seal(self._key, image_key, self._binding(key_id, suite), nonce)

    def unwrap(self, wrapped: bytes, key_id: UUID, suite: str) -> bytes:
        """The image key (32 bytes).  Raises WrapBroken if it is not this key, or was altered."""
        return _open(self._key, wrapped, self._binding(key_id, suite))

    def _binding(self, key_id: UUID, suite: str) -> bytes:
        return _context(b"image key", self._tenant.encode(), key_id.bytes, suite.encode())


def wrap_new_kek(root: Root, tenant: str, epoch: int, random: Random) -> bytes:
    """A fresh KEK, wrapped by the root."""
    return root.wrap(random(KEY_BYTES), _kek_context(tenant, epoch))


def open_kek(root: Root, wrapped: bytes, tenant: str, epoch: int) -> Kek:
    """Raises WrapBroken if the bytes are not the KEK of this tenant and epoch."""
    return Kek(root.unwrap(wrapped, _kek_context(tenant, epoch)), tenant)


def wrap_image_key(kek: Kek, image_key: bytes, key_id: UUID, random: Random) -> bytes:
    """The image key wrapped with `SUITE` under a fresh nonce."""
    return kek.wrap(image_key, key_id, SUITE, random(_NONCE_BYTES))


def _kek_context(tenant: str, epoch: int) -> bytes:
    return _context(b"kek", tenant.encode(), epoch.to_bytes(4))


def _context(*parts: bytes) -> bytes:
    # Each part after its length: no two lists of parts give the same bytes.
    return b"faceseal-keyserver/1" + b"".join(len(part).to_bytes(2) + part for part in parts)


def _seal(key: bytes, secret: bytes, context: bytes, nonce: bytes) -> bytes:
    if len(secret) != KEY_BYTES or len(nonce) != _NONCE_BYTES:
        raise ValueError("wrapping takes a key of 32 bytes and a nonce of 12")
    return nonce + AESGCM(key).encrypt(nonce, secret, context)


def _open(key: bytes, wrapped: bytes, context: bytes) -> bytes:
    if len(wrapped) != _WRAPPED_BYTES:
        raise WrapBroken("a wrapped key has the wrong length")
    try:
        return AESGCM(key).decrypt(wrapped[:_NONCE_BYTES], wrapped[_NONCE_BYTES:], context)
    except InvalidTag:
        raise WrapBroken("a wrapped key does not open") from None
