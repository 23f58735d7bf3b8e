"""The command `keyserver`: init, serve, token, and the audit log's export and verification.

What the user got wrong is one line on stderr and exit code 2.
"""

from __future__ import annotations

import os
import re
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from typer.exceptions import TyperException

from faceseal.errors import FacesealError
from faceseal.translog import VerifierKey
from keyserver import cli_auditing, cli_backup, cli_logkeys, cli_retention, cli_settings, cli_witness, installation
from keyserver.audit.export import export_lines, verify_export
from keyserver.cli_database import database_app
from keyserver.cli_options import Data, Tenant, read_settings
from keyserver.cli_policy import policy_app
from keyserver.cli_webhook import webhook_app
from keyserver.errors import KeyServerError, SetupError
from keyserver.service import keks, keylife
from keyserver.service.checkpoint import checkpoint_note
from keyserver.store import queries
from keyserver.tokens.claims import MAX_LIFETIME, TENANT_PATTERN, confirmation, parse_scopes

app = typer.Typer(help="The faceseal key server.", add_completion=False, pretty_exceptions_enable=False)
audit_app = typer.Typer(help="The audit log.")
app.add_typer(audit_app, name="audit")
cli_auditing.add_commands(audit_app)
cli_retention.add_commands(audit_app)
issuer_app = typer.Typer(help="The built-in issuer of tokens.")
app.add_typer(issuer_app, name="issuer")

key_app = typer.Typer(help="Image keys.")
app.add_typer(key_app, name="key")
kek_app = typer.Typer(help="The tenants' key-encryption keys (KEKs), and the root that wraps them.")
app.add_typer(kek_app, name="kek")

app.add_typer(database_app, name="database")
app.add_typer(policy_app, name="policy")
app.add_typer(webhook_app, name="webhook")


@app.command()
def init(data: Data = None, tenant: Tenant = "default") -> None:
    """Create a key server, bring its schema up to date, or add a tenant; print the log's verifier key.

    Made if missing: the keys of the root (if it is a file), the issuer and the log, and nonce.key, from which the
    nonces of clients' proofs (DPoP) are made; all replicas need the same ones.
    """
    if not re.fullmatch(TENANT_PATTERN, tenant):
        raise SetupError("a tenant's name has 1 to 64 of a-z, 0-9, '.', '_', '-', and begins with a letter or digit")
    ports = installation.initialise(read_settings(data), tenant, int(time.time()))
    typer.echo(ports.signer.verifier_key)


@app.command()
def serve(data: Data = None, host: str = "127.0.0.1", port: int = 8480) -> None:
    """Answer requests until SIGTERM; print one line when ready.

    TLS is a proxy's task.  Behind one, KEYSERVER_EXTERNAL_URL must be the address that clients use: their proofs
    of possession (DPoP) name it.
    """
    # Imported here: no other command needs the web framework.
    from keyserver import logs, metrics, serving, tracing
    from keyserver.app import create_app
    from keyserver.service.publishing import LAST_PUSH_SECONDS, Publisher
    from keyserver.serving import Patience
    from keyserver.sinks.opening import open_sinks

    settings = read_settings(data)
    logs.configure(settings.log_level)
    ports = installation.open_ports(settings)
    ports.verifier.warm(ports.clock())
    with ExitStack() as stack:
        stack.callback(ports.database.close)
        if settings.traces_endpoint is not None:
            stack.callback(tracing.start(settings.traces_endpoint))
            ports = replace(ports, root=tracing.TracedRoot(ports.root))
        if settings.metrics_listen is not None:
            stack.callback(metrics.serve(settings.metrics_listen, ports.database))
        publisher = Publisher(ports, open_sinks(settings, ports.trust.witnessing), settings.checkpoint_push_seconds)
        publisher.begin()
        listening = stack.enter_context(serving.bind(host, port))
        address = f"[{host}]" if ":" in host else host
        line = f"keyserver listens on http://{address}:{listening.getsockname()[1]}"
        application = create_app(ports, settings.max_body_bytes, settings.max_batch_bytes, settings.limits)
        stack.callback(application.state.readiness.close)
        stack.callback(publisher.stop, min(settings.shutdown_seconds, LAST_PUSH_SECONDS))
        publisher.start()
        serving.run(
            application,
            listening,
            lambda: print(line, flush=True),
            Patience.of(settings),
            application.state.admission.stop,
        )


app.command("settings")(cli_settings.settings)
app.command("backup")(cli_backup.backup)
app.command("restore")(cli_backup.restore)
app.command("witness-init")(cli_witness.witness_init)
app.command("witness")(cli_witness.witness)


@app.command()
def token(
    subject: Annotated[str, typer.Option(help="Whom the token speaks for.")],
    scope: Annotated[str, typer.Option(help="Scopes, separated by spaces, such as 'keys:create keys:release'.")],
    data: Data = None,
    tenant: Tenant = "default",
    lifetime: Annotated[int, typer.Option(help="Seconds.", min=1, max=MAX_LIFETIME)] = 3600,
    jkt: Annotated[
        str | None,
        typer.Option(
            metavar="THUMBPRINT",
            help="Bind it to this client key (DPoP): it counts with proofs of that key only.  "
            "`faceseal client-key` prints it.",
        ),
    ] = None,
    role: Annotated[
        list[str] | None, typer.Option(help="A role that the tenant's policy names; may be repeated.")
    ] = None,
) -> None:
    """Print an access token of the built-in issuer: a secret, unless --jkt binds it to a client's key."""
    try:
        scopes = parse_scopes(scope)
    except ValueError:
        raise SetupError(f"there is a scope that does not exist in: {scope}") from None
    try:
        confirmation(jkt)
    except ValueError:
        raise SetupError("a thumbprint of a key is 43 characters of base64url (RFC 7638)") from None
    ports = installation.open_ports(read_settings(data))
    with ports.database.reading() as session:
        if not queries.tenant_exists(session, tenant):
            raise SetupError(f"there is no tenant {tenant}; run: keyserver init --tenant {tenant}")
    try:
        issued = ports.issuer.issue_access(
            subject, tenant, scopes, ports.new_id(), ports.clock(), lifetime, jkt, frozenset(role or ())
        )
    except ValueError:
        raise SetupError(
            "a subject has 1 to 200 printable characters, and at most 20 roles of 1 to 64 of A-Z, a-z, 0-9, '._:/-'"
        ) from None
    typer.echo(issued)


@issuer_app.command("rotate")
def issuer_rotate(data: Data = None) -> None:
    """Sign with a new key, also in a server that runs; what the old one signed counts to its end."""
    typer.echo(f"the issuer signs with key {installation.rotate_issuer(read_settings(data), int(time.time()))}")


@kek_app.command("list")
def kek_list(
    data: Data = None, tenant: Annotated[str | None, typer.Option(metavar="NAME", help="Of one tenant only.")] = None
) -> None:
    """Show each tenant's epochs, and how many keys hang on them."""
    for kek in keks.list_keks(installation.open_ports(read_settings(data)), tenant):
        made = datetime.fromtimestamp(kek.created_at, UTC).isoformat()
        held = f"{kek.keys:,} keys, {kek.destroyed_keys:,} destroyed"
        typer.echo(f"{kek.tenant}  epoch {kek.epoch}  {kek.state.value}  since {made}  {held}")


@kek_app.command("rotate")
def kek_rotate(tenant: Tenant, data: Data = None) -> None:
    """Give the tenant a new KEK for its new keys; the old one still opens what it wrapped."""
    typer.echo(
        f"{tenant}: new keys are wrapped in epoch {keks.rotate(installation.open_ports(read_settings(data)), tenant)}"
    )


@kek_app.command("rewrap")
def kek_rewrap(tenant: Tenant, data: Data = None) -> None:
    """Move the tenant's keys to its newest KEK while the server serves; goes on where it was stopped."""
    broken = 0
    for done in keks.rewrap(installation.open_ports(read_settings(data)), tenant):
        print(f"{tenant}: {done.moved:,} of {done.total:,} keys moved to epoch {done.epoch}", flush=True)
        broken = done.broken
    if broken:
        raise SetupError(f"{broken:,} keys do not open and stay where they are; the audit log has the count")


@kek_app.command("destroy")
def kek_destroy(tenant: Tenant, epoch: Annotated[int, typer.Option(min=1)], data: Data = None) -> None:
    """Delete the KEK of an old epoch for good; refused while a key that is not destroyed hangs on it."""
    gone = keks.destroy(installation.open_ports(read_settings(data)), tenant, epoch)
    typer.echo(f"{tenant}: the KEK of epoch {epoch} is destroyed, and {gone:,} destroyed keys with it")


@kek_app.command("move-root")
def kek_move_root(
    to: Annotated[Path, typer.Option(metavar="FILE", help="The new root's settings, a line KEYSERVER_...=value each.")],
    data: Data = None,
) -> None:
    """Wrap all KEKs with another root.  Replicas then have to be started again with its settings."""
    settings = read_settings(data)
    names, moved = installation.move_root(settings, to)
    typer.echo(f"{moved:,} KEKs moved ({names}); now set what {to} says, and start the server again")


@key_app.command("destroy-due")
def key_destroy_due(data: Data = None) -> None:
    """Destroy the keys, of all tenants, whose waiting period is over; to be run daily."""
    gone = sum(keylife.destroy_due(installation.open_ports(read_settings(data))))
    typer.echo(f"{gone:,} keys are destroyed")


@key_app.command("index-labels")
def key_index_labels(data: Data = None) -> None:
    """After an upgrade: let keys be found by label that the older version created until it was stopped."""
    added = keylife.index_labels(installation.open_ports(read_settings(data)))
    typer.echo(f"{added:,} keys can be found by their labels now")


audit_app.command("key")(cli_logkeys.audit_key)
audit_app.command("rotate-key")(cli_logkeys.audit_rotate_key)
audit_app.command("retire-key")(cli_logkeys.audit_retire_key)


@audit_app.command("checkpoint")
def audit_checkpoint(
    data: Data = None,
    witnessed: Annotated[
        bool, typer.Option("--witnessed", help="The newest one that enough witnesses have cosigned.")
    ] = False,
) -> None:
    """Print the log's signed checkpoint, to be kept elsewhere (see KEYSERVER_CHECKPOINT_FILE)."""
    ports = installation.open_ports(read_settings(data))
    with ports.database.reading() as session:
        note = checkpoint_note(session, ports, witnessed)
    if note is None:
        raise SetupError("no checkpoint has been cosigned by enough witnesses yet")
    typer.echo(note, nl=False)


@audit_app.command("export")
def audit_export(
    output: Annotated[Path, typer.Option(help="A new file.")],
    data: Data = None,
    first: Annotated[int, typer.Option(min=0, metavar="N", help="Leave out the entries before this one.")] = 0,
) -> None:
    """Write the log, its hashes and its signed checkpoint to a file, as JSON lines."""
    ports = installation.open_ports(read_settings(data))
    try:
        descriptor = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as cause:
        raise SetupError(f"cannot create {output}: {cause.strerror}") from None
    try:
        with os.fdopen(descriptor, "wb") as file, ports.database.reading() as session:
            file.writelines(export_lines(session, ports.signer, first))
    except BaseException:
        output.unlink()
        raise


@audit_app.command("verify")
def audit_verify(
    file: Path, key: Annotated[str, typer.Option(help="The log's verifier key, from a source that you trust.")]
) -> None:
    """Check an exported log against its verifier key, as `faceseal audit verify` does where there is no server."""
    verified = verify_export(file, VerifierKey.parse(key))
    which = f"all {verified.size}" if verified.first == 0 else f"the last {verified.size - verified.first}"
    typer.echo(f"{verified.origin}: {which} entries are proved")


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
