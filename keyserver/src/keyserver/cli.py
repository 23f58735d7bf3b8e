"""The command `keyserver`: init, serve, token, and the audit log's export and verification.

What the user got wrong is one line on stderr and exit code 2.
"""

from __future__ import annotations

import os
import re
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from pydantic import ValidationError
from typer.exceptions import TyperException

from faceseal.errors import FacesealError
from faceseal.translog import VerifierKey
from keyserver import installation
from keyserver.audit.export import export_lines, verify_export
from keyserver.errors import KeyServerError, SetupError
from keyserver.settings import Settings
from keyserver.store import queries
from keyserver.tokens.builtin import MAX_LIFETIME
from keyserver.tokens.claims import TENANT_PATTERN, parse_scopes

app = typer.Typer(help="The faceseal key server.", add_completion=False, pretty_exceptions_enable=False)
audit_app = typer.Typer(help="The audit log.")
app.add_typer(audit_app, name="audit")

Data = Annotated[
    Path | None, typer.Option("--data", metavar="DIR", help="Data folder; else KEYSERVER_DATA, else ./keyserver-data.")
]
Tenant = Annotated[str, typer.Option("--tenant", metavar="NAME")]


@app.command()
def init(data: Data = None, tenant: Tenant = "default") -> None:
    """Create a key server, bring its schema up to date, or add a tenant; print the log's verifier key."""
    if not re.fullmatch(TENANT_PATTERN, tenant):
        raise SetupError("a tenant's name has 1 to 64 of a-z, 0-9, '.', '_', '-', and begins with a letter or digit")
    ports = installation.initialise(_settings(data), tenant, int(time.time()))
    typer.echo(ports.signer.verifier_key)


@app.command()
def serve(data: Data = None, host: str = "127.0.0.1", port: int = 8480) -> None:
    """Answer requests until SIGTERM; print one line when ready.  TLS is a proxy's task."""
    # Imported here: no other command needs the web framework.
    from keyserver import serving
    from keyserver.app import create_app

    settings = _settings(data)
    ports = installation.open_ports(settings)
    with serving.bind(host, port) as listening:
        address = f"[{host}]" if ":" in host else host
        line = f"keyserver listens on http://{address}:{listening.getsockname()[1]}"
        serving.run(create_app(ports, settings.max_body_bytes), listening, lambda: print(line, flush=True))
    ports.database.close()


@app.command()
def token(
    subject: Annotated[str, typer.Option(help="Whom the token speaks for.")],
    scope: Annotated[str, typer.Option(help="Scopes, separated by spaces, such as 'keys:create keys:release'.")],
    data: Data = None,
    tenant: Tenant = "default",
    lifetime: Annotated[int, typer.Option(help="Seconds.", min=1, max=MAX_LIFETIME)] = 3600,
) -> None:
    """Print an access token of the built-in issuer."""
    try:
        scopes = parse_scopes(scope)
    except ValueError:
        raise SetupError(f"there is a scope that does not exist in: {scope}") from None
    ports = installation.open_ports(_settings(data))
    with ports.database.reading() as session:
        if not queries.tenant_exists(session, tenant):
            raise SetupError(f"there is no tenant {tenant}; run: keyserver init --tenant {tenant}")
    try:
        issued = ports.issuer.issue_access(subject, tenant, scopes, ports.new_id(), ports.clock(), lifetime)
    except ValueError:
        raise SetupError("a subject has 1 to 200 printable characters") from None
    typer.echo(issued)


@audit_app.command("key")
def audit_key(data: Data = None) -> None:
    """Print the log's verifier key."""
    typer.echo(installation.open_ports(_settings(data)).signer.verifier_key)


@audit_app.command("export")
def audit_export(output: Annotated[Path, typer.Option(help="A new file.")], data: Data = None) -> None:
    """Write the log and its signed checkpoint to a file, as JSON lines."""
    ports = installation.open_ports(_settings(data))
    try:
        descriptor = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as cause:
        raise SetupError(f"cannot create {output}: {cause.strerror}") from None
    try:
        with os.fdopen(descriptor, "wb") as file, ports.database.reading() as session:
            file.writelines(export_lines(session, ports.signer))
    except BaseException:
        output.unlink()
        raise


@audit_app.command("verify")
def audit_verify(
    file: Path, key: Annotated[str, typer.Option(help="The log's verifier key, from a source that you trust.")]
) -> None:
    """Check an exported log against its verifier key; needs no server and no database."""
    checkpoint = verify_export(file, VerifierKey.parse(key))
    typer.echo(f"{checkpoint.origin}: all {checkpoint.size} entries are proved")


def _settings(data: Path | None) -> Settings:
    try:
        return Settings() if data is None else Settings(data=data)
    except ValidationError as cause:
        wrong = ", ".join(f"KEYSERVER_{each['loc'][0]}".upper() for each in cause.errors() if each["loc"])
        raise SetupError(f"not usable: {wrong}") from None


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    try:
        result = app(args=arguments, standalone_mode=False)
    except TyperException as mistake:
        message = mistake.format_message()
    except (KeyServerError, FacesealError) as mistake:
        message = str(mistake)
    except OSError as mistake:
        message = f"{mistake.filename}: {mistake.strerror}" if mistake.filename else str(mistake)
    else:
        return result if isinstance(result, int) else 0
    print(f"keyserver: {' '.join(message.split())}", file=sys.stderr)
    return 2
