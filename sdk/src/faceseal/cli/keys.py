"""faceseal keys: list, show, suspend, resume, destroy and remove image keys."""

from __future__ import annotations

from itertools import islice
from typing import Annotated
from uuid import UUID

import typer

from faceseal import wire
from faceseal.cli.console import (
    AsJson,
    KeyringPath,
    ServerUrl,
    TokenFile,
    key_source,
    open_server,
    print_fields,
    print_table,
    utc,
)
from faceseal.client import KeyServer, LocalKeyring
from faceseal.client.keysearch import Wanted
from faceseal.errors import KeySourceError

keys_app = typer.Typer(no_args_is_help=True, help="Image keys: one per sealed photo.")

KeyId = Annotated[UUID, typer.Argument(metavar="KEY", help="The key's id; a sealed photo names it.")]


@keys_app.command("list")
def list_keys(
    server: ServerUrl = None,
    token_file: TokenFile = None,
    keyring: KeyringPath = None,
    label: Annotated[
        list[str] | None, typer.Option(metavar="NAME:VALUE", help="Only keys with this label; may be repeated.")
    ] = None,
    state: Annotated[wire.KeyState | None, typer.Option(help="Only keys in this state.")] = None,
    by: Annotated[str | None, typer.Option(metavar="SUBJECT", help="Only keys that this one created.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="At most so many, the newest.")] = 100,
    as_json: AsJson = False,
) -> None:
    """The keys that a server shows you, or those of a local keyring; never the secrets."""
    wanted = _wanted(state, by)
    with key_source(server, token_file, None, keyring) as source:
        if isinstance(source, KeyServer):
            keys = list(islice(source.search_keys(_label_filter(label or []), **wanted), limit))
        elif label or wanted:
            raise KeySourceError("a local keyring keeps neither labels nor states; leave these options out")
        else:
            keys = _local_keys(source)
    if as_json:
        typer.echo(wire.KeyPage(keys=keys).model_dump_json(indent=2))
        return
    print_table(
        ("KEY", "STATE", "CREATED", "PHOTO", "BY", "LABELS"),
        (
            (str(key.id), key.state.value, utc(key.created_at), _photo(key), key.created_by, _labels(key))
            for key in keys
        ),
    )


@keys_app.command()
def show(key: KeyId, server: ServerUrl = None, token_file: TokenFile = None, as_json: AsJson = False) -> None:
    """What a server says about one key."""
    with open_server(server, token_file, None) as source:
        _print_key(source.info(key), as_json)


@keys_app.command()
def revoke(key: KeyId, server: ServerUrl = None, token_file: TokenFile = None, as_json: AsJson = False) -> None:
    """Stop a server from releasing a key.  Keys that it released before stay with whom they went to."""
    with open_server(server, token_file, None) as source:
        _print_key(source.revoke_key(key), as_json)


@keys_app.command()
def suspend(key: KeyId, server: ServerUrl = None, token_file: TokenFile = None, as_json: AsJson = False) -> None:
    """Stop a server from releasing a key, until it is resumed."""
    with open_server(server, token_file, None) as source:
        _print_key(source.suspend_key(key), as_json)


@keys_app.command()
def resume(key: KeyId, server: ServerUrl = None, token_file: TokenFile = None, as_json: AsJson = False) -> None:
    """Let a server release a suspended key again."""
    with open_server(server, token_file, None) as source:
        _print_key(source.resume_key(key), as_json)


@keys_app.command()
def schedule_destruction(
    key: KeyId, server: ServerUrl = None, token_file: TokenFile = None, as_json: AsJson = False
) -> None:
    """Have a server destroy a key after its waiting period: then its photo can never be restored."""
    with open_server(server, token_file, None) as source:
        _print_key(source.schedule_destruction(key), as_json)


@keys_app.command()
def cancel_destruction(
    key: KeyId, server: ServerUrl = None, token_file: TokenFile = None, as_json: AsJson = False
) -> None:
    """Keep a key whose destruction is ahead; it is suspended then."""
    with open_server(server, token_file, None) as source:
        _print_key(source.cancel_destruction(key), as_json)


@keys_app.command()
def remove(
    key: KeyId,
    keyring: KeyringPath = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Delete a key from a local keyring for good: its photo can never be restored again."""
    if keyring is None:
        raise KeySourceError("name the keyring: --keyring PATH (a server's keys are revoked)")
    if not yes:
        typer.confirm(f"Delete {key}? Its photo can never be restored again.", abort=True, err=True)
    with key_source(None, None, None, keyring) as source:
        if isinstance(source, LocalKeyring):
            source.remove(key)
    typer.echo(f"removed {key}")


def _wanted(state: wire.KeyState | None, created_by: str | None) -> Wanted:
    wanted = Wanted()
    if state is not None:
        wanted["state"] = state
    if created_by is not None:
        wanted["created_by"] = created_by
    return wanted


def _label_filter(texts: list[str]) -> dict[str, str]:
    try:
        return dict(wire.parse_label(text) for text in texts)
    except ValueError as mistake:
        raise KeySourceError(str(mistake)) from None


def _local_keys(keyring: LocalKeyring) -> list[wire.KeyInfo]:
    return [
        wire.KeyInfo(
            id=entry.id,
            state=wire.KeyState.ACTIVE,
            created_at=entry.created_at,
            created_by="(keyring)",
            labels={},
            sealed_digest=entry.sealed_digest,
        )
        for entry in keyring.list_keys()
    ]


def _print_key(key: wire.KeyInfo, as_json: bool) -> None:
    if as_json:
        typer.echo(key.model_dump_json(indent=2))
        return
    print_fields(
        (
            ("key", str(key.id)),
            ("state", key.state.value),
            ("created", utc(key.created_at)),
            ("by", key.created_by),
            ("to be destroyed", utc(key.destruction_due_at)),
            ("photo", "not bound" if key.sealed_digest is None else f"sha256:{key.sealed_digest.hex()}"),
            ("labels", _labels(key)),
        )
    )


def _photo(key: wire.KeyInfo) -> str:
    return "-" if key.sealed_digest is None else key.sealed_digest.hex()[:12]


def _labels(key: wire.KeyInfo) -> str:
    return ", ".join(f"{name}={value}" for name, value in sorted(key.labels.items())) or "-"
