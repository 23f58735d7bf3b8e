"""Options that say what a key is wanted for, and taking a key without approval."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

import typer

from faceseal import wire
from faceseal.client import KeyServer, LocalKeyring
from faceseal.errors import KeySourceError, RequestRejected
from faceseal.imagekey import ImageKey

Purpose = Annotated[
    str | None,
    typer.Option("--purpose", metavar="TEXT", help="What for, in words; approvers and the audit log see it."),
]
PurposeCode = Annotated[wire.PurposeCode, typer.Option("--purpose-code", help="What for, in one word.")]
Reference = Annotated[
    str | None, typer.Option("--reference", metavar="TEXT", help="What your own files call the case.")
]
BreakGlassFor = Annotated[
    wire.PurposeCode | None,
    typer.Option("--break-glass", help="Without a grant: for whoever has the role for emergencies; it is reported."),
]


def require_purpose(code: wire.PurposeCode, text: str | None) -> None:
    """Raises RequestRejected if nothing says what for."""
    if code is wire.PurposeCode.OTHER and not text:
        raise RequestRejected("say what for: --purpose TEXT, or a --purpose-code other than other")


def released(
    keys: KeyServer | LocalKeyring,
    key_id: UUID,
    grant: str | None,
    emergency: wire.PurposeCode | None,
    reference: str | None,
    purpose: str | None,
) -> ImageKey:
    """The key under the grant, or without one in an emergency.  Raises KeySourceError."""
    if emergency is None:
        return keys.release(key_id, grant)
    if not isinstance(keys, KeyServer) or grant is not None:
        raise KeySourceError("--break-glass is for a key server, and takes no grant")
    if reference is None:
        raise RequestRejected("--break-glass has to be accounted for: --reference TEXT")
    require_purpose(emergency, purpose)
    return keys.break_glass(key_id, emergency, reference, purpose)
