"""What somebody who owns the tables can do: take the guard of the audit log away, and alter it."""

from __future__ import annotations

from sqlalchemy import text
from sqlalchemy.orm import Session


def take_guard_away(session: Session) -> None:
    """On PostgreSQL until the session's transaction ends, on SQLite for good."""
    if session.get_bind().dialect.name == "postgresql":
        session.execute(text("SET LOCAL session_replication_role = replica"))
        return
    for name in session.scalars(text("SELECT name FROM sqlite_master WHERE type = 'trigger'")).all():
        session.execute(text(f"DROP TRIGGER {name}"))
