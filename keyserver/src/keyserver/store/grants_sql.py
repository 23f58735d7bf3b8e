"""What the role of a running server may do on PostgreSQL, as SQL for the tables' owner to run.

The role reads and appends the audit log, and cannot change what is in it: it may neither
update, delete nor truncate entries and nodes, and of the log's row it may change the size
alone.  Owning nothing, it cannot take the triggers away either.  What changes the log's keys,
tenants or the schema is the owner's.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from keyserver.store.tables import Base, EntryRow, LogRow, NodeRow

APPENDED = frozenset({EntryRow.__tablename__, NodeRow.__tablename__})
HEAD = LogRow.__tablename__
_ROLE = re.compile(r"[A-Za-z_][A-Za-z0-9_$-]{0,62}")


def grants_sql(role: str) -> Iterator[str]:
    """Statements, in their order and in one transaction; running them again, or after an upgrade, does no harm.

    Raises ValueError unless `role` is a name of letters, digits, ``_``, ``-`` and ``$``, 63 at most.
    """
    if not _ROLE.fullmatch(role):
        raise ValueError(role)
    to = f'"{role}"'
    free = sorted(name for name in Base.metadata.tables if name not in APPENDED and name != HEAD)
    every = ", ".join([*free, *sorted(APPENDED), HEAD, "alembic_version"])
    yield "BEGIN;"
    yield f"REVOKE ALL ON {every} FROM {to};"
    yield f"GRANT SELECT ON alembic_version TO {to};"
    yield f"GRANT SELECT, INSERT, UPDATE, DELETE ON {', '.join(free)} TO {to};"
    yield f"GRANT SELECT, INSERT ON {', '.join(sorted(APPENDED))} TO {to};"
    # Whoever appends locks the row, which takes the right to update a column of it.
    yield f"GRANT SELECT, UPDATE (size, indexed) ON {HEAD} TO {to};"
    yield "COMMIT;"
