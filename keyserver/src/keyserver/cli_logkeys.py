"""keyserver audit key, rotate-key, retire-key: the keys that sign the log's checkpoints."""

from __future__ import annotations

import time
from typing import Annotated

import typer

from keyserver import installation
from keyserver.cli_options import Data, read_settings
from keyserver.logkey_rotation import retire_log_key, rotate_log_key


def audit_key(
    data: Data = None,
    every: Annotated[bool, typer.Option("--all", help="All that sign, newest first, a line each.")] = False,
) -> None:
    """Print the log's verifier key; the newest, if several sign."""
    ports = installation.open_ports(read_settings(data))
    for key in ports.signer.verifier_keys if every else [ports.signer.verifier_key]:
        typer.echo(key)


def audit_rotate_key(data: Data = None) -> None:
    """Sign checkpoints with a new key as well, also in a server that runs; print its verifier key."""
    typer.echo(rotate_log_key(read_settings(data), int(time.time())))


def audit_retire_key(
    key_hash: Annotated[str, typer.Argument(metavar="HASH", help="The middle part of its verifier key.")],
    data: Data = None,
    force: Annotated[
        bool, typer.Option("--force", help="Also if a sink is away, or holds what no other key opens.")
    ] = False,
) -> None:
    """Sign no checkpoint with this key any more, and delete its file; clients that know no other key stop."""
    retired = retire_log_key(read_settings(data), key_hash, int(time.time()), force)
    typer.echo(f"{retired} signs no more; delete its file in the other replicas' folders, if they have their own")
