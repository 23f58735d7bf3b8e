"""The schema's version: finding the migrations, running them, refusing to work without them."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy.orm import Session

from keyserver.errors import SetupError
from keyserver.store.database import Database, wrapped_errors


def migrations_folder() -> Path:
    """In an installed package the folder is inside it; in a checkout it is at the top.

    Raises SetupError if it is in neither place.
    """
    package = Path(__file__).resolve().parent.parent
    for folder in (package / "migrations", package.parents[2] / "migrations"):
        if (folder / "env.py").is_file():
            return folder
    raise SetupError("this installation of the key server lacks its migrations; install it again")


def upgrade(database: Database, revision: str = "head") -> None:
    """Bring the schema up to a revision, in one transaction.  Raises StoreUnavailable."""
    with wrapped_errors(), database.writing_connection() as connection:
        command.upgrade(_config(connection=connection), revision)


def downgrade(database: Database, revision: str) -> None:
    """Bring the schema back to a revision, in one transaction.  Raises StoreUnavailable."""
    with wrapped_errors(), database.writing_connection() as connection:
        command.downgrade(_config(connection=connection), revision)


def is_current(database: Database) -> bool:
    """Whether the database has the schema that this program needs.  Raises StoreUnavailable."""
    with wrapped_errors(), database.engine.connect() as connection:
        heads = MigrationContext.configure(connection).get_current_heads()
    return set(heads) == set(ScriptDirectory.from_config(_config()).get_heads())


def head() -> str:
    """The revision that this program needs."""
    (revision,) = ScriptDirectory.from_config(_config()).get_heads()
    return revision


def revision_of(session: Session) -> str:
    """The revision that the database has; empty if it has none."""
    return MigrationContext.configure(session.connection()).get_current_revision() or ""


def _config(**attributes: object) -> Config:
    config = Config(attributes=attributes)
    config.set_main_option("script_location", str(migrations_folder()).replace("%", "%%"))
    return config
