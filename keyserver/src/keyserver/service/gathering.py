"""Cosignatures as they come in from the sinks, until a checkpoint has enough of them."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from faceseal.cosignature import Cosignature, merged
from faceseal.translog import Checkpoint, VerifierKey
from keyserver.service.logtrust import Witnessing
from keyserver.service.witnessed import keep_witnessed
from keyserver.store.database import Database

_MOST = 8
"""Checkpoints that are gathered for at a time; the oldest make room."""


class Gathering:
    """Of one replica.  May be called by any thread."""

    def __init__(self, database: Database, witnessing: Witnessing) -> None:
        self._database = database
        self._witnessing = witnessing
        self._lock = threading.Lock()
        self._found: dict[Checkpoint, Sequence[Cosignature]] = {}

    def add(
        self, checkpoint: Checkpoint, note: str, keys: Sequence[VerifierKey], cosigned: Sequence[Cosignature]
    ) -> bool:
        """More cosignatures on a checkpoint that the log, with these keys, has signed; kept once they are enough.

        Whether they were kept.  Raises StoreUnavailable.
        """
        if not cosigned:
            return False
        with self._lock:
            together = merged(self._found.pop(checkpoint, ()), cosigned)
            self._found[checkpoint] = together
            while len(self._found) > _MOST:
                del self._found[next(iter(self._found))]
        return keep_witnessed(self._database, keys, self._witnessing, note, together)
