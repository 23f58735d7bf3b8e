"""Making sure that what was deleted is not left in SQLite's files.

On PostgreSQL there is nothing to do from here: old row versions go with VACUUM FULL, and
write-ahead logs and their archives with their retention (see docs/operating/roots.md).
"""

from __future__ import annotations

from sqlalchemy import text
from sqlalchemy.orm import Session

from keyserver.store.database import Database, wrapped_errors


def overwrite_freed(session: Session) -> None:
    """From now on the session's connection overwrites with zeros what it deletes or replaces."""
    if session.get_bind().dialect.name == "sqlite":
        session.execute(text("PRAGMA secure_delete=ON"))


def drop_journal(database: Database) -> bool:
    """Empty the write-ahead log, which holds pages as they were.

    False if a reader still needs it; it is then emptied when the last connection closes.
    Raises StoreUnavailable.
    """
    if database.engine.dialect.name != "sqlite":
        return True
    with wrapped_errors():
        # Not in a transaction: SQLite does not allow it there.
        connection = database.engine.raw_connection()
        try:
            (busy, _, _) = connection.cursor().execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        finally:
            connection.close()
    return not busy
