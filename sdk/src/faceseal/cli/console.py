"""What all commands share: one-line errors, key sources from options, plain aligned output.

Exit codes: 0 done; 1 the reader of our output went away, or a log or receipt that was to be
verified does not prove what it claims; 2 an error; 130 interrupted.  Errors, and what a log does
not prove, are one line on standard error.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from faceseal.client import KeyServer, LocalKeyring
from faceseal.errors import FacesealError, KeySourceError

MAX_TOKEN_FILE_BYTES = 16 * 1024
TOKEN_VARIABLE = "FACESEAL_TOKEN"
PASSPHRASE_VARIABLE = "FACESEAL_PASSPHRASE"

ServerUrl = Annotated[
    str | None, typer.Option("--server", metavar="URL", help="Key server, such as https://keys.example.")
]
TokenFile = Annotated[
    Path | None,
    typer.Option("--token-file", metavar="PATH", help=f"File with the access token; or set {TOKEN_VARIABLE}."),
]
LogKey = Annotated[
    str | None,
    typer.Option(
        "--log-key",
        metavar="KEY",
        help="Verifier key of the server's audit log: releases must prove that they are in it.",
    ),
]
KeyringPath = Annotated[
    Path | None,
    typer.Option(
        "--keyring",
        metavar="PATH",
        help=f"Local keyring instead of a server; asks for its passphrase, or set {PASSPHRASE_VARIABLE}.",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of lines.")]


def run(app: typer.Typer, arguments: Sequence[str] | None = None, name: str = "faceseal") -> int:
    """Run the command line (by default: this process's arguments) and return the exit code."""
    try:
        code = typer.main.get_command(app).main(arguments, prog_name=name, standalone_mode=False)
        sys.stdout.flush()
    except FacesealError as error:
        return _fail(str(error))
    except typer.TyperException as error:
        message = error.format_message()
        return _fail(message[:1].lower() + message[1:])
    except typer.Abort:
        return _fail("stopped; nothing was done")
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # Python flushes once more at exit, and would complain there.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return code if isinstance(code, int) else 0


def _fail(message: str) -> int:
    # A group without a command has printed its help, and has nothing to add.
    if message.strip():
        typer.echo(f"faceseal: {message}", err=True)
    return 2


def open_server(server: str | None, token_file: Path | None, log_key: str | None) -> KeyServer:
    """The key server that the options name.  Raises KeySourceError if they do not name one."""
    if server is None:
        raise KeySourceError("name the key server: --server URL")
    return KeyServer(server, token=_token(token_file), log_key=log_key)


@contextmanager
def key_source(
    server: str | None, token_file: Path | None, log_key: str | None, keyring: Path | None
) -> Iterator[KeyServer | LocalKeyring]:
    """The key server or the local keyring that the options name, closed afterwards.

    Raises KeySourceError unless they name exactly one.
    """
    if (server is None) == (keyring is None):
        raise KeySourceError("name one source of keys: --server URL or --keyring PATH")
    if keyring is not None:
        yield LocalKeyring(keyring, _passphrase(keyring))
    else:
        with open_server(server, token_file, log_key) as opened:
            yield opened


def _token(path: Path | None) -> str:
    if path is None:
        token = os.environ.get(TOKEN_VARIABLE, "")
        if not token:
            raise KeySourceError(f"the key server needs an access token: --token-file PATH, or set {TOKEN_VARIABLE}")
        return token
    try:
        with path.open("rb") as file:
            data = file.read(MAX_TOKEN_FILE_BYTES + 1)
    except OSError as cause:
        raise KeySourceError(f"cannot read the token file {path}: {cause.strerror}") from cause
    if len(data) > MAX_TOKEN_FILE_BYTES or not data.isascii():
        raise KeySourceError(f"{path} holds no access token")
    return data.decode().strip()


def _passphrase(keyring: Path) -> str:
    """Never an argument: those show in the process list and in the shell's history."""
    passphrase = os.environ.get(PASSPHRASE_VARIABLE)
    if passphrase is not None:
        return passphrase
    if not sys.stdin.isatty():
        raise KeySourceError(f"the keyring needs its passphrase: set {PASSPHRASE_VARIABLE}, or run in a terminal")
    prompted: str = typer.prompt(
        f"Passphrase of {keyring}", hide_input=True, err=True, confirmation_prompt=not keyring.exists()
    )
    return prompted


def print_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Columns aligned by spaces; the last one is not padded."""
    table = [list(header), *(list(row) for row in rows)]
    widths = [max(len(row[column]) for row in table) for column in range(len(header) - 1)]
    for row in table:
        cells = [cell.ljust(width) for cell, width in zip(row[:-1], widths, strict=True)]
        typer.echo("  ".join([*cells, row[-1]]))


def print_fields(fields: Iterable[tuple[str, str]]) -> None:
    """One "name  value" a line, aligned."""
    pairs = list(fields)
    width = max(len(name) for name, _ in pairs)
    for name, value in pairs:
        typer.echo(f"{name.ljust(width)}  {value}")


def utc(seconds: int | None) -> str:
    """A time for people: 2026-01-31 12:00:00Z, or a dash."""
    return "-" if seconds is None else datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%SZ")
