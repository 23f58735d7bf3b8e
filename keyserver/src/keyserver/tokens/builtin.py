"""The issuer of the embedded default: signs and verifies with one Ed25519 key.

Rules (RFC 8725):
1. the length is bounded before anything is parsed, and base64url is canonical;
2. the header is exactly ``{"alg": "EdDSA", "typ": <the expected type>}``: no other algorithm,
   no key brought along (jwk, jku, x5u), nothing critical (crit), nothing unknown;
3. the type is compared exactly, so that neither kind of token passes for the other;
4. issuer and audience are this server's, and the time is within [nbf, exp).
"""

from __future__ import annotations

import json
from enum import StrEnum
from typing import TypeVar
from uuid import UUID

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from pydantic import ValidationError

from faceseal.wire import Scope, decode_base64url
from keyserver.errors import Unauthenticated
from keyserver.tokens.claims import AccessClaims, Claims, GrantClaims

MAX_TOKEN_BYTES = 4096
MAX_LIFETIME = 90 * 86400
"""Seconds."""
ACCESS_TYPE = "at+jwt"
GRANT_TYPE = "restore-grant+jwt"
_ALGORITHM = "EdDSA"
_JWS = jwt.PyJWS(algorithms=[_ALGORITHM])

AnyClaims = TypeVar("AnyClaims", bound=Claims)


class Refusal(StrEnum):
    """Why a token does not count.  For the audit log and for tests, not for the caller."""

    MALFORMED = "malformed"
    HEADER = "header"
    SIGNATURE = "signature"
    CLAIMS = "claims"
    ISSUER = "issuer"
    AUDIENCE = "audience"
    NOT_YET_VALID = "not_yet_valid"
    EXPIRED = "expired"


class TokenRefused(Unauthenticated):
    """The token does not count; `why` is for the audit log."""

    def __init__(self, why: Refusal) -> None:
        super().__init__("the token does not count")
        self.why = why


class BuiltinIssuer:
    """Issues and verifies tokens; times are passed in, in seconds since 1970."""

    def __init__(self, private: Ed25519PrivateKey, issuer: str, audience: str) -> None:
        self._private = private
        self._issuer = issuer
        self._audience = audience

    def issue_access(
        self, subject: str, tenant: str, scopes: frozenset[Scope], token_id: UUID, now: int, lifetime: int
    ) -> str:
        """An access token.  Raises ValueError if a claim is not one that `verify_access` takes."""
        _check_lifetime(lifetime)
        claims = AccessClaims(
            iss=self._issuer,
            aud=self._audience,
            sub=subject,
            tenant=tenant,
            jti=token_id,
            iat=now,
            nbf=now,
            exp=now + lifetime,
            scope=" ".join(sorted(scopes)),
        )
        return self._sign(claims, ACCESS_TYPE)

    def issue_grant(self, grant_id: UUID, requester: str, tenant: str, approved_at: int, expires_at: int) -> str:
        """The token of an approved grant; the same arguments give the same token."""
        _check_lifetime(expires_at - approved_at)
        claims = GrantClaims(
            iss=self._issuer,
            aud=self._audience,
            sub=requester,
            tenant=tenant,
            jti=grant_id,
            iat=approved_at,
            nbf=approved_at,
            exp=expires_at,
        )
        return self._sign(claims, GRANT_TYPE)

    def verify_access(self, token: str, now: int) -> AccessClaims:
        """Raises TokenRefused."""
        return self._verify(token, ACCESS_TYPE, AccessClaims, now)

    def verify_grant(self, token: str, now: int) -> GrantClaims:
        """Raises TokenRefused."""
        return self._verify(token, GRANT_TYPE, GrantClaims, now)

    def _sign(self, claims: Claims, kind: str) -> str:
        return _JWS.encode(claims.model_dump_json().encode(), self._private, _ALGORITHM, headers={"typ": kind})

    def _verify(self, token: str, kind: str, model: type[AnyClaims], now: int) -> AnyClaims:
        if _header(token) != {"alg": _ALGORITHM, "typ": kind}:
            raise TokenRefused(Refusal.HEADER)
        try:
            payload = _JWS.decode(token, self._private.public_key(), algorithms=[_ALGORITHM])
        except jwt.InvalidSignatureError:
            raise TokenRefused(Refusal.SIGNATURE) from None
        except jwt.InvalidTokenError:
            raise TokenRefused(Refusal.MALFORMED) from None
        try:
            claims = model.model_validate_json(payload)
        except ValidationError:
            raise TokenRefused(Refusal.CLAIMS) from None
        if claims.iss != self._issuer:
            raise TokenRefused(Refusal.ISSUER)
        if claims.aud != self._audience:
            raise TokenRefused(Refusal.AUDIENCE)
        if now < claims.nbf or now < claims.iat:
            raise TokenRefused(Refusal.NOT_YET_VALID)
        if now >= claims.exp:
            raise TokenRefused(Refusal.EXPIRED)
        return claims


def _check_lifetime(seconds: int) -> None:
    if not 0 < seconds <= MAX_LIFETIME:
        raise ValueError(f"a token lives between 1 and {MAX_LIFETIME} seconds")


def _header(token: str) -> object:
    """The parsed header of a token whose three parts are canonical base64url."""
    if len(token) > MAX_TOKEN_BYTES or token.count(".") != 2:
        raise TokenRefused(Refusal.MALFORMED)
    try:
        header, _, _ = (decode_base64url(part) for part in token.split("."))
        return json.loads(header)
    except (ValueError, RecursionError):
        raise TokenRefused(Refusal.MALFORMED) from None
