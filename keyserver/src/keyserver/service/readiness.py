"""Whether this replica can do its work now: each check with a name and one word, and nothing of the inside.

- `database`: it answers, and has the schema of this program;
- `root`: it wraps a key and opens it again;
- `audit`: the log could be appended to, and is not behind what this replica has seen of it;
- `witnesses`: nobody outside holds a checkpoint that the log does not continue (else `failed`),
  and its newest entries have not been without witnesses for too long (else `late`).
"""

from __future__ import annotations

import hmac
import logging
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from enum import StrEnum

from keyserver.errors import KeyServerError
from keyserver.service.ports import Ports
from keyserver.store import log, schema

PROBE_BYTES = 32
PROBE_CONTEXT = b"faceseal-keyserver/1 readiness"
"""No KEK is bound to it, so that a wrapped probe is never taken for one."""
_log = logging.getLogger(__name__)


class Word(StrEnum):
    """How a check ended."""

    OK = "ok"
    FAILED = "failed"
    TIMEOUT = "timeout"
    LATE = "late"
    """Everything can be done here but releasing keys."""


class Readiness:
    """The checks of one replica, run at most once in `keep` seconds, each given up after `limit` seconds.

    A check that hangs is not started again before it has ended, so that threads cannot pile up.
    """

    def __init__(self, ports: Ports, clock: Callable[[], float], keep: float = 1.0, limit: float = 2.0) -> None:
        """`clock` is in seconds and never goes back."""
        self._ports = ports
        self._clock = clock
        self._keep = keep
        self._limit = limit
        self._lock = threading.Lock()
        self._found: Mapping[str, Word] = {}
        self._found_at = float("-inf")
        self._largest = 0
        self._checks: Mapping[str, Callable[[], bool]] = {
            "database": self._database,
            "root": self._root,
            "audit": self._audit,
        }
        self._threads = ThreadPoolExecutor(len(self._checks), thread_name_prefix="readiness")
        self._running: dict[str, Future[bool]] = {}

    def check(self) -> Mapping[str, Word]:
        """By the check's name, how it ended; blocks for `limit` seconds at most, in whatever state the parts are."""
        with self._lock:
            if self._clock() - self._found_at >= self._keep:
                self._found = {**self._run(), "witnesses": self._witnesses()}
                self._found_at = self._clock()
            return self._found

    def close(self) -> None:
        """Start no check any more."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _run(self) -> dict[str, Word]:
        hanging = {name for name, running in self._running.items() if not running.done()}
        for name, check in self._checks.items():
            if name not in hanging:
                self._running[name] = self._threads.submit(_checked, name, check)
        wait([self._running[name] for name in self._checks if name not in hanging], self._limit)
        return {name: Word.TIMEOUT if name in hanging else _word(self._running[name]) for name in self._checks}

    def _witnesses(self) -> Word:
        # Known without asking anybody: see `publishing`.
        trust = self._ports.trust
        if trust.doubts():
            return Word.FAILED
        return Word.LATE if trust.late(self._ports.clock()) else Word.OK

    def _database(self) -> bool:
        return schema.is_current(self._ports.database)

    def _root(self) -> bool:
        probe = self._ports.random(PROBE_BYTES)
        opened = self._ports.root.unwrap(self._ports.root.wrap(probe, PROBE_CONTEXT), PROBE_CONTEXT)
        return hmac.compare_digest(opened, probe)

    def _audit(self) -> bool:
        with self._ports.database.probing() as session:
            size = log.size_for_probe(session)
            if size is None:
                # Somebody is appending at this moment, so it can be appended to; unless there is no log at all.
                return log.head(session) is not None
        behind = size < self._largest
        self._largest = max(self._largest, size)
        return not behind


def _checked(name: str, check: Callable[[], bool]) -> bool:
    try:
        return check()
    except KeyServerError as failure:
        _log.warning("not ready: %s: %s", name, failure)
        return False
    except Exception as failure:
        _log.warning("not ready: %s: %s", name, type(failure).__name__)
        return False


def _word(running: Future[bool]) -> Word:
    if not running.done():
        return Word.TIMEOUT
    return Word.OK if running.result() else Word.FAILED
