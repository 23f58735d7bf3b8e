"""UUID version 7: identifiers that sort by the time they were made (RFC 9562, section 5.7)."""

from __future__ import annotations

from uuid import UUID

RANDOM_BYTES = 10


def uuid7(milliseconds: int, random: bytes) -> UUID:
    """The UUID of a time (milliseconds since 1970, below 2**48) and 10 random bytes.

    74 of the 80 random bits remain; the others make room for version and variant.  Raises
    ValueError if the time or the number of bytes does not fit.
    """
    if len(random) != RANDOM_BYTES or not 0 <= milliseconds < 1 << 48:
        raise ValueError("a version 7 UUID takes 48 bits of milliseconds and 10 random bytes")
    value = int.from_bytes(milliseconds.to_bytes(6) + random)
    value = value & ~(0xF << 76) | 0x7 << 76
    value = value & ~(0x3 << 62) | 0x2 << 62
    return UUID(int=value)
