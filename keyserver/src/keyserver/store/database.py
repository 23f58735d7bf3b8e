"""Engine and transactions, for SQLite and PostgreSQL alike.

A writing transaction sees what it has locked unchanged until it commits, and is on disk
when it has: on SQLite it takes the write lock at its beginning (BEGIN IMMEDIATE) and
``synchronous`` is FULL; on PostgreSQL queries lock rows (SELECT ... FOR UPDATE).  A reading
transaction sees one moment of the database.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, SQLAlchemyError
from sqlalchemy.orm import Session, sessionmaker
from sqlalchemy.pool import QueuePool

from keyserver.errors import SetupError, StoreUnavailable
from keyserver.store import memory
from keyserver.tracing import span


@dataclass(frozen=True)
class Pool:
    """How many connections there are, and how long anything waits: for one of them, for a lock, for the server."""

    connections: int = 20
    seconds: int = 10


class Database:
    """One database with its connection pool."""

    def __init__(self, url: str, pool: Pool | None = None) -> None:
        """Opens no connection yet.  Raises SetupError if the URL is not one that is supported."""
        self.engine = _engine(url, pool or Pool())
        self.memory: memory.LogMemory | None = None
        """Of the log, for whoever goes on for longer than one transaction."""
        writing, reading = self.engine, self.engine
        if self.engine.dialect.name == "sqlite":
            writing = self.engine.execution_options(begin="BEGIN IMMEDIATE")
        else:
            writing = self.engine.execution_options(isolation_level="READ COMMITTED")
            reading = self.engine.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
        self._writing_engine = writing
        self._writing = sessionmaker(writing, expire_on_commit=False)
        self._reading = sessionmaker(reading, expire_on_commit=False)

    @contextmanager
    def writing(self) -> Iterator[Session]:
        """A transaction that is durably committed when the block ends, and undone if it raises.

        Raises StoreUnavailable if the database fails in the block or at the commit.
        """
        with span("database", transaction="writing"), wrapped_errors(), self._writing.begin() as session:
            memory.begin(session, self.memory)
            yield session
        appended = memory.appended(session)
        if self.memory is not None and appended is not None:
            self.memory.remember(appended)

    @contextmanager
    def reading(self) -> Iterator[Session]:
        """A transaction that only reads.  Raises StoreUnavailable if the database fails."""
        with span("database", transaction="reading"), wrapped_errors(), self._reading() as session:
            yield session

    @contextmanager
    def writing_connection(self) -> Iterator[Connection]:
        """Like `writing`, below the level of tables: for migrations."""
        with self._writing_engine.begin() as connection:
            yield connection

    @contextmanager
    def probing(self) -> Iterator[Session]:
        """A transaction that could write, and is undone at its end.  Raises StoreUnavailable."""
        with wrapped_errors(), self._writing() as session:
            yield session
            session.rollback()

    def connections_in_use(self) -> int:
        """How many of the pool's connections are taken at this moment."""
        pool = self.engine.pool
        return pool.checkedout() if isinstance(pool, QueuePool) else 0

    def close(self) -> None:
        """Close all pooled connections."""
        self.engine.dispose()


@contextmanager
def wrapped_errors() -> Iterator[None]:
    """Turns what SQLAlchemy raises into StoreUnavailable."""
    try:
        yield
    except SQLAlchemyError as cause:
        # The cause stays out of the message: it may quote a statement or a URL.
        raise StoreUnavailable(f"the database failed ({type(cause).__name__})") from cause


def _engine(url: str, pool: Pool) -> Engine:
    try:
        parsed = make_url(url)
        if parsed.drivername in ("sqlite", "sqlite+pysqlite"):
            in_memory = parsed.database in (None, "", ":memory:")
            sizes = {} if in_memory else _sizes(pool)
            engine = create_engine(parsed, hide_parameters=True, connect_args={"timeout": pool.seconds}, **sizes)
            event.listen(engine, "connect", _prepare_sqlite)
            event.listen(engine, "begin", _begin_sqlite)
            return engine
        if parsed.drivername == "postgresql+psycopg":
            options = f"-c lock_timeout={pool.seconds}s -c idle_in_transaction_session_timeout=60s"
            return create_engine(
                parsed,
                hide_parameters=True,
                pool_pre_ping=True,
                connect_args={
                    # libpq takes no less than two seconds.
                    "connect_timeout": max(2, pool.seconds),
                    # A server that vanished without a word is noticed, whether something is sent to it or awaited.
                    "tcp_user_timeout": 1000 * pool.seconds,
                    "keepalives_idle": pool.seconds,
                    "keepalives_interval": max(1, pool.seconds // 3),
                    "keepalives_count": 3,
                    "options": options,
                },
                **_sizes(pool),
            )
    except (ArgumentError, NoSuchModuleError, ModuleNotFoundError) as cause:
        raise SetupError(f"the database URL cannot be used ({type(cause).__name__})") from None
    raise SetupError("the database URL must begin with sqlite:/// or postgresql+psycopg://")


def _sizes(pool: Pool) -> dict[str, int]:
    return {"pool_size": pool.connections, "max_overflow": 0, "pool_timeout": pool.seconds}


def _prepare_sqlite(connection: Any, _record: object) -> None:
    # The driver must not begin transactions by itself: `_begin_sqlite` does.
    connection.isolation_level = None
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {pragma}")


def _begin_sqlite(connection: Connection) -> None:
    connection.exec_driver_sql(connection.get_execution_options().get("begin", "BEGIN"))
