"""Token buckets: how much of each kind of action one client, and one tenant, may ask for.  Pure functions.

A bucket holds at most ten seconds' worth and is refilled evenly.  Tokens are counted in
thousandths and times in milliseconds, so that all arithmetic is exact.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

BURST_SECONDS = 10
LEASE_SECONDS = 1
"""For so long a replica may spend what it has taken out of a bucket."""
_THOUSAND = 1000


class Kind(StrEnum):
    """What is limited each by itself."""

    CREATE = "create"
    RELEASE = "release"
    READ = "read"
    OTHER = "other"


@dataclass(frozen=True)
class Rate:
    """So many actions a second, on average."""

    per_second: int

    @property
    def capacity(self) -> int:
        """Of a full bucket, in actions."""
        return self.per_second * BURST_SECONDS

    def most_of(self, actions: int) -> int:
        """As how many the actions of one request count: at most half a bucket, or it would never be full enough."""
        return min(actions, self.capacity // 2)

    @property
    def slice(self) -> int:
        """What a replica takes at a time, in actions."""
        return max(1, self.per_second * LEASE_SECONDS // 4)


KEYS_FOR_ONE = 20
"""Keys of a batch that take as much work as one action by itself."""


def cost_of_batch(keys: int) -> int:
    """As how many actions a batch of so many keys counts."""
    return -(-keys // KEYS_FOR_ONE)


Rates = Mapping[Kind, Rate]
"""Kinds that are missing are not limited."""


@dataclass(frozen=True)
class Bucket:
    """tokens: in thousandths, as of `refilled_at` (milliseconds)."""

    tokens: int
    refilled_at: int


@dataclass(frozen=True)
class Taken:
    """The bucket afterwards, how many actions were taken out, and if none, after how long (ms) there are enough."""

    bucket: Bucket
    actions: int
    wait: int


def parse_rates(text: str) -> Rates:
    """From `create=20,release=50`; 0 is no limit.  Raises ValueError."""
    rates: dict[Kind, Rate] = {}
    for part in filter(None, text.replace(" ", "").split(",")):
        name, _, number = part.partition("=")
        kind = Kind(name)
        if kind in rates or not (number.isascii() and number.isdigit()) or int(number) > 1_000_000:
            raise ValueError(part)
        rates[kind] = Rate(int(number))
    return {kind: rate for kind, rate in rates.items() if rate.per_second}


def full(rate: Rate, now: int) -> Bucket:
    """A bucket that nobody has used."""
    return Bucket(rate.capacity * _THOUSAND, now)


def take(bucket: Bucket, rate: Rate, now: int, most: int, unspent: int = 0, least: int = 1) -> Taken:
    """Refill the bucket, put `unspent` actions back, then take at most `most` out of it; `least` at least, or none.

    A clock that is behind another replica's refills nothing.
    """
    passed = max(0, now - bucket.refilled_at)
    tokens = min(rate.capacity * _THOUSAND, bucket.tokens + unspent * _THOUSAND + passed * rate.per_second)
    actions = min(most, tokens // _THOUSAND)
    actions = actions if actions >= least else 0
    left = Bucket(tokens - actions * _THOUSAND, max(now, bucket.refilled_at))
    wait = 0 if actions else max(0, -(-(least * _THOUSAND - left.tokens) // rate.per_second))
    return Taken(left, actions, wait)


def full_at(bucket: Bucket, rate: Rate) -> int:
    """When the bucket is as good as unused (ms)."""
    return bucket.refilled_at + -(-(rate.capacity * _THOUSAND - bucket.tokens) // rate.per_second)
