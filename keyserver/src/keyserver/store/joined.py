"""A database whose transactions are parts of one that is open already: they end with it, together."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from sqlalchemy.orm import Session

from keyserver.store import memory
from keyserver.store.database import Database, wrapped_errors


class JoinedDatabase(Database):
    """Passed on in place of a database, it makes whoever writes to it part of the caller's own transaction.

    A part that raises is undone alone (a savepoint); nothing is on disk before the whole is.
    """

    def __init__(self, database: Database, session: Session) -> None:
        self.engine = database.engine
        self.whole = database
        """For what is not to be part of it."""
        self.afterwards: list[Callable[[], None]] = []
        """To be called, in their order, once the transaction has ended."""
        self._session = session
        self.wrote = False
        """Whether anything was to be written."""

    @contextmanager
    def writing(self) -> Iterator[Session]:
        """See `Database`; committed when the whole is."""
        self.wrote = True
        before = memory.appended(self._session)
        try:
            with wrapped_errors(), self._session.begin_nested():
                yield self._session
        except BaseException:
            # What it has appended is undone with it, and must not be taken for committed.
            memory.set_appended(self._session, before)
            raise

    @contextmanager
    def reading(self) -> Iterator[Session]:
        """See `Database`; sees what the parts before have written."""
        with wrapped_errors():
            yield self._session
