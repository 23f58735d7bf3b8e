"""Why a token does not count: for the log and for tests, never for the caller."""

from __future__ import annotations

from enum import StrEnum

from keyserver.errors import Unauthenticated


class Refusal(StrEnum):
    """One word for each rule that a token can break."""

    MALFORMED = "malformed"
    HEADER = "header"
    KEY = "key"
    """No key of the issuer has this `kid`."""
    KEYS_UNAVAILABLE = "keys_unavailable"
    """The issuer's keys were never fetched, or too long ago."""
    SIGNATURE = "signature"
    CLAIMS = "claims"
    ISSUER = "issuer"
    AUDIENCE = "audience"
    NOT_YET_VALID = "not_yet_valid"
    EXPIRED = "expired"
    SUBJECT = "subject"
    """The subject is too long, or one that only another issuer may name."""
    TENANT = "tenant"
    SCOPES = "scopes"
    BINDING = "binding"
    """The token is bound to a key and possession of this key was not proved, or the reverse."""


class TokenRefused(Unauthenticated):
    """The token does not count; `why` is for the log."""

    def __init__(self, why: Refusal) -> None:
        super().__init__("the token does not count")
        self.why = why
