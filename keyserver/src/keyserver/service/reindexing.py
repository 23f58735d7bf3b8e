"""Making the index of the audit log again, or what is missing of it, while the server serves."""

from __future__ import annotations

from collections.abc import Iterator

from keyserver.audit import indexing
from keyserver.service.ports import Ports


def reindex(ports: Ports, *, again: bool, batch: int = indexing.BATCH) -> Iterator[tuple[int, int]]:
    """Index what is missing, or with `again` everything; yields how many entries are indexed, and how many there are.

    What is yielded is done: stopped anywhere, it goes on when it is called without `again`.
    Until it is complete, searches are answered with 503.  Raises StoreUnavailable.
    """
    if again:
        with ports.database.writing() as session:
            indexing.forget(session)
    while True:
        with ports.database.writing() as session:
            indexed, size = indexing.extend(session, batch)
        yield indexed, size
        if indexed == size:
            return
