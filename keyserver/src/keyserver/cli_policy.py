"""keyserver policy: what the grants of a tenant have to keep to."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from keyserver import installation
from keyserver.cli_options import Data, Tenant, read_settings
from keyserver.errors import SetupError
from keyserver.service import policies

MAX_FILE_BYTES = 1 << 20
policy_app = typer.Typer(help="A tenant's policy for grants.")


@policy_app.command("show")
def policy_show(tenant: Tenant, data: Data = None) -> None:
    """Print the policy that holds for new requests, as JSON."""
    info = policies.show_policy(installation.open_ports(read_settings(data)), tenant)
    typer.echo(info.policy.model_dump_json(indent=2))


@policy_app.command("set")
def policy_set(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="JSON, as `policy show` prints it.")],
    tenant: Tenant,
    data: Data = None,
) -> None:
    """Let another policy hold for grants that are requested from now on.  What the file leaves out is the default."""
    with file.open("rb") as opened:
        document = opened.read(MAX_FILE_BYTES + 1)
    if len(document) > MAX_FILE_BYTES:
        raise SetupError(f"{file} is longer than {MAX_FILE_BYTES} bytes")
    try:
        policy = policies.parse_policy(document)
    except ValueError as cause:
        raise SetupError(f"{file}: {cause}") from None
    version = policies.set_policy(installation.open_ports(read_settings(data)), tenant, policy)
    typer.echo(f"{tenant}: version {version} of the policy holds for new requests")
