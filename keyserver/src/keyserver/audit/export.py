"""The log as a file.  What the file looks like, and checking it, is `faceseal.translog`'s."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from sqlalchemy.orm import Session

from faceseal import translog
from faceseal.translog import MAX_LINE_BYTES, verify_export
from keyserver.audit import tree
from keyserver.audit.log import Signer, checkpoint_of, current_checkpoint
from keyserver.errors import SetupError
from keyserver.store import log as rows

__all__ = ["MAX_LINE_BYTES", "export_lines", "verify_export"]


def export_lines(session: Session, signer: Signer, first: int = 0, end: int | None = None) -> Iterator[bytes]:
    """The file's lines, from entry `first` on, for a session whose transaction sees one moment.

    end: as if the log ended before this entry, which there is; its checkpoint is one that the log had then.

    Leaves and hashes are read in batches.  The hashes are the stored ones, so that a leaf that was altered in the
    database is named by whoever verifies the file.  Entries that were put away are left out.  Raises SetupError if
    there are fewer entries, and KeyError if a hash is not there.
    """
    checkpoint = current_checkpoint(session) if end is None else checkpoint_of(session, end)
    size = checkpoint.size
    if first > size:
        raise SetupError(f"the audit log has {size} entries and cannot be exported from entry {first} on")
    first = max(first, rows.first_kept(session))

    def stored(level: int, position: int, count: int) -> Sequence[bytes]:
        wanted = [(level, position + offset) for offset in range(count)]
        found = rows.nodes(session, wanted)
        return [found[node] for node in wanted]

    wanted = tree.perfect_subtrees((0, size))
    nodes = rows.nodes(session, wanted)
    kept = (leaf.encode() for leaf in rows.leaves(session, size, first))
    yield from translog.export_lines(
        signer.sign(checkpoint), size, [nodes[node] for node in wanted], kept, stored, first
    )
