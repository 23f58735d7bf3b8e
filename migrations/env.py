"""Alembic's entry: runs on the connection that the key server passes, or on one of its own."""

from __future__ import annotations

from alembic import context
from sqlalchemy import Connection, Engine

from keyserver.settings import Settings
from keyserver.store.database import Database
from keyserver.store.tables import Base


def run(connection: Connection) -> None:
    context.configure(
        connection=connection,
        target_metadata=Base.metadata,
        # SQLite alters a table by copying it.
        render_as_batch=connection.dialect.name == "sqlite",
    )
    with context.begin_transaction():
        context.run_migrations()


given = context.config.attributes.get("connection")
if isinstance(given, Engine):
    with given.begin() as begun:
        run(begun)
elif given is not None:
    run(given)
else:
    with Database(Settings().url).writing_connection() as own:
        run(own)
