"""keyserver database: what its administrator needs."""

from __future__ import annotations

from typing import Annotated

import typer

from keyserver.errors import SetupError
from keyserver.store.grants_sql import grants_sql

database_app = typer.Typer(help="The database, for its administrator.")


@database_app.callback()
def _database() -> None:
    """Keeps `grants` a command of a group, though it is the only one."""


@database_app.command("grants")
def database_grants(
    role: Annotated[str, typer.Option(metavar="NAME", help="The role that servers connect as; not the tables' owner.")],
) -> None:
    """Print the SQL that lets a role of PostgreSQL serve and append to the audit log, but not change what is in it.

    For the tables' owner: `keyserver database grants --role NAME | psql DATABASE`; again after each upgrade.
    """
    try:
        statements = list(grants_sql(role))
    except ValueError:
        raise SetupError(
            "a role's name has 1 to 63 of A-Z, a-z, 0-9, '_', '-', '$', and begins with a letter"
        ) from None
    for statement in statements:
        typer.echo(statement)
