"""The PNG that carries a header and a capsule in two private chunks (PNG 3rd edition, section 5).

Both chunk types are ancillary, private, and unsafe to copy: an editor that changes pixels
must drop them, and one that does not know them leaves them alone.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

from faceseal.envelope.capsule import MAX_CAPSULE_BYTES
from faceseal.envelope.header import MAX_HEADER_BYTES
from faceseal.errors import NotSealed, SealedFileError

SIGNATURE = b"\x89PNG\r\n\x1a\n"
HEADER_CHUNK = b"fsHD"
CAPSULE_CHUNK = b"fsCP"
MAX_CHUNKS = 100_000
FOREIGN_CHUNKS = (b"acTL", b"eXIf", b"tRNS")
"""Would change what is shown of the pixels that the header names; we write none of them."""
_LIMITS = {HEADER_CHUNK: MAX_HEADER_BYTES, CAPSULE_CHUNK: MAX_CAPSULE_BYTES}


@dataclass(frozen=True)
class SealedChunks:
    """What a sealed PNG carries besides its picture."""

    header: bytes
    capsule: bytes | None


def embed(png: bytes, header: bytes, capsule: bytes | None) -> bytes:
    """Put the chunks behind the first chunk (IHDR) of a PNG made by our own writer."""
    start = len(SIGNATURE) + 12 + struct.unpack_from(">I", png, len(SIGNATURE))[0]
    chunks = _chunk(HEADER_CHUNK, header)
    if capsule is not None:
        chunks += _chunk(CAPSULE_CHUNK, capsule)
    return png[:start] + chunks + png[start:]


def extract(content: bytes) -> SealedChunks:
    """The chunks of a sealed PNG.

    Raises NotSealed if there is no header, SealedFileError if the file's structure is
    broken: a length that passes the end, a wrong checksum, a chunk twice or too long.
    """
    if not content.startswith(SIGNATURE):
        raise NotSealed("the file is not a PNG, so it carries no faceseal header; give its header with --header")
    found: dict[bytes, bytes] = {}
    for kind, body in _chunks(content):
        if kind in FOREIGN_CHUNKS:
            raise SealedFileError(f"the file has a {kind.decode()} chunk, which no sealed photo has; get it again")
        if kind not in _LIMITS:
            continue
        if kind in found or len(body) > _LIMITS[kind]:
            raise SealedFileError(f"the file has a {kind.decode()} chunk twice or of impossible length; get it again")
        found[kind] = bytes(body)
    if HEADER_CHUNK not in found:
        raise NotSealed("the photo carries no faceseal header: it was never sealed, or its metadata was stripped")
    return SealedChunks(found[HEADER_CHUNK], found.get(CAPSULE_CHUNK))


def _chunks(content: bytes) -> Iterator[tuple[bytes, memoryview]]:
    view, position = memoryview(content), len(SIGNATURE)
    for _ in range(MAX_CHUNKS):
        if position + 12 > len(view):
            raise SealedFileError("the PNG is cut short; get the file again from its source")
        length, kind = struct.unpack_from(">I4s", view, position)
        end = position + 12 + length
        if not kind.isalpha():
            raise SealedFileError("the PNG has a chunk without a proper name; get the file again from its source")
        if end > len(view):
            raise SealedFileError(
                f"a length field in the PNG (chunk {kind.decode()}) passes the end of the file; "
                "get the file again from its source"
            )
        (checksum,) = struct.unpack_from(">I", view, end - 4)
        if zlib.crc32(view[position + 4 : end - 4]) != checksum:
            raise SealedFileError(f"chunk {kind.decode()} of the PNG is damaged; get the file again from its source")
        yield kind, view[position + 8 : end - 4]
        if kind == b"IEND":
            return
        position = end
    raise SealedFileError(f"the PNG has more than {MAX_CHUNKS} chunks; save it anew")


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
