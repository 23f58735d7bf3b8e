"""faceseal client-key: which key this client proves to hold."""

from __future__ import annotations

import typer

from faceseal.client.clientkey import own_key


def client_key() -> None:
    """Print the thumbprint of your client key, to which access tokens may be bound.  Makes the key if there is none."""
    typer.echo(own_key().thumbprint)
