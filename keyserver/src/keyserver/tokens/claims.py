"""The claims of both kinds of token, parsed strictly (RFC 7519, section 4.1)."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints

from faceseal.wire import Identifier, Role, Scope, ShortText, Thumbprint, Timestamp
from keyserver.policy import Caller

TENANT_PATTERN = r"^[a-z0-9][a-z0-9._-]{0,63}$"
MAX_LIFETIME = 90 * 86400
"""Seconds; no token of any issuer lives longer."""
TenantName = Annotated[str, StringConstraints(pattern=TENANT_PATTERN)]


def parse_scopes(text: str) -> frozenset[Scope]:
    """Scopes separated by single spaces (RFC 6749, section 3.3).  Raises ValueError for an unknown one."""
    return frozenset(Scope(word) for word in text.split(" "))


def _known_scopes(text: str) -> str:
    parse_scopes(text)
    return text


class Confirmation(BaseModel):
    """The key that a token is bound to (RFC 7800, section 3; RFC 9449, section 6.1)."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, hide_input_in_errors=True)

    jkt: Thumbprint


class Claims(BaseModel):
    """What both kinds share; every claim but `cnf` is required, and no other is allowed."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, hide_input_in_errors=True)

    iss: ShortText
    aud: ShortText
    sub: ShortText
    tenant: TenantName
    jti: Identifier
    iat: Timestamp
    nbf: Timestamp
    exp: Timestamp
    cnf: Confirmation | None = None

    @property
    def jkt(self) -> str | None:
        """Thumbprint of the key that the token is bound to, if it is."""
        return None if self.cnf is None else self.cnf.jkt


def confirmation(jkt: str | None) -> Confirmation | None:
    """The claim for this thumbprint.  Raises ValueError if it is none."""
    return None if jkt is None else Confirmation(jkt=jkt)


class AccessClaims(Claims):
    """An access token (RFC 9068)."""

    scope: Annotated[str, StringConstraints(min_length=1, max_length=200), AfterValidator(_known_scopes)]
    roles: Annotated[list[Role], Field(min_length=1, max_length=20)] | None = None
    """Left out by who has none; the one claim that may be."""

    def caller(self) -> Caller:
        """Whom the token speaks for."""
        return Caller(self.sub, self.tenant, parse_scopes(self.scope), str(self.jti), frozenset(self.roles or ()))


class GrantClaims(Claims):
    """A restore grant: `jti` is the grant's id, `sub` its requester.  What it allows is in the database."""

    @property
    def grant_id(self) -> UUID:
        """Which grant this is the token of."""
        return self.jti
