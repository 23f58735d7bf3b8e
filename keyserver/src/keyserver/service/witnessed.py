"""The newest checkpoint that enough witnesses have cosigned, shared by all replicas.

What lies in the database is believed only as far as its signatures are verified: the log's
own, and the witnesses'.
"""

from __future__ import annotations

import hmac
import json
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy.orm import Session

from faceseal.cosignature import Cosignature, cosignatures_of, merged, with_cosignatures
from faceseal.errors import TransparencyError
from faceseal.translog import Checkpoint, VerifierKey, open_checkpoint
from keyserver import audit, metrics
from keyserver.service.logtrust import Witnessing
from keyserver.service.ports import Ports
from keyserver.store import witnessed
from keyserver.store.database import Database
from keyserver.store.tables import EntryRow


@dataclass(frozen=True)
class Witnessed:
    """A checkpoint, signed by the log, with cosignatures that were verified."""

    checkpoint: Checkpoint
    note: str
    cosigned: Sequence[Cosignature]


def log_keys(ports: Ports) -> Sequence[VerifierKey]:
    """What the log's own signatures are verified with."""
    return ports.signer.verifier_keys


def newest_witnessed(session: Session, keys: Sequence[VerifierKey], witnessing: Witnessing) -> Witnessed | None:
    """What was kept, if enough of the witnesses that count have cosigned it.

    keys: of the log.
    """
    row = witnessed.newest(session)
    found = None if row is None else _verified(row.note, keys, witnessing)
    return None if found is None or len(found.cosigned) < witnessing.quorum else found


def keep_witnessed(
    database: Database, keys: Sequence[VerifierKey], witnessing: Witnessing, note: str, cosigned: Sequence[Cosignature]
) -> bool:
    """Keep a checkpoint, signed by the log and nobody else, with its cosignatures, unless a newer one is kept.

    To one that is kept already cosignatures are added.  Nothing is kept with too few.
    Whether it was kept.  Raises StoreUnavailable.
    """
    new = _verified(with_cosignatures(note, cosigned), keys, witnessing)
    if new is None or len(new.cosigned) < witnessing.quorum:
        return False
    size = new.checkpoint.size
    with database.writing() as session:
        row = witnessed.newest_for_change(session)
        kept = _verified(row.note, keys, witnessing)
        if kept is not None and len(kept.cosigned) >= witnessing.quorum and kept.checkpoint.size > size:
            return False
        together = new.cosigned
        if kept is not None and kept.checkpoint == new.checkpoint:
            together = merged(kept.cosigned, new.cosigned)
        row.size = size
        row.note = with_cosignatures(note, together)
    metrics.set_witnessed(size)
    return True


class Uncovered:
    """When one replica first saw that the newest entries lack witnesses, whatever time they say.

    Whoever calls must not do so with an older state of the log than before.
    """

    def __init__(self) -> None:
        self._covered = -1
        self._seen: int | None = None

    def since(self, covered: int, size: int, now: int) -> int:
        """The first call's `now` in which a log that is witnessed up to `covered` had more entries; now, if it has not.

        Begins anew only with what is covered further than ever: fewer are covered when a row was altered.
        """
        if covered > self._covered:
            self._covered, self._seen = covered, None
        if size <= covered:
            return now
        self._seen = now if self._seen is None else self._seen
        return self._seen


def unwitnessed_since(session: Session, size: int, found: Witnessed | None, now: int, uncovered: Uncovered) -> int:
    """When the first of the log's `size` entries was written that no witnessed checkpoint covers; now, if none.

    Not later than when it was first seen here: who wrote it may have had a clock that is ahead.
    A witnessed checkpoint of another tree covers nothing; an entry that is gone, or says no time, is of long ago.
    """
    covered = 0
    if found is not None and found.checkpoint.size <= size:
        root = audit.root_of(session, found.checkpoint.size)
        covered = found.checkpoint.size if hmac.compare_digest(root, found.checkpoint.root) else 0
    seen = uncovered.since(covered, size, now)
    if covered >= size:
        return now
    entry = session.get(EntryRow, covered)
    try:
        at = json.loads(entry.leaf).get("at", 0) if entry is not None else 0
    except ValueError:
        at = 0
    return min(seen, at) if isinstance(at, int) else 0


def _verified(note: str, keys: Sequence[VerifierKey], witnessing: Witnessing) -> Witnessed | None:
    for key in keys:
        try:
            checkpoint = open_checkpoint(note, key)
            return Witnessed(checkpoint, note, cosignatures_of(note, witnessing.keys))
        except TransparencyError:
            continue
    return None
