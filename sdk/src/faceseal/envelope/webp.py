"""The size that a WebP file states, read before its decoder allocates it (RFC 9649, sections 2.5 to 2.7)."""

from __future__ import annotations


def webp_size(content: bytes) -> tuple[int, int] | None:
    """(width, height) in pixels, None if the content is cut short or no WebP."""
    chunk, header = content[12:16], content[20:30]
    if content[:4] != b"RIFF" or content[8:12] != b"WEBP" or len(header) < 10:
        return None
    if chunk == b"VP8X":
        return int.from_bytes(header[4:7], "little") + 1, int.from_bytes(header[7:10], "little") + 1
    if chunk == b"VP8L":
        packed = int.from_bytes(header[1:5], "little")
        return (packed & 0x3FFF) + 1, (packed >> 14 & 0x3FFF) + 1
    if chunk == b"VP8 ":
        return int.from_bytes(header[6:8], "little") & 0x3FFF, int.from_bytes(header[8:10], "little") & 0x3FFF
    return None
