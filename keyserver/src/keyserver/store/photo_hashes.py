"""Keys by the perceptual hash of their photo: all within a Hamming distance, by index.

A hash has 64 bits in four bands of 16.  Two hashes at distance 10 or less differ by at most
two bits in one of the first three bands, or by at most one in the last: else they would
differ by 3 + 3 + 3 + 2 = 11 at least (the general pigeonhole principle: Qin et al., "GPH:
Similarity search in Hamming space", ICDE 2018; bands looked up by all values near them:
Norouzi et al., "Fast search in Hamming space with multi-index hashing", CVPR 2012).  So 428
values are looked up, which a share of 1 in 153 of unrelated hashes has, and each row that
they give is compared as a whole.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from uuid import UUID

from sqlalchemy import select, union
from sqlalchemy.orm import Session

from keyserver.store.tables import PhotoHashRow

HASH_BITS = 64
FARTHEST = 10
"""Differing bits; see docs/adr for how often copies, and other photos, come within it."""
_BAND_BITS = 16
_RADII = (2, 2, 2, 1)


@dataclass(frozen=True, order=True)
class Near:
    """A key whose photo's hash is so many bits away; sorts by distance, then by age."""

    distance: int
    key_id: UUID


def add_hash(session: Session, key_id: UUID, tenant: str, perceptual_hash: bytes) -> None:
    """Remember the hash (8 bytes) of a key's photo."""
    bands = {f"band_{number}": band for number, band in enumerate(bands_of(perceptual_hash))}
    session.add(PhotoHashRow(key_id=key_id, tenant=tenant, **bands))


def nearest(session: Session, tenant: str, perceptual_hash: bytes, limit: int) -> list[Near]:
    """The tenant's keys within `FARTHEST` of the hash (8 bytes), nearest first, at most `limit` of them.

    Of keys at one distance the oldest come first (ids begin with the time): who binds a key
    to the same photo later does not come before the key that restores it.
    """
    asked = bands_of(perceptual_hash)
    columns = (PhotoHashRow.band_0, PhotoHashRow.band_1, PhotoHashRow.band_2, PhotoHashRow.band_3)
    found = union(
        *(
            select(PhotoHashRow.key_id, *columns).where(
                PhotoHashRow.tenant == tenant, column.in_(list(values_near(band, radius)))
            )
            for column, band, radius in zip(columns, asked, _RADII, strict=True)
        )
    )
    rows = session.execute(found, execution_options={"yield_per": 1000})
    measured = (Near(distance(asked, row[1:]), row[0]) for row in rows)
    return heapq.nsmallest(limit, (near for near in measured if near.distance <= FARTHEST))


def bands_of(perceptual_hash: bytes) -> tuple[int, ...]:
    """The four bands of a hash (8 bytes), each below 2**16."""
    return tuple(int.from_bytes(perceptual_hash[start : start + 2]) for start in range(0, HASH_BITS // 8, 2))


def values_near(band: int, radius: int) -> Iterator[int]:
    """All values of a band that differ from it by at most `radius` bits, itself first."""
    for count in range(radius + 1):
        for places in combinations(range(_BAND_BITS), count):
            yield band ^ sum(1 << place for place in places)


def distance(one: Sequence[int], other: Sequence[int]) -> int:
    """How many bits two hashes, in bands, differ by."""
    return sum((a ^ b).bit_count() for a, b in zip(one, other, strict=True))
