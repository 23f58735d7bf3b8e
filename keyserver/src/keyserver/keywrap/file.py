"""The root of the embedded default: a key in a file."""

from __future__ import annotations

from pathlib import Path

from keyserver.keywrap.aead import NONCE_BYTES, open_sealed, seal
from keyserver.keywrap.root import Random
from keyserver.secretfile import read_secret


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
        return seal(self._key, kek, context, self._random(NONCE_BYTES))

    def unwrap(self, wrapped: bytes, context: bytes) -> bytes:
        """See `Root`."""
        return open_sealed(self._key, wrapped, context)
