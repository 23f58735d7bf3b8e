"""Addresses from which tokens come that do not count: after too many in a minute they are not even looked at.

In this process's memory alone, and bounded: it saves work and keeps the log short.  No token
is guessed, at whatever rate.
"""

from __future__ import annotations

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
        now = self._clock()
        with self._lock:
            began, failures = self._counts.get(address, (now, 0))
        over = began + WINDOW_SECONDS
        if self._most and failures >= self._most and now < over:
            metrics.count_rate_limited("address", "authentication")
            raise TooMany("address", self._most, 0, max(1, int(over - now)))

    def add(self, address: str) -> None:
        """A token from the address did not count."""
        metrics.count_unauthenticated()
        if not self._most:
            return
        now = self._clock()
        with self._lock:
            began, failures = self._counts.pop(address, (now, 0))
            self._counts[address] = (now, 1) if now >= began + WINDOW_SECONDS else (began, failures + 1)
            while len(self._counts) > MOST_ADDRESSES:
                del self._counts[next(iter(self._counts))]
