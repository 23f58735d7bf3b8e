"""The command line `faceseal`."""

from __future__ import annotations

import sys

import typer

from faceseal.cli import auditsearch, photos
from faceseal.cli.audit import audit_app
from faceseal.cli.clientkey import client_key
from faceseal.cli.console import run
from faceseal.cli.finding import find
from faceseal.cli.grants import grants_app
from faceseal.cli.keys import keys_app
from faceseal.cli.linkage import linkage
from faceseal.cli.measuring import evaluate
from faceseal.cli.sizes import sizes
from faceseal.cli.training import train, train_lips, train_looks, train_pose

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    help="Replace faces in photos by natural, different ones, and bring them back with the key.",
)
app.command()(photos.anonymize)
app.command()(photos.restore)
app.command()(photos.inspect)
app.command()(photos.verify)
app.command()(find)
app.add_typer(keys_app, name="keys")
app.add_typer(grants_app, name="grants")
auditsearch.add_commands(audit_app)
app.add_typer(audit_app, name="audit")
app.command("client-key")(client_key)
app.command()(train)
app.command()(train_lips)
app.command()(train_pose)
app.command()(train_looks)
app.command()(evaluate)
app.command()(linkage)
app.command()(sizes)


def main() -> None:
    """Entry point; errors are one line on standard error, with an exit code (see `console`)."""
    sys.exit(run(app))
