"""keyserver webhook: who is told of what happens to a tenant's grants, and the worker that tells them."""

from __future__ import annotations

import asyncio
import signal
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Annotated
from uuid import UUID

import typer

from faceseal.wire import GrantEvent, WebhookMessage
from keyserver import installation, logs
from keyserver.audit.entry import OPERATOR
from keyserver.cli_options import Data, Tenant, read_settings
from keyserver.errors import SetupError
from keyserver.service import webhooks
from keyserver.service.ports import Ports
from keyserver.settings import Settings
from keyserver.webhooks.addresses import check_url
from keyserver.webhooks.signing import shown_secret, signed_headers

if TYPE_CHECKING:
    from keyserver.webhooks.delivery import Send

webhook_app = typer.Typer(help="Webhooks: addresses that are told of what happens to grants.")

WebhookId = Annotated[UUID, typer.Argument(metavar="WEBHOOK", help="The webhook's id; `webhook list` shows it.")]


@webhook_app.command("add")
def webhook_add(
    url: Annotated[str, typer.Argument(metavar="URL", help="https, or http on a loopback host.")],
    tenant: Tenant,
    data: Data = None,
) -> None:
    """Print the new webhook's id, and the secret that its messages are signed with, which is not shown again."""
    try:
        check_url(url)
    except ValueError as cause:
        raise SetupError(f"the address cannot be a webhook's: {cause}") from None
    webhook_id, secret = webhooks.add_webhook(installation.open_ports(read_settings(data)), tenant, url)
    typer.echo(f"{webhook_id}\n{shown_secret(secret)}")


@webhook_app.command("list")
def webhook_list(
    data: Data = None, tenant: Annotated[str | None, typer.Option(metavar="NAME", help="Of one tenant only.")] = None
) -> None:
    """Show webhooks, and how many messages are waiting or were given up."""
    for found in webhooks.list_webhooks(installation.open_ports(read_settings(data)), tenant):
        since = datetime.fromtimestamp(found.created_at, UTC).isoformat()
        fares = f"{found.waiting:,} waiting, {found.given_up:,} given up"
        why = f" ({found.failure})" if found.failure else ""
        typer.echo(f"{found.tenant}  {found.id}  {found.url}  since {since}  {fares}{why}")


@webhook_app.command("remove")
def webhook_remove(webhook: WebhookId, tenant: Tenant, data: Data = None) -> None:
    """Tell this address nothing more; what is on its way to it is dropped."""
    webhooks.remove_webhook(installation.open_ports(read_settings(data)), tenant, webhook)
    typer.echo(f"{tenant}: webhook {webhook} is removed")


@webhook_app.command("test")
def webhook_test(webhook: WebhookId, tenant: Tenant, data: Data = None) -> None:
    """Send one signed test message now, and say how it went."""
    from keyserver.webhooks.delivery import SendFailed

    settings = read_settings(data)
    ports = installation.open_ports(settings)
    url, secret = webhooks.opened_secret(ports, tenant, webhook)
    message = WebhookMessage(
        id=ports.new_id(),
        event=GrantEvent.TEST,
        time=ports.clock(),
        tenant=tenant,
        actor=OPERATOR,
        key_id=None,
        grant=None,
    )
    body = message.model_dump_json().encode()
    try:
        asyncio.run(_sender(settings)(url, signed_headers(secret, message.id, message.time, body), body))
    except SendFailed as failure:
        raise SetupError(f"the test message did not arrive: {failure}") from None
    typer.echo(f"{tenant}: webhook {webhook} took the test message")


@webhook_app.command("deliver")
def webhook_deliver(
    data: Data = None,
    once: Annotated[bool, typer.Option("--once", help="End when nothing is due any more.")] = False,
) -> None:
    """Send messages until SIGTERM.  Any number of workers may run, on any machine with this server's settings."""
    settings = read_settings(data)
    logs.configure(settings.log_level)
    ports = installation.open_ports(settings)
    asyncio.run(_deliver_once(ports, settings) if once else _deliver(ports, settings))
    ports.database.close()


def _sender(settings: Settings) -> Send:
    # Imported here: no other command needs an HTTP client.
    from keyserver.webhooks.sending import send

    return partial(send, networks=settings.webhook_networks)


async def _deliver_once(ports: Ports, settings: Settings) -> None:
    from keyserver.webhooks.delivery import deliver_due

    while await deliver_due(ports, _sender(settings)):
        continue


async def _deliver(ports: Ports, settings: Settings) -> None:
    from keyserver.webhooks.delivery import deliver_forever

    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    print("keyserver delivers webhooks", flush=True)
    await deliver_forever(ports, _sender(settings), stopping)
