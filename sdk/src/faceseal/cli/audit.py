"""faceseal audit: verify what key servers say of themselves, without asking them."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from faceseal import translog
from faceseal.cli.console import print_fields, utc
from faceseal.client.receipt import MAX_RECEIPT_BYTES, prove_entry, read_receipt
from faceseal.errors import AuditFileError, TransparencyError
from faceseal.translog.exportformat import Header

audit_app = typer.Typer(no_args_is_help=True, help="The key server's audit log.")

MAX_NOTE_BYTES = 16 * 1024
_LONGEST_PROGRESS = 40
REFUTED = 1
"""Exit code for what was read and does not prove what it claims."""

LogKeyOption = Annotated[
    str, typer.Option("--key", metavar="KEY", help="The log's verifier key, from a source that you trust.")
]


@audit_app.command()
def verify(
    export: Annotated[Path, typer.Argument(metavar="EXPORT", help="A log that was exported: keyserver audit export.")],
    key: LogKeyOption,
    since: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="An older checkpoint or export of the log, which this one must continue."),
    ] = None,
) -> None:
    """Check an exported log; needs neither server nor database.  Exit code 1 if it is not what its key has signed."""
    log_key = _parsed(key)
    older = None if since is None else _older(since, log_key)
    with _refuted(), _readable(export):
        print_verified(translog.verify_export(export, log_key, older, progress_bar()))


@audit_app.command()
def verify_receipt(
    receipt: Annotated[
        Path, typer.Argument(metavar="RECEIPT", help="Kept beside a restored photo: PHOTO.png.receipt.json.")
    ],
    key: LogKeyOption,
) -> None:
    """Check that a release is in the key server's log; needs no server.  Exit code 1 if that is not proved."""
    log_key = _parsed(key)
    data = _read(receipt, MAX_RECEIPT_BYTES)
    with _refuted():
        proved = prove_entry(read_receipt(data), log_key)
    shown = [(name, value) for name, value in proved.entry.items() if name not in ("at", "index", "version")]
    at = proved.entry.get("at")
    print_fields(
        [
            ("log", proved.checkpoint.origin),
            ("proved", f"entry {proved.index:,} of {proved.checkpoint.size:,}"),
            ("at", utc(at if isinstance(at, int) else None)),
            *((name, value if isinstance(value, str) else json.dumps(value)) for name, value in shown),
        ]
    )


def print_verified(verified: translog.Verified) -> None:
    """What was proved, in lines."""
    size, first = verified.size, verified.first
    which = f"all {size:,} entries" if first == 0 else f"entries {first:,} to {size - 1:,} of {size:,}"
    kinds = sorted(verified.events.items(), key=lambda item: (-item[1], item[0]))
    print_fields(
        [
            ("log", verified.origin),
            ("proved", which if first < max(size, 1) else f"the signature alone: none of the {size:,} entries is here"),
            *([] if verified.since is None else [("continues", f"the checkpoint of {verified.since.size:,} entries")]),
            ("from", utc(verified.earliest)),
            ("to", utc(verified.latest)),
            *((event, f"{count:,}") for event, count in kinds),
        ]
    )


def progress_bar() -> translog.Progress:
    """Shows on standard error how far it is, if somebody looks."""

    def silent(_done: int, _of: int) -> None:
        """Nobody looks."""

    def show(done: int, of: int) -> None:
        line = f"{done:,} of {of:,} entries" if done < of else ""
        # What comes next, an error perhaps, is written over it.
        print(line.ljust(_LONGEST_PROGRESS), end="\r", file=sys.stderr, flush=True)

    return show if sys.stderr.isatty() else silent


def _parsed(key: str) -> translog.VerifierKey:
    try:
        return translog.VerifierKey.parse(key)
    except TransparencyError as mistake:
        raise AuditFileError(str(mistake)) from None


def _older(path: Path, key: translog.VerifierKey) -> translog.Checkpoint:
    try:
        data = _read(path, MAX_NOTE_BYTES)
        # Of an export, such as one of entries that were put away, the first line has it; the rest is not looked at.
        note = Header.parse(data.partition(b"\n")[0]).checkpoint if data.startswith(b"{") else data.decode()
        return translog.open_checkpoint(note, key)
    except (UnicodeDecodeError, TransparencyError) as mistake:
        reason = str(mistake) if isinstance(mistake, TransparencyError) else "it is not text"
        raise AuditFileError(f"{path} does not hold a checkpoint of this log: {reason}") from None


def _read(path: Path, most: int) -> bytes:
    """One byte more than `most`, if there are so many."""
    with _readable(path), path.open("rb") as file:
        return file.read(most + 1)


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as cause:
        raise AuditFileError(f"cannot read {path}: {cause.strerror}") from None


@contextmanager
def _refuted() -> Iterator[None]:
    """What proves wrong is one line on standard error as well, but with an exit code of its own."""
    try:
        yield
    except TransparencyError as wrong:
        typer.echo(f"faceseal: {wrong}", err=True)
        raise typer.Exit(REFUTED) from None
