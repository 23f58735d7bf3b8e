"""The encrypted file: a header in the clear, then chunks of AES-256-GCM, none of which can be moved, lost or added.

    magic "faceseal-keyserver backup 1\\n" || scrypt's salt (16) || nonce prefix (7) || chunks

Chunks follow the STREAM construction (Hoang, Reyhanitabar, Rogaway, Vizár, CRYPTO 2015): the
nonce is ``prefix || number of the chunk (4 bytes) || 1 if it is the last, else 0``, the
associated data the whole header.  Each chunk holds 64 KiB, only the last may be shorter; so a
file that was cut, reordered, or put together from two, does not open.  The key is made from a
passphrase by scrypt (RFC 7914) with N = 2**17, r = 8, p = 1: 128 MiB.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import BinaryIO

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from keyserver.errors import BackupBroken
from keyserver.keywrap import Random

MAGIC = b"faceseal-keyserver backup 1\n"
CHUNK_BYTES = 64 * 1024
MOST_CHUNKS = 1 << 32
_SALT_BYTES, _PREFIX_BYTES, _TAG_BYTES = 16, 7, 16
_HEADER_BYTES = len(MAGIC) + _SALT_BYTES + _PREFIX_BYTES
_NOT_OPEN = "the backup does not open: another passphrase, or the file was altered or cut off"


class SealedWriter:
    """Bytes in, encrypted file out; `finish` makes it whole."""

    def __init__(self, file: BinaryIO, passphrase: str, random: Random) -> None:
        self._file = file
        header = MAGIC + random(_SALT_BYTES) + random(_PREFIX_BYTES)
        self._chunks = _Chunks(header, passphrase)
        self._pending = bytearray()
        file.write(header)

    def write(self, data: bytes) -> None:
        """Encrypts whole chunks; at least one byte always waits, for only `finish` knows which chunk is the last."""
        self._pending += data
        while len(self._pending) > CHUNK_BYTES:
            self._file.write(self._chunks.seal(bytes(self._pending[:CHUNK_BYTES]), last=False))
            del self._pending[:CHUNK_BYTES]

    def finish(self) -> None:
        """Write the last chunk."""
        self._file.write(self._chunks.seal(bytes(self._pending), last=True))


def opened_chunks(file: BinaryIO, passphrase: str) -> Iterator[bytes]:
    """The plain bytes, chunk by chunk, each authentic when it comes; only at the end is it known that none is missing.

    Raises BackupBroken.
    """
    header = file.read(_HEADER_BYTES)
    if len(header) != _HEADER_BYTES or not header.startswith(MAGIC):
        raise BackupBroken("this is not a backup of a key server")
    chunks = _Chunks(header, passphrase)
    sealed = file.read(CHUNK_BYTES + _TAG_BYTES)
    while True:
        following = file.read(CHUNK_BYTES + _TAG_BYTES)
        yield chunks.open(sealed, last=not following)
        if not following:
            return
        sealed = following


def lines(chunks: Iterator[bytes], longest: int) -> Iterator[bytes]:
    """The lines that the chunks make up, without their ends.  Raises BackupBroken if one is longer than `longest`."""
    rest = b""
    for chunk in chunks:
        parts = io.BytesIO(rest + chunk).readlines()
        rest = b"" if not parts or parts[-1].endswith(b"\n") else parts.pop()
        if len(rest) > longest:
            raise BackupBroken("the backup holds a line that is too long")
        for part in parts:
            yield part.removesuffix(b"\n")
    if rest:
        raise BackupBroken("the backup ends in the middle of a line")


class _Chunks:
    def __init__(self, header: bytes, passphrase: str) -> None:
        salt, self._prefix = header[len(MAGIC) : -_PREFIX_BYTES], header[-_PREFIX_BYTES:]
        self._aead = AESGCM(Scrypt(salt=salt, length=32, n=1 << 17, r=8, p=1).derive(passphrase.encode()))
        self._header = header
        self._number = 0

    def seal(self, data: bytes, *, last: bool) -> bytes:
        return self._aead.encrypt(self._nonce(last), data, self._header)

    def open(self, sealed: bytes, *, last: bool) -> bytes:
        try:
            return self._aead.decrypt(self._nonce(last), sealed, self._header)
        except (InvalidTag, ValueError):
            raise BackupBroken(_NOT_OPEN) from None

    def _nonce(self, last: bool) -> bytes:
        if self._number >= MOST_CHUNKS:
            raise BackupBroken("a backup holds at most 2**32 chunks")
        nonce = self._prefix + self._number.to_bytes(4) + bytes([last])
        self._number += 1
        return nonce
