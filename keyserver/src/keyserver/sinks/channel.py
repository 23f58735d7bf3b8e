"""One sink of one replica: how far it has got, when it is asked again, and the thread that asks it."""

from __future__ import annotations

import threading
from collections.abc import Callable

from keyserver.sinks.sink import Sink

RECHECK_SECONDS = 60.0
"""After which a sink is asked again though the log has not grown; also the longest pause after failures."""


class Channel:
    """Never asks twice at a time.  All times are seconds of one clock that never goes back."""

    def __init__(self, sink: Sink) -> None:
        self.sink = sink
        self.spoiled = ""
        """What is wrong with what lies in the sink; empty if nothing is."""
        self._size = -1
        self._confirmed = float("-inf")
        self._due = float("-inf")
        self._failures = 0
        self._thread: threading.Thread | None = None

    def lacks(self, size: int) -> bool:
        """Whether the sink is not known to have a checkpoint of so many entries."""
        return self._size < size

    def is_stale(self, size: int, now: float) -> bool:
        """Whether the sink is to be asked, now that the log has so many entries."""
        return self._size != size or now >= self._confirmed + RECHECK_SECONDS

    def is_due(self, now: float) -> bool:
        """Whether the pause after its last failure is over."""
        return now >= self._due

    def took(self, size: int, now: float) -> None:
        """It has a checkpoint of so many entries."""
        self._size, self._confirmed = size, now
        self.answered(now)

    def answered(self, now: float) -> None:
        """It was reached, whatever it said."""
        self._failures, self._due, self.spoiled = 0, now, ""

    def failed(self, now: float, seconds: float) -> None:
        """Nothing was learnt: the pause grows from twice `seconds` on."""
        self._failures += 1
        self._due = now + min(RECHECK_SECONDS, seconds * 2 ** min(self._failures, 10))

    def begin(self, work: Callable[[], None]) -> None:
        """Run the work in a thread; nothing, if the last still runs."""
        if self._thread is None or not self._thread.is_alive():
            self._thread = threading.Thread(target=work, name="push", daemon=True)
            self._thread.start()

    def join(self, seconds: float) -> None:
        """Until what was begun has ended, for so long at most."""
        if self._thread is not None:
            self._thread.join(seconds)

    @property
    def is_asking(self) -> bool:
        """Whether what was begun still runs."""
        return self._thread is not None and self._thread.is_alive()
