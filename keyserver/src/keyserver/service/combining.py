"""Many requests in one transaction: whoever comes while one is under way goes along in the next.

A commit takes as long for sixty-four releases as for one.  The first to come does the work
for all who wait (flat combining: Hendler, Incze, Shavit, Tzafrir, SPAA 2010), so that there
is no thread to start, to stop or to die, and a single request waits for nobody.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from threading import Event, Lock
from typing import Generic, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

MOST_TOGETHER = 64
"""Requests in one transaction: more would make each wait longer than it saves."""


class _Waiting(Generic[Item, Result]):
    """One request.  `turn` is set when it is done, or when it is its thread's turn to work for all."""

    def __init__(self, item: Item) -> None:
        self.item = item
        self.turn = Event()
        self.done = False
        self.result: Result | None = None
        self.failure: BaseException | None = None


class Combining(Generic[Item, Result]):
    """work: one result for each item, in order; what it raises is raised for every item of that call."""

    def __init__(self, work: Callable[[Sequence[Item]], Sequence[Result]], most: int = MOST_TOGETHER) -> None:
        self._work = work
        self._most = most
        self._lock = Lock()
        self._waiting: deque[_Waiting[Item, Result]] = deque()
        self._busy = False

    def run(self, item: Item) -> Result:
        """The item's result, once it and those that came along are done.  Raises what `work` raises."""
        mine: _Waiting[Item, Result] = _Waiting(item)
        with self._lock:
            self._waiting.append(mine)
            if not self._busy:
                self._busy = True
                mine.turn.set()
        mine.turn.wait()
        if not mine.done:
            self._work_for_all()
        if mine.failure is not None:
            raise mine.failure
        return mine.result  # type: ignore[return-value]  # set where there is no failure

    def _work_for_all(self) -> None:
        """Serve the oldest requests, this thread's own among them, and pass the turn on."""
        with self._lock:
            together = [self._waiting.popleft() for _ in range(min(self._most, len(self._waiting)))]
        try:
            results = self._work([one.item for one in together])
            for one, result in zip(together, results, strict=True):
                one.result = result
        except BaseException as failure:
            for one in together:
                one.failure = failure
        finally:
            with self._lock:
                self._busy = bool(self._waiting)
                if self._waiting:
                    self._waiting[0].turn.set()
            for one in together:
                one.done = True
                one.turn.set()
