"""Putting old entries of the log away: how far that may go, and deleting what was put away.

Hashes are never deleted: the tree stays whole, and proves entries that are no longer here.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from uuid import UUID

from sqlalchemy.orm import Session

from keyserver.audit.indexing import BATCH, of_leaf
from keyserver.store import retention


def end_of_older(session: Session, end: int, cutoff: int) -> int:
    """Up to which number, at most `end`, all entries that are here are from before `cutoff` (seconds since 1970).

    Goes by what the leaves say, not by the index.  One entry from a clock that was ahead keeps itself and all that
    follow it here, until its time has come; so does one that says no time.
    """
    for number, leaf in retention.kept_leaves(session, end):
        if not _at(leaf) < cutoff:
            return number
    return end


def delete_put_away(session: Session, batch: int = BATCH) -> int:
    """Delete the oldest of the entries that were put away and are still here, with what they are found by.

    Returns how many; 0: none is left.
    """
    leaves = retention.put_away_leaves(session, batch)
    if leaves:
        named = [(key, number) for number, leaf in leaves for key in _keys(leaf)]
        retention.delete(session, leaves[-1][0] + 1, named)
    return len(leaves)


def _at(leaf: str) -> float:
    try:
        at = json.loads(leaf).get("at")
    except (ValueError, AttributeError):
        at = None
    return at if type(at) is int else float("inf")


def _keys(leaf: str) -> Sequence[UUID]:
    try:
        return of_leaf(leaf).keys
    except (ValueError, KeyError, TypeError, AttributeError):
        # Altered since its file was verified.  What the index then still says of it leads nowhere.
        return []
