"""faceseal grants: ask for keys, decide on what others ask, take back what was allowed."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import islice
from typing import Annotated
from uuid import UUID

import typer

from faceseal import wire
from faceseal.cli.console import AsJson, ServerUrl, TokenFile, open_server, print_fields, print_table, utc
from faceseal.cli.purpose import Purpose, PurposeCode, Reference, require_purpose
from faceseal.errors import AccessDenied, RequestRejected

grants_app = typer.Typer(no_args_is_help=True, help="Grants: who may have which keys released, how often, until when.")

GrantId = Annotated[UUID, typer.Argument(metavar="GRANT", help="The grant's id.")]


@grants_app.command()
def request(
    keys: Annotated[list[UUID] | None, typer.Argument(metavar="KEY...", help="Keys to be released to you.")] = None,
    label: Annotated[
        list[str] | None,
        typer.Option(
            "--label", metavar="NAME=VALUE", help="Instead of keys: all that carry each label given, at the approval."
        ),
    ] = None,
    purpose: Purpose = None,
    purpose_code: PurposeCode = wire.PurposeCode.OTHER,
    reference: Reference = None,
    uses: Annotated[int, typer.Option("--uses", metavar="N", help="Each use releases one key once.")] = 1,
    valid_for: Annotated[
        int, typer.Option("--valid-for", metavar="SECONDS", help="Counted from the approval.")
    ] = 86400,
    not_before: Annotated[
        datetime | None,
        typer.Option("--not-before", metavar="TIME", help="No release before: UTC, such as 2026-03-31T12:00:00."),
    ] = None,
    server: ServerUrl = None,
    token_file: TokenFile = None,
    as_json: AsJson = False,
) -> None:
    """Ask for keys.  Others have to approve, as many as the tenant's policy says."""
    if bool(keys) == bool(label):
        raise RequestRejected("name the keys, or the labels that they carry: --label NAME=VALUE")
    require_purpose(purpose_code, purpose)
    begins = None if not_before is None else int(not_before.replace(tzinfo=UTC).timestamp())
    with open_server(server, token_file, None) as source:
        grant = source.request_grant(
            keys or (),
            purpose,
            labels=_labels(label or []),
            purpose_code=purpose_code,
            reference=reference,
            uses=uses,
            valid_for=valid_for,
            not_before=begins,
        )
        _print_grant(grant, as_json)


@grants_app.command("list")
def list_grants(
    state: Annotated[wire.GrantState | None, typer.Option("--state", help="Only grants in this state.")] = None,
    by: Annotated[str | None, typer.Option("--by", metavar="SUBJECT", help="Only this requester's.")] = None,
    key: Annotated[UUID | None, typer.Option("--key", metavar="KEY", help="Only grants for this key.")] = None,
    purpose_code: Annotated[wire.PurposeCode | None, typer.Option("--purpose-code", help="Only for this.")] = None,
    limit: Annotated[int, typer.Option("--limit", metavar="N", min=1, help="At most so many, newest first.")] = 100,
    server: ServerUrl = None,
    token_file: TokenFile = None,
    as_json: AsJson = False,
) -> None:
    """Your grants; for approvers, everybody's."""
    with open_server(server, token_file, None) as source:
        found = source.search_grants(state=state, requested_by=by, key_id=key, purpose_code=purpose_code)
        grants = [_without_token(grant) for grant in islice(found, limit)]
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


def _labels(pairs: list[str]) -> dict[str, str]:
    split = [pair.partition("=") for pair in pairs]
    labels = {name: value for name, _, value in split}
    if len(labels) != len(pairs) or not all(name and value for name, _, value in split):
        raise RequestRejected("a label is NAME=VALUE, and each name is given once")
    return labels


def _approvals(grant: wire.Grant) -> str:
    if grant.break_glass:
        return "none: the glass was broken"
    names = " ".join(approval.approver for approval in grant.approvals)
    return f"{len(grant.approvals)} of {grant.quorum}" + (f": {names}" if names else "")


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
            ("keys", " ".join(str(key) for key in grant.key_ids) or "-"),
            ("labels", ", ".join(f"{name}={value}" for name, value in sorted(grant.labels.items())) or "-"),
            ("purpose", grant.purpose),
            ("purpose code", grant.purpose_code.value),
            ("reference", grant.reference or "-"),
            ("by", grant.requested_by),
            ("client key", grant.jkt or "-"),
            ("requested", utc(grant.requested_at)),
            ("approvals", _approvals(grant)),
            ("decided by", grant.decided_by or "-"),
            ("uses left", str(grant.uses_left)),
            ("valid for", f"{grant.valid_for} s from the approval"),
            ("not before", utc(grant.not_before)),
            ("expires", utc(grant.expires_at)),
        )
    )
