"""Reading a grant's id from what a user passes as a grant."""

from __future__ import annotations

from uuid import UUID

from faceseal.client.parse import strict_json
from faceseal.wire import decode_base64url

LONGEST_GRANT = 4096


def as_grant_id(text: str) -> UUID | None:
    """The id, if `text` is one (canonical UUID) and not a grant token."""
    try:
        grant_id = UUID(text) if len(text) == 36 else None
    except ValueError:
        return None
    return grant_id if str(grant_id) == text.lower() else None


def grant_id_of(token: str) -> UUID:
    """Which grant this token (JWT, typ restore-grant+jwt) is for: its claim `jti`.

    Nothing is verified here: that is for the server, and a wrong id only makes the released
    key not open.  Raises ValueError, with a text that quotes nothing, if this is not a token.
    """
    try:
        if len(token) > LONGEST_GRANT:
            raise ValueError
        _, payload, _ = token.split(".")
        claims = strict_json(decode_base64url(payload))
        identifier = claims["jti"] if isinstance(claims, dict) else None
        if not isinstance(identifier, str):
            raise ValueError
        return UUID(identifier)
    except (ValueError, KeyError):
        raise ValueError("not a grant token") from None
