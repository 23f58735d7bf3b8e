"""The commands `keyserver backup` and `keyserver restore`."""

from __future__ import annotations

import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from pydantic import ValidationError

from faceseal.translog import VerifierKey
from keyserver import installation, recovery
from keyserver.errors import SetupError
from keyserver.secretfile import read_password
from keyserver.settings import Settings

Data = Annotated[Path | None, typer.Option("--data", metavar="DIR", help="Data folder, as for the other commands.")]
Passphrase = Annotated[
    Path,
    typer.Option("--passphrase-file", metavar="FILE", help="One line; whoever has it reads the backup."),
]
_EVERY = 100_000


def backup(
    file: Annotated[Path, typer.Argument(help="A new file.")], passphrase_file: Passphrase, data: Data = None
) -> None:
    """Write the whole database, as of one moment, to an encrypted file; the server may serve meanwhile."""
    settings = _settings(data)
    passphrase = read_password(passphrase_file)
    ports = installation.open_ports(settings)
    manifest = recovery.back_up(ports, settings, file, passphrase, _progress)
    ports.database.close()
    typer.echo(
        f"{file}: backup of {_time(manifest.made_at)}; not in it: the root ({manifest.root}), issuer.key, log.key"
    )


def restore(
    file: Annotated[Path, typer.Argument(help="What `keyserver backup` wrote.")],
    passphrase_file: Passphrase,
    data: Data = None,
    check: Annotated[bool, typer.Option("--check", help="Only verify the file; needs no installation.")] = False,
    key: Annotated[str | None, typer.Option(metavar="KEY", help="With --check: the log's verifier key.")] = None,
) -> None:
    """Fill an empty database from a backup; the key files must be in the data folder already."""
    passphrase = read_password(passphrase_file)
    if check:
        trusted = None if key is None else VerifierKey.parse(key).public
        found = recovery.verify(file, passphrase, _progress, trusted)
        done = "whole"
    elif key is not None:
        raise SetupError("--key is for --check; the log's key is in the data folder")
    else:
        found = recovery.restore(_settings(data), file, passphrase, _progress, int(time.time()))
        done = "restored"
    rows = sum(found.rows.values())
    typer.echo(
        f"{file}: {done}; of {_time(found.manifest.made_at)}, schema {found.manifest.schema}, {rows:,} rows, "
        f"{found.rows['audit_entries']:,} proved log entries; its keys need the root ({found.manifest.root}) of then"
    )


def _progress(table: str, done: int, total: int) -> None:
    if done % _EVERY == 0 or done == total:
        of = f" of {total:,}" if total else ""
        print(f"{table}: {done:,}{of} rows", file=sys.stderr, flush=True)


def _time(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat()


def _settings(data: Path | None) -> Settings:
    try:
        return Settings() if data is None else Settings(data=data)
    except ValidationError as cause:
        wrong = ", ".join(f"KEYSERVER_{each['loc'][0]}".upper() for each in cause.errors() if each["loc"])
        raise SetupError(f"not usable: {wrong}") from None
