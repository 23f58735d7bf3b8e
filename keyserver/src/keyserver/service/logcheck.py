"""Whether the audit log may be gone on with: at every start, before anything is answered."""

from __future__ import annotations

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from faceseal.errors import TransparencyError
from faceseal.translog import VerifierKey, leaf_hash, node_hash, open_checkpoint
from keyserver import audit
from keyserver.audit import tree
from keyserver.errors import SetupError
from keyserver.store import log
from keyserver.store.tables import EntryRow

_RESTORE = "restore the database from a backup that is newer"


def require_whole(session: Session) -> None:
    """The log's size, its newest entry and the stored tree above it belong together.

    Looks at the tree's right edge alone, O(log n); the whole tree is checked by an export or
    a backup.  Raises SetupError.
    """
    size = audit.current_checkpoint(session).size if _known(session) else 0
    newest = session.scalar(select(func.max(EntryRow.entry_index)))
    if newest is None or newest + 1 != size:
        raise SetupError(f"the audit log says that it has {size} entries, and its newest is another one; {_RESTORE}")
    if session.get(EntryRow, log.first_kept(session)) is None:
        raise SetupError(f"the audit log lacks the oldest entry that was not put away; {_RESTORE}")
    path = tree.new_nodes(newest)
    children = [(level - 1, 2 * position) for level, position in path if level]
    stored = log.nodes(session, {*path, *children})
    node = leaf_hash(log.leaf(session, newest).encode())
    for level, position in path:
        if level:
            node = node_hash(stored.get((level - 1, 2 * position), b""), node)
        if stored.get((level, position)) != node:
            raise SetupError(f"the audit log's tree does not fit its newest entry; {_RESTORE}")


def require_continues(session: Session, note: str, key: VerifierKey) -> None:
    """The log holds everything that a checkpoint which was kept elsewhere has signed.

    Raises SetupError if it is behind it, is another log, or was rewritten.
    """
    try:
        kept = open_checkpoint(note, key)
    except TransparencyError:
        raise SetupError("the checkpoint that was kept is not signed by this log's key") from None
    now = audit.current_checkpoint(session)
    if now.size < kept.size:
        raise SetupError(behind(kept.size, now.size))
    if audit.root_of(session, kept.size) != kept.root:
        raise SetupError(rewritten(kept.size))


def behind(kept: int, size: int) -> str:
    """What is said of a log of `size` entries when a checkpoint of more was kept."""
    return f"the audit log has {size} entries, and the checkpoint that was kept {kept}: it is behind; {_RESTORE}"


def rewritten(kept: int) -> str:
    """What is said of a log that does not continue a checkpoint that was kept."""
    return f"the audit log was rewritten since the checkpoint that was kept, of {kept} entries, was signed"


def _known(session: Session) -> bool:
    head = log.head(session)
    if head is None:
        raise SetupError("the database holds no audit log; run: keyserver init")
    wanted = tree.perfect_subtrees((0, head.size))
    if len(log.nodes(session, wanted)) != len(wanted):
        raise SetupError(f"nodes of the audit log's tree are missing; {_RESTORE}")
    return True
