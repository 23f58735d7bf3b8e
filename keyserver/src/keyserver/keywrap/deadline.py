"""A remote root with an end to every call: it answers in time, or the answer is `Unavailable`."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

from keyserver.errors import SetupError, Unavailable
from keyserver.keywrap.root import RemoteRoot

_Answer = TypeVar("_Answer")


class TimeLimited:
    """A root each of whose calls ends within `seconds`, however the library behind it behaves.

    A library's own timeouts bound one read of a socket, or, in a driver of a security module,
    nothing at all.  Hence each call runs in a thread of its own that can be left behind; of
    those there are never more than `at_once`, and 1 keeps a module's sessions apart.
    """

    def __init__(self, root: RemoteRoot, seconds: float, at_once: int) -> None:
        self._root = root
        self._seconds = seconds
        self._free = threading.BoundedSemaphore(at_once)

    def wrap(self, kek: bytes, context: bytes) -> bytes:
        """See `Root`."""
        return self._while_serving(lambda: self._root.wrap(kek, context))

    def unwrap(self, wrapped: bytes, context: bytes) -> bytes:
        """See `Root`."""
        return self._while_serving(lambda: self._root.unwrap(wrapped, context))

    def check(self) -> None:
        """See `RemoteRoot`.  Raises Unavailable as well."""
        self._within(self._root.check)

    def _while_serving(self, call: Callable[[], bytes]) -> bytes:
        try:
            return self._within(call)
        except SetupError as cause:
            # It was fit when the server started: for a request that is an outage.
            raise Unavailable(f"the root is no longer usable: {cause}") from None

    def _within(self, call: Callable[[], _Answer]) -> _Answer:
        deadline = time.monotonic() + self._seconds
        if not self._free.acquire(timeout=self._seconds):
            raise Unavailable("the root has not answered earlier calls yet")
        answer: Future[_Answer] = Future()

        def run() -> None:
            try:
                answer.set_result(call())
            except Exception as failure:
                answer.set_exception(failure)
            finally:
                self._free.release()

        threading.Thread(target=run, name="root", daemon=True).start()
        try:
            return answer.result(max(0.0, deadline - time.monotonic()))
        except (Unavailable, SetupError):
            raise
        except TimeoutError:
            raise Unavailable(f"the root did not answer within {self._seconds:g} seconds") from None
        except Exception as cause:
            # The type alone: a library's message may quote the request, and that holds a KEK.
            raise Unavailable(f"the root failed ({type(cause).__name__})") from None
