"""Opened KEKs, kept in memory for a while: a remote root is too slow to be asked at every release."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future

from keyserver.keywrap.root import Root

_Name = tuple[bytes, bytes]


class CachedRoot:
    """A root that remembers for `seconds` what it has opened.

    Rules:
    1. what is remembered is named by the wrapped bytes and their context, and a caller has
       those from the database, in its own transaction: a KEK whose row is gone or changed is
       not found here, in no replica;
    2. many requests for one KEK cause one call to the root, and share its failure;
    3. failures are not remembered;
    4. at most `capacity` KEKs are kept; the oldest make room.
    """

    def __init__(self, root: Root, clock: Callable[[], float], seconds: float, capacity: int = 4096) -> None:
        """`clock` is in seconds and never goes back."""
        self._root = root
        self._clock = clock
        self._seconds = seconds
        self._capacity = capacity
        self._lock = threading.Lock()
        # In the order of their opening, which is that of their expiry.
        self._opened: dict[_Name, tuple[float, bytes]] = {}
        self._opening: dict[_Name, Future[bytes]] = {}

    def wrap(self, kek: bytes, context: bytes) -> bytes:
        """See `Root`."""
        return self._root.wrap(kek, context)

    def unwrap(self, wrapped: bytes, context: bytes) -> bytes:
        """See `Root`."""
        name = (wrapped, context)
        with self._lock:
            self._forget(self._clock())
            if name in self._opened:
                return self._opened[name][1]
            opening = self._opening.get(name)
            if opening is None:
                mine: Future[bytes] = Future()
                self._opening[name] = mine
        return self._open(name, mine) if opening is None else opening.result()

    def _open(self, name: _Name, opening: Future[bytes]) -> bytes:
        # Counted from before the call, so that no KEK outlives its time however slow the root is.
        asked_at = self._clock()
        try:
            kek = self._root.unwrap(*name)
        except BaseException as failure:
            with self._lock:
                del self._opening[name]
            opening.set_exception(failure)
            raise
        with self._lock:
            del self._opening[name]
            while len(self._opened) >= self._capacity:
                del self._opened[next(iter(self._opened))]
            self._opened[name] = (asked_at + self._seconds, kek)
        opening.set_result(kek)
        return kek

    def _forget(self, now: float) -> None:
        while self._opened:
            oldest = next(iter(self._opened))
            if self._opened[oldest][0] > now:
                return
            del self._opened[oldest]
