"""A database that is put back as it was, while servers work with it: what a restored backup looks like."""

from __future__ import annotations

import sqlite3
from contextlib import closing

from sqlalchemy import RowMapping, Table, text

from keyserver.store.database import Database
from keyserver.store.tables import Base


class OlderCopy:
    """Of all tables, as they are when it is made."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._sqlite = sqlite3.connect(":memory:", check_same_thread=False)
        self._rows: dict[Table, list[RowMapping]] = {}
        if database.engine.dialect.name == "sqlite":
            with closing(sqlite3.connect(str(database.engine.url.database))) as live:
                live.backup(self._sqlite)
            return
        with database.reading() as session:
            for table in Base.metadata.sorted_tables:
                self._rows[table] = [*session.execute(table.select()).mappings()]

    def put_back(self) -> None:
        """With the rights of whoever runs the database: no trigger of it is asked."""
        if not self._rows:
            with closing(sqlite3.connect(str(self._database.engine.url.database), timeout=20)) as live:
                self._sqlite.backup(live)
            return
        with self._database.writing() as session:
            session.execute(text("SET LOCAL session_replication_role = replica"))
            session.execute(text(f"TRUNCATE {', '.join(table.name for table in self._rows)}"))
            for table, rows in self._rows.items():
                if rows:
                    session.execute(table.insert(), [dict(row) for row in rows])
