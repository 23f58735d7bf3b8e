"""keyserver audit reindex and erase: what the log is searched by, and forgetting somebody whom it names."""

from __future__ import annotations

from typing import Annotated

import typer

from keyserver import installation
from keyserver.cli_options import Data, Tenant, read_settings
from keyserver.service import people, reindexing


def add_commands(audit_app: typer.Typer) -> None:
    """Register this file's commands."""
    audit_app.command("reindex")(reindex)
    audit_app.command("erase")(erase)


def reindex(
    data: Data = None,
    again: Annotated[bool, typer.Option("--again", help="Everything, and not only what is missing.")] = False,
) -> None:
    """Let the log be searched for entries that the index lacks; goes on where it was stopped."""
    for done, total in reindexing.reindex(installation.open_ports(read_settings(data)), again=again):
        print(f"{done:,} of {total:,} entries are indexed", flush=True)


def erase(
    subject: Annotated[str, typer.Argument(help="The name, as tokens have it.")],
    tenant: Tenant,
    data: Data = None,
) -> None:
    """Forget somebody, which cannot be undone: what the log says of them opens to nobody, and their grants end."""
    grants = keys = 0
    for done in people.erase(installation.open_ports(read_settings(data)), tenant, subject):
        grants, keys = done.grants, done.keys
        print(f"{tenant}: {grants:,} grants and {keys:,} keys name a pseudonym", flush=True)
    typer.echo(
        f"{tenant}: erased; on PostgreSQL run VACUUM FULL on audit_subjects, grants, grant_approvals and image_keys"
    )
