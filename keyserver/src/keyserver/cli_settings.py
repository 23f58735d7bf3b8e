"""The command `keyserver settings`."""

from __future__ import annotations

import typer

from keyserver.cli_options import Data, read_settings
from keyserver.shown_settings import shown_settings


def settings(data: Data = None) -> None:
    """Print every setting that is in force, without secrets; looks at nothing but the environment."""
    for name, value in shown_settings(read_settings(data)):
        typer.echo(f"{name}={value}")
