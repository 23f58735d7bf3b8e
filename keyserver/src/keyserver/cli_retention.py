"""keyserver audit put-away: old entries of the log, out of the database and into a file that proves itself."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from keyserver import installation
from keyserver.cli_options import Data, read_settings
from keyserver.errors import SetupError
from keyserver.putting_away import Wanted, put_away


def add_commands(audit_app: typer.Typer) -> None:
    """Register this file's commands."""
    audit_app.command("put-away")(audit_put_away)


def audit_put_away(
    output: Annotated[
        Path, typer.Option(help="A new file; or the one that this command has left when it was stopped.")
    ],
    data: Data = None,
    before: Annotated[datetime | None, typer.Option(help="Only what is older than this time (UTC).")] = None,
    until: Annotated[int | None, typer.Option(min=1, metavar="N", help="Only the entries before this one.")] = None,
) -> None:
    """Move the entries that are older than KEYSERVER_AUDIT_KEEP_DAYS into a file; goes on where it was stopped."""
    if before is not None and until is not None:
        raise SetupError("--before and --until do not go together")
    settings = read_settings(data)
    seconds = None if before is None else int(before.replace(tzinfo=UTC).timestamp())
    ports = installation.open_ports(settings)
    found = put_away(ports, output, Wanted(settings.audit_keep_days, seconds, until), _progress)
    ports.database.close()
    if found is None:
        typer.echo("no entry is old enough; nothing is put away, and no file is written")
        return
    typer.echo(f"{output}: entries {found.first:,} to {found.end - 1:,} are put away; SHA-256 {found.sha256.hex()}")


def _progress(done: int) -> None:
    print(f"{done:,} entries are deleted from the database", file=sys.stderr, flush=True)
