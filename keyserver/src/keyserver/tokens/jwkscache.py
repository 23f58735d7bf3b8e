"""An issuer's keys as last fetched, and when to fetch them again.

Nothing here waits: a fetch runs in a thread of its own, one at a time for each issuer, and at
most one every `PAUSE_SECONDS`.  With the age of what is held, counted from the last fetch that
succeeded:

- below 4/5 of max-age: it counts;
- up to max-age: it counts, and is fetched again beside that;
- beyond: the token waits for the fetch, so that a key that was rotated out stops counting;
- if that fetch fails, what is held counts for `OUTAGE_SECONDS` in all, and no token waits
  again until a fetch has succeeded: an issuer that is down stops nobody whose key is held;
- an unknown `kid` waits for a fetch, if one may start or is running.

Times are seconds since 1970 by the caller's clock; one that was set back only leads to
fetching earlier.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

from keyserver.tokens.jwk import KeyFault, KeySet
from keyserver.tokens.jws import VerificationKey
from keyserver.tokens.refusal import Refusal, TokenRefused

PAUSE_SECONDS = 30
SHORTEST_MAX_AGE = 60
DEFAULT_MAX_AGE = 300
LONGEST_MAX_AGE = 3600
"""Bounds of what an issuer may say: how long a key that was rotated out can still count."""
OUTAGE_SECONDS = 12 * 3600
_log = logging.getLogger(__name__)


class FetchFailed(Exception):
    """The issuer's keys could not be fetched; the message is for the log."""


@dataclass(frozen=True)
class Fetched:
    """What a fetch brought: keys, and max-age in seconds if it was said."""

    keys: KeySet
    max_age: int | None = None


class KeysPending(TokenRefused):
    """No answer yet: the issuer's keys are being fetched.  Once `fetched` is done, ask again."""

    def __init__(self, fetched: Future[None]) -> None:
        super().__init__(Refusal.KEYS_UNAVAILABLE)
        self.fetched = fetched


@dataclass(frozen=True)
class _Held:
    keys: KeySet
    fetched_at: int
    max_age: int

    def age(self, now: int) -> int:
        # Requests may come a little out of order.  A clock that was set back further than that
        # says nothing about the age, so the keys are fetched again.
        age = now - self.fetched_at
        return max(age, 0) if age > -PAUSE_SECONDS else self.max_age


class JwksCache:
    """The keys of one issuer; `issuer` is its name in the log."""

    def __init__(self, issuer: str, fetch: Callable[[], Coroutine[Any, Any, Fetched]]) -> None:
        self._issuer = issuer
        self._fetch = fetch
        self._lock = threading.Lock()
        self._held: _Held | None = None
        self._attempted_at: int | None = None
        self._failing = False
        self._running: Future[None] | None = None

    def warm(self, now: int) -> None:
        """Fetch the keys before the first token asks for them."""
        with self._lock:
            self._refresh(now)

    def find(self, kid: str | None, now: int) -> VerificationKey:
        """The issuer's key of this name.

        Raises KeysPending if a running fetch will tell, TokenRefused if there is no such key.
        """
        with self._lock:
            held = self._held
            age = held.age(now) if held else 0
            if held is None or age >= OUTAGE_SECONDS:
                self._wait_for_refresh(now)
                raise TokenRefused(Refusal.KEYS_UNAVAILABLE)
            key = held.keys.find(kid)
            if key is None:
                self._wait_for_refresh(now)
                raise TokenRefused(Refusal.KEY)
            if age >= held.max_age and not self._failing:
                self._wait_for_refresh(now)
            elif age >= held.max_age * 4 // 5:
                self._refresh(now)
            return key

    def _wait_for_refresh(self, now: int) -> None:
        self._refresh(now)
        if self._running is not None:
            raise KeysPending(self._running)

    def _refresh(self, now: int) -> None:
        """Start a fetch, unless one is running or began less than the pause ago."""
        if self._running is not None:
            return
        if self._attempted_at is not None and abs(now - self._attempted_at) < PAUSE_SECONDS:
            return
        self._attempted_at = now
        self._running = Future()
        # So that nobody who waits for it can cancel it for the others.
        self._running.set_running_or_notify_cancel()
        thread = threading.Thread(target=self._run, args=(now, self._running), name="issuer-keys", daemon=True)
        thread.start()

    def _run(self, now: int, done: Future[None]) -> None:
        try:
            fetched = asyncio.run(self._fetch())
        except FetchFailed as failure:
            self._end(None, str(failure), done)
        except Exception as bug:
            # Whatever it was, the tokens that wait must not wait for ever.
            self._end(None, type(bug).__name__, done)
        else:
            limit = DEFAULT_MAX_AGE if fetched.max_age is None else fetched.max_age
            max_age = min(max(limit, SHORTEST_MAX_AGE), LONGEST_MAX_AGE)
            self._end(_Held(fetched.keys, now, max_age), None, done)

    def _end(self, held: _Held | None, failure: str | None, done: Future[None]) -> None:
        with self._lock:
            self._held = held or self._held
            self._failing = held is None
            self._running = None
        if failure is not None:
            _log.warning("the keys of issuer %s were not fetched: %s", self._issuer, failure)
        for fault in held.keys.left_out if held else ():
            level = logging.WARNING if fault is KeyFault.SECRET_PUBLISHED else logging.INFO
            _log.log(level, "a key of issuer %s is not used: %s", self._issuer, fault.value)
        done.set_result(None)
