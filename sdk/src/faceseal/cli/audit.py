"""faceseal audit: a key server's audit log."""

from __future__ import annotations

import typer

audit_app = typer.Typer(no_args_is_help=True, help="The audit log of a key server.")
