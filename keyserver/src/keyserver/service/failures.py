"""Addresses from which tokens come that do not count: after too many in a minute they are not even looked at.

In this process's memory alone, and bounded: it saves work and keeps the log short.  No token
is guessed, at whatever rate.  IPv6 addresses count by their /64: who has one has all of it.
"""

from __future__ import annotations

import ipaddress
import threading
from collections.abc import Callable

from keyserver import metrics
from keyserver.errors import TooMany

WINDOW_SECONDS = 60
MOST_ADDRESSES = 10_000
"""Of more, the ones that have been known longest are forgotten."""


class FailedAuthentications:
    """Counts by address, anew each minute; `most` 0 is no limit."""

    def __init__(self, most: int, clock: Callable[[], float]) -> None:
        """`clock` is in seconds and never goes back."""
        self._most = most
        self._clock = clock
        self._lock = threading.Lock()
        self._counts: dict[str, tuple[float, int]] = {}

    def require_few(self, address: str) -> None:
        """Raises TooMany if this minute's failures from the address are used up."""
        now, network = self._clock(), _network_of(address)
        with self._lock:
            began, failures = self._counts.get(network, (now, 0))
        over = began + WINDOW_SECONDS
        if self._most and failures >= self._most and now < over:
            metrics.count_rate_limited("address", "authentication")
            raise TooMany("address", self._most, 0, max(1, int(over - now)))

    def add(self, address: str) -> None:
        """A token from the address did not count."""
        metrics.count_unauthenticated()
        if not self._most:
            return
        now, network = self._clock(), _network_of(address)
        with self._lock:
            began, failures = self._counts.pop(network, (now, 0))
            self._counts[network] = (now, 1) if now >= began + WINDOW_SECONDS else (began, failures + 1)
            while len(self._counts) > MOST_ADDRESSES:
                del self._counts[next(iter(self._counts))]


def _network_of(address: str) -> str:
    """What one subscriber has: the address, or of IPv6 the /64."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return address
    if isinstance(found, ipaddress.IPv4Address):
        return address
    if found.ipv4_mapped is not None:
        return str(found.ipv4_mapped)
    return str(ipaddress.IPv6Network((int(found) >> 64 << 64, 64)))
