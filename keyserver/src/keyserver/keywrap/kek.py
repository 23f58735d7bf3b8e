"""KEKs and the image keys that they wrap.  The rules are in the package's docstring."""

from __future__ import annotations

from uuid import UUID

from keyserver.errors import WrapBroken
from keyserver.keywrap.aead import KEY_BYTES, NONCE_BYTES, open_sealed, seal
from keyserver.keywrap.root import Random, Root

SUITE = "A256GCM"
"""How an image key is wrapped; part of its binding."""


class Kek:
    """The key-encryption key of one tenant and epoch."""

    def __init__(self, key: bytes, tenant: str) -> None:
        self._key = key
        self._tenant = tenant

    def wrap(self, image_key: bytes, key_id: UUID, suite: str, nonce: bytes) -> bytes:
        """The wrapped image key (60 bytes); `nonce` is 12 bytes, used once."""
        return seal(self._key, image_key, self._binding(key_id, suite), nonce)

    def unwrap(self, wrapped: bytes, key_id: UUID, suite: str) -> bytes:
        """The image key (32 bytes).  Raises WrapBroken if it is not this key, or was altered."""
        return open_sealed(self._key, wrapped, self._binding(key_id, suite))

    def _binding(self, key_id: UUID, suite: str) -> bytes:
        return _context(b"image key", self._tenant.encode(), key_id.bytes, suite.encode())


def wrap_new_kek(root: Root, tenant: str, epoch: int, random: Random) -> bytes:
    """A fresh KEK, wrapped by the root.  Raises Unavailable."""
    return root.wrap(random(KEY_BYTES), kek_context(tenant, epoch))


def open_kek(root: Root, wrapped: bytes, tenant: str, epoch: int) -> Kek:
    """Raises WrapBroken if the bytes are not the KEK of this tenant and epoch, or are destroyed; Unavailable."""
    if not wrapped:
        raise WrapBroken("the key's KEK was destroyed")
    return Kek(root.unwrap(wrapped, kek_context(tenant, epoch)), tenant)


def move_kek(old: Root, new: Root, wrapped: bytes, tenant: str, epoch: int) -> bytes:
    """The same KEK wrapped by another root, which has opened it once to prove that it can.

    Raises WrapBroken if either root does not open it, Unavailable.
    """
    context = kek_context(tenant, epoch)
    moved = new.wrap(old.unwrap(wrapped, context), context)
    new.unwrap(moved, context)
    return moved


def wrap_image_key(kek: Kek, image_key: bytes, key_id: UUID, random: Random) -> bytes:
    """The image key wrapped with `SUITE` under a fresh nonce."""
    return kek.wrap(image_key, key_id, SUITE, random(NONCE_BYTES))


def kek_context(tenant: str, epoch: int) -> bytes:
    """What a wrapped KEK is bound to."""
    return _context(b"kek", tenant.encode(), epoch.to_bytes(4))


def webhook_context(tenant: str, webhook_id: UUID) -> bytes:
    """What a wrapped webhook secret is bound to: it passes for no KEK, nor for another webhook's."""
    return _context(b"webhook", tenant.encode(), webhook_id.bytes)


def reader_context(origin: str) -> bytes:
    """What the wrapped key of an audit log's reader is bound to."""
    return _context(b"audit reader", origin.encode())


def _context(*parts: bytes) -> bytes:
    # Each part after its length: no two lists of parts give the same bytes.
    return b"faceseal-keyserver/1" + b"".join(len(part).to_bytes(2) + part for part in parts)
