"""Which checkpoint witnesses are asked to cosign: the same for all of them, until it has its quorum.

Witnesses that take longer than a round, each offered the newest checkpoint when it comes to be
free, would cosign different ones for ever, and none would get its quorum.
"""

from __future__ import annotations

import threading

from keyserver import audit


class Candidate:
    """Of one replica.  May be called by any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._held: audit.LogHead | None = None

    def chosen(self, newest: audit.LogHead, witnessed: int, hold: bool) -> audit.LogHead:
        """The one to offer: that which is held, or the newest if that has its quorum, or is not to be held.

        witnessed: size of the newest checkpoint with a quorum, 0 if there is none.
        """
        with self._lock:
            if self._held is None or not hold or witnessed >= self._held.size:
                self._held = newest
            return self._held

    def at_least(self, taken: audit.LogHead) -> None:
        """A witness has taken this one, for it had more than what is held: it never cosigns that any more."""
        with self._lock:
            if self._held is not None and taken.size > self._held.size:
                self._held = taken
