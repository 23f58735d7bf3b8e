"""Whether this replica may release: whether its log continues all that has been published of it.

Doubts come from whoever keeps checkpoints outside of the database (`publishing`), and from
this replica's own memory of the log.  A doubt lasts until its source sees the log continue
what it holds: a database that was put back by mistake, and then put right, releases again by
itself, and a log that went on from an older copy never does.
"""

from __future__ import annotations

import hmac
import logging
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from faceseal.cosignature import WitnessKey
from faceseal.translog import Checkpoint
from keyserver import metrics
from keyserver.errors import LogInDoubt
from keyserver.service import logcheck

MEMORY = "this replica"
"""The source of doubts that nobody outside has raised."""
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Witnessing:
    """Whose cosignatures count, how many of them a checkpoint takes, and how long one may lack them."""

    keys: tuple[WitnessKey, ...] = ()
    quorum: int = 1
    unwitnessed_seconds: int | None = None
    """From the first entry that no witnessed checkpoint covers, to the end of releases; None: no end."""


class LogTrust:
    """What one replica knows.  Its methods may be called by any thread, and never wait."""

    def __init__(self, witnessing: Witnessing | None = None) -> None:
        self.witnessing = witnessing or Witnessing()
        self._lock = threading.Lock()
        self._doubts: dict[str, str] = {}
        self._newest: Checkpoint | None = None
        self._until: int | None = None

    def require(self, now: int) -> None:
        """Goes on if keys may be released at this time (seconds since 1970).  Raises LogInDoubt."""
        with self._lock:
            doubts, late = [*self._doubts], self._late(now)
        if doubts or late:
            metrics.count_stopped_release()
            raise LogInDoubt(f"doubted by {', '.join(doubts)}" if doubts else "too long without witnesses")

    def remembered(self) -> Checkpoint | None:
        """The newest checkpoint that was seen committed, and that continued those before."""
        with self._lock:
            return self._newest

    def remember(self, checkpoint: Checkpoint) -> None:
        """The log was seen with this checkpoint, committed, and it continued what was remembered.

        Threads may come in another order than their transactions: an older one changes nothing.
        """
        with self._lock:
            if self._newest is None or checkpoint.size > self._newest.size:
                self._newest = checkpoint

    def compare(self, known: Checkpoint, size: int, root_of: Callable[[int], bytes | None]) -> bool:
        """Whether a log of `size` entries continues what was known of it before; if not, it is in doubt.

        root_of: of that log's first so many entries; None if nodes of its tree are missing.
        """
        if size < known.size:
            self.doubt(MEMORY, logcheck.behind(known.size, size))
            return False
        if not hmac.compare_digest(root_of(known.size) or b"", known.root):
            self.doubt(MEMORY, logcheck.rewritten(known.size))
            return False
        return True

    def doubt(self, source: str, why: str) -> None:
        """Stop releases.  Says so once for each new reason, as loudly as a log can."""
        with self._lock:
            is_new = self._doubts.get(source) != why
            self._doubts[source] = why
        metrics.set_log_in_doubt(True)
        if is_new:
            _log.critical("NO KEY IS RELEASED: the audit log is doubted by %s: %s", source, why)

    def settle(self, source: str) -> None:
        """The source has no doubt any more."""
        with self._lock:
            was = self._doubts.pop(source, None)
            none_left = not self._doubts
        if was is not None:
            metrics.set_log_in_doubt(not none_left)
            _log.warning("the audit log is no longer doubted by %s", source)

    def doubts(self) -> Mapping[str, str]:
        """By their source, why."""
        with self._lock:
            return dict(self._doubts)

    def witnessed_until(self, until: int | None) -> None:
        """Releases end at this time, unless it is moved on before; None: they do not."""
        with self._lock:
            self._until = until

    def late(self, now: int) -> bool:
        """Whether the log has gone on for too long without enough witnesses."""
        with self._lock:
            return self._late(now)

    def _late(self, now: int) -> bool:
        return self._until is not None and now > self._until
