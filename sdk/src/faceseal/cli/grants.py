"""faceseal grants: ask for keys, decide on what others ask, take back what was allowed."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

import typer

from faceseal import wire
from faceseal.cli.console import AsJson, ServerUrl, TokenFile, open_server, print_fields, print_table, utc
from faceseal.errors import AccessDenied

grants_app = typer.Typer(no_args_is_help=True, help="Grants: who may have which keys released, how often, until when.")

GrantId = Annotated[UUID, typer.Argument(metavar="GRANT", help="The grant's id.")]


@grants_app.command()
def request(
    keys: Annotated[list[UUID], typer.Argument(metavar="KEY...", help="Keys to be released to you.")],
    purpose: Annotated[
        str, typer.Option("--purpose", metavar="TEXT", help="What for; approvers and the audit log see it.")
    ],
    uses: Annotated[int, typer.Option("--uses", metavar="N", help="Each use releases one key once.")] = 1,
    valid_for: Annotated[
        int, typer.Option("--valid-for", metavar="SECONDS", help="Counted from the approval.")
    ] = 86400,
    server: ServerUrl = None,
    token_file: TokenFile = None,
    as_json: AsJson = False,
) -> None:
    """Ask for keys.  Somebody else has to approve."""
    with open_server(server, token_file, None) as source:
        _print_grant(source.request_grant(keys, purpose, uses=uses, valid_for=valid_for), as_json)


@grants_app.command("list")
def list_grants(server: ServerUrl = None, token_file: TokenFile = None, as_json: AsJson = False) -> None:
    """Your grants; for approvers, everybody's."""
    with open_server(server, token_file, None) as source:
        grants = [_without_token(grant) for grant in source.list_grants()]
    if as_json:
        typer.echo(wire.GrantPage(grants=grants).model_dump_json(indent=2))
        return
    print_table(
        ("GRANT", "STATE", "KEYS", "USES LEFT", "EXPIRES", "BY", "PURPOSE"),
        (
            (
                str(grant.id),
                grant.state.value,
                str(len(grant.key_ids)),
                str(grant.uses_left),
                utc(grant.expires_at),
                grant.requested_by,
                grant.purpose,
            )
            for grant in grants
        ),
    )


@grants_app.command()
def show(
    grant: GrantId,
    server: ServerUrl = None,
    token_file: TokenFile = None,
    as_json: AsJson = False,
    token: Annotated[
        bool, typer.Option("--token", help="Print the grant's token: whoever has it and your access can use it.")
    ] = False,
) -> None:
    """One grant.  With --token: its token alone, or within the JSON."""
    with open_server(server, token_file, None) as source:
        found = source.grant(grant)
    if not token:
        _print_grant(found, as_json)
    elif found.token is None:
        raise AccessDenied(f"the grant {grant} is {found.state.value} and shows you no token")
    else:
        typer.echo(found.model_dump_json(indent=2) if as_json else found.token)


@grants_app.command()
def approve(grant: GrantId, server: ServerUrl = None, token_file: TokenFile = None, as_json: AsJson = False) -> None:
    """Allow what somebody else asks for."""
    with open_server(server, token_file, None) as source:
        _print_grant(source.approve_grant(grant), as_json)


@grants_app.command()
def deny(grant: GrantId, server: ServerUrl = None, token_file: TokenFile = None, as_json: AsJson = False) -> None:
    """Refuse what somebody asks for."""
    with open_server(server, token_file, None) as source:
        _print_grant(source.deny_grant(grant), as_json)


@grants_app.command()
def revoke(grant: GrantId, server: ServerUrl = None, token_file: TokenFile = None, as_json: AsJson = False) -> None:
    """Take back an approved grant.  Keys that it released before stay with whom they went to."""
    with open_server(server, token_file, None) as source:
        _print_grant(source.revoke_grant(grant), as_json)


def _without_token(grant: wire.Grant) -> wire.Grant:
    return grant.model_copy(update={"token": None})


def _print_grant(grant: wire.Grant, as_json: bool) -> None:
    if as_json:
        typer.echo(_without_token(grant).model_dump_json(indent=2))
        return
    print_fields(
        (
            ("grant", str(grant.id)),
            ("state", grant.state.value),
            ("keys", " ".join(str(key) for key in grant.key_ids)),
            ("purpose", grant.purpose),
            ("by", grant.requested_by),
            ("client key", grant.jkt or "-"),
            ("requested", utc(grant.requested_at)),
            ("decided by", grant.decided_by or "-"),
            ("uses left", str(grant.uses_left)),
            ("valid for", f"{grant.valid_for} s from the approval"),
            ("expires", utc(grant.expires_at)),
        )
    )
