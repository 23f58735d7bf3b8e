"""faceseal audit who and search: who has seen a photo, and what else the log says.  For auditors."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Annotated
from uuid import UUID

import typer

from faceseal import wire
from faceseal.cli.console import AsJson, ServerUrl, TokenFile, open_server, print_table, utc
from faceseal.client import KeyServer
from faceseal.client.auditsearch import SeenBy, WantedEntries
from faceseal.errors import KeySourceError, SealedFileError

PhotoPath = Annotated[Path, typer.Argument(metavar="PHOTO", help="A sealed photo, or a copy that lost its metadata.")]


def add_commands(audit_app: typer.Typer) -> None:
    """Register this file's commands."""
    audit_app.command()(who)
    audit_app.command()(search)


def who(photo: PhotoPath, server: ServerUrl = None, token_file: TokenFile = None, as_json: AsJson = False) -> None:
    """Who asked for this photo, decided on it, was given it, and who was refused; newest first."""
    from faceseal.photo import read_file

    content = read_file(photo)
    with open_server(server, token_file, None) as source:
        seen = _seen(source, photo, content)
    _tell_of_older(seen.first_kept)
    if as_json:
        typer.echo(_as_json(seen.entries))
        return
    if not seen.keys and not seen.entries:
        typer.echo("the key server knows no photo that looks like this one")
        return
    _print(seen.entries)


def search(
    server: ServerUrl = None,
    token_file: TokenFile = None,
    key: Annotated[UUID | None, typer.Option(metavar="KEY", help="Only what names this key.")] = None,
    grant: Annotated[UUID | None, typer.Option(metavar="GRANT", help="Only what is about this grant.")] = None,
    by: Annotated[str | None, typer.Option(metavar="NAME", help="Only what this one did, or tried.")] = None,
    action: Annotated[str | None, typer.Option(help="Such as release, or grant.approve.")] = None,
    outcome: Annotated[wire.AuditOutcome | None, typer.Option(help="How it ended.")] = None,
    after: Annotated[datetime | None, typer.Option(help="From this time on (UTC).")] = None,
    before: Annotated[datetime | None, typer.Option(help="Before this time (UTC).")] = None,
    limit: Annotated[int, typer.Option(min=1, help="At most so many, the newest.")] = 100,
    as_json: AsJson = False,
) -> None:
    """Entries of your tenant that fit all of what is given, newest first."""
    given = {
        "key_id": key,
        "grant_id": grant,
        "actor": by,
        "action": action,
        "outcome": outcome,
        "after": _seconds(after),
        "before": _seconds(before),
    }
    wanted = WantedEntries(**{name: value for name, value in given.items() if value is not None})  # type: ignore[typeddict-item]
    with open_server(server, token_file, None) as source:
        found = source.search_audit(**wanted)
        entries = list(islice(found, limit))
    # If there are more than were asked for, older ones are not missed.
    _tell_of_older(found.first_kept if len(entries) < limit else 0)
    if as_json:
        typer.echo(_as_json(entries))
        return
    _print(entries)


def _seen(source: KeyServer, photo: Path, content: bytes) -> SeenBy:
    from faceseal import anonymizer
    from faceseal.envelope.header import pixel_digest
    from faceseal.perceptual import perceptual_hash
    from faceseal.photo import read_photo

    try:
        return source.who_has_seen(key_id=anonymizer.read_sealed(content, photo.name).header.key_id)
    except SealedFileError:
        picture = read_photo(photo)
    exact = source.who_has_seen(sealed_digest=pixel_digest(picture.pixels, picture.color_profile))
    return exact if exact.keys else source.who_has_seen(perceptual_hash=perceptual_hash(picture.pixels))


def _tell_of_older(first_kept: int) -> None:
    if first_kept:
        older = f"entries of the log before number {first_kept:,} were put away and are not searched"
        typer.echo(f"{older}; its operator has the files", err=True)


def _print(entries: Iterable[wire.AuditEntry]) -> None:
    print_table(
        ("TIME", "WHAT", "WHO", "CLIENT", "GRANT", "PURPOSE", "REFERENCE", "WHY NOT"),
        (
            (
                utc(entry.at),
                f"{entry.action} {entry.outcome.value}",
                _name(entry),
                entry.jkt or "-",
                "-" if entry.grant_id is None else str(entry.grant_id),
                _purpose(entry),
                entry.reference or "-",
                entry.reason or "-",
            )
            for entry in entries
        ),
    )


def _name(entry: wire.AuditEntry) -> str:
    """A pseudonym is shortened: whoever needs all of it takes --json."""
    if entry.actor is not None:
        return entry.actor
    return f"({entry.personal.value}: {str(entry.pseudonym)[:8]})"


def _purpose(entry: wire.AuditEntry) -> str:
    if entry.purpose_code is None:
        return "-"
    words = entry.purpose if entry.purpose != entry.purpose_code else None
    return entry.purpose_code if words is None else f"{entry.purpose_code}: {words}"


def _as_json(entries: Iterable[wire.AuditEntry]) -> str:
    return json.dumps([entry.model_dump(mode="json") for entry in entries], indent=2)


def _seconds(time: datetime | None) -> int | None:
    if time is None:
        return None
    seconds = int(time.replace(tzinfo=UTC).timestamp())
    if seconds < 0:
        raise KeySourceError("the audit log has no entries from before 1970")
    return seconds
