"""Many requests in one transaction: whoever comes while one is under way goes along in the next.

A commit takes as long for sixty-four releases as for one.  One thread does the work for all
who wait, and they wait in none: a request that is served on the event loop awaits its
future there.  A single request waits for nobody.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import Context, copy_context
from dataclasses import dataclass
from threading import Lock
from typing import Generic, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

MOST_TOGETHER = 64
"""Requests in one transaction: more would make each wait longer than it saves."""


@dataclass(frozen=True)
class _Waiting(Generic[Item, Result]):
    item: Item
    future: Future[Result]
    context: Context


class Combining(Generic[Item, Result]):
    """work: one result for each item, in order; what it raises is raised for every item of that call.

    It runs in the context (`contextvars`) of the first of its items.
    """

    def __init__(self, work: Callable[[Sequence[Item]], Sequence[Result]], most: int = MOST_TOGETHER) -> None:
        self._work = work
        self._most = most
        self._lock = Lock()
        self._waiting: deque[_Waiting[Item, Result]] = deque()
        self._busy = False
        self._thread = ThreadPoolExecutor(1, "combining")

    def submit(self, item: Item) -> Future[Result]:
        """The item's result, or what `work` raises, once it and those that came along are done.

        A future that is cancelled before its turn takes no part.
        """
        mine: _Waiting[Item, Result] = _Waiting(item, Future(), copy_context())
        with self._lock:
            self._waiting.append(mine)
            if not self._busy:
                self._thread.submit(self._work_for_all)
                self._busy = True
        return mine.future

    def run(self, item: Item) -> Result:
        """Like `submit`, for callers who wait in a thread of their own."""
        return self.submit(item).result()

    def _work_for_all(self) -> None:
        while together := self._next():
            wanted = [one for one in together if one.future.set_running_or_notify_cancel()]
            if wanted:
                wanted[0].context.run(self._serve, wanted)

    def _next(self) -> list[_Waiting[Item, Result]]:
        """The oldest requests; empty if nobody waits, and then the next to come starts the work again."""
        with self._lock:
            together = [self._waiting.popleft() for _ in range(min(self._most, len(self._waiting)))]
            self._busy = bool(together)
            return together

    def _serve(self, together: Sequence[_Waiting[Item, Result]]) -> None:
        try:
            results = self._work([one.item for one in together])
            for one, result in zip(together, results, strict=True):
                one.future.set_result(result)
        except BaseException as failure:
            for one in together:
                if not one.future.done():
                    one.future.set_exception(failure)
