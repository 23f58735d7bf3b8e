"""The issuer of the embedded default: signs with one Ed25519 key, verifies with it and its predecessors.

Rules (RFC 8725), beside those of `keyserver.tokens.jws`:
1. the algorithm is EdDSA, and the type is compared exactly, so that neither kind of token
   passes for the other;
2. `kid` names one of this issuer's keys; a token without it was made before keys had names,
   and is checked with the oldest;
3. issuer and audience are this server's, and the time is within [nbf, exp);
4. every claim but `cnf` and `roles` is required and no other is allowed;
5. an access token with `cnf` counts for who proved to hold that key, one without as a bearer
   token, and neither for the other (RFC 9449, sections 7.1 and 7.2).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar
from uuid import UUID

import jwt

from faceseal.wire import Scope
from keyserver.tokens.claims import MAX_LIFETIME, AccessClaims, Claims, GrantClaims, confirmation
from keyserver.tokens.jws import Algorithm, parse_compact, verify_signature
from keyserver.tokens.refusal import Refusal, TokenRefused
from keyserver.tokens.signingkeys import SigningKeys
from keyserver.tokens.strictjson import parse_json

MAX_TOKEN_BYTES = 4096
ACCESS_TYPE = "at+jwt"
GRANT_TYPE = "restore-grant+jwt"
_JWS = jwt.PyJWS(algorithms=[Algorithm.EDDSA.value])

AnyClaims = TypeVar("AnyClaims", bound=Claims)


class BuiltinIssuer:
    """Issues and verifies tokens; times are passed in, in seconds since 1970.

    `keys` is asked each time, so that a rotation takes effect in a server that runs.
    """

    def __init__(self, keys: Callable[[], SigningKeys], issuer: str, audience: str) -> None:
        self.name = issuer
        self._keys = keys
        self._audience = audience

    def issue_access(
        self,
        subject: str,
        tenant: str,
        scopes: frozenset[Scope],
        token_id: UUID,
        now: int,
        lifetime: int,
        jkt: str | None = None,
        roles: frozenset[str] = frozenset(),
    ) -> str:
        """An access token, bound to the key of thumbprint `jkt` if there is one.

        Raises ValueError if a claim is not one that `verify_access` takes.
        """
        _check_lifetime(lifetime)
        claims = AccessClaims(
            iss=self.name,
            aud=self._audience,
            sub=subject,
            tenant=tenant,
            jti=token_id,
            iat=now,
            nbf=now,
            exp=now + lifetime,
            scope=" ".join(sorted(scopes)),
            roles=sorted(roles) or None,
            cnf=confirmation(jkt),
        )
        return self._sign(claims, ACCESS_TYPE)

    def issue_grant(
        self,
        grant_id: UUID,
        requester: str,
        tenant: str,
        approved_at: int,
        expires_at: int,
        jkt: str | None = None,
    ) -> str:
        """The token of an approved grant, bound to the requester's key of thumbprint `jkt`.

        The same arguments give the same token until the issuer's key is rotated.
        """
        _check_lifetime(expires_at - approved_at)
        claims = GrantClaims(
            iss=self.name,
            aud=self._audience,
            sub=requester,
            tenant=tenant,
            jti=grant_id,
            iat=approved_at,
            nbf=approved_at,
            exp=expires_at,
            cnf=confirmation(jkt),
        )
        return self._sign(claims, GRANT_TYPE)

    def verify_access(self, token: str, now: int, proven_key: str | None = None) -> AccessClaims:
        """`proven_key` is the thumbprint of the key that a token of the scheme DPoP was proved with.

        Raises TokenRefused.
        """
        claims = self._verify(token, ACCESS_TYPE, AccessClaims, now)
        if claims.jkt != proven_key:
            raise TokenRefused(Refusal.BINDING)
        return claims

    def verify_grant(self, token: str, now: int) -> GrantClaims:
        """Raises TokenRefused.  Which key the grant is bound to is for the release to compare."""
        return self._verify(token, GRANT_TYPE, GrantClaims, now)

    def _sign(self, claims: Claims, kind: str) -> str:
        keys = self._keys()
        headers = {"typ": kind, "kid": keys.kid}
        payload = claims.model_dump_json(exclude_none=True).encode()
        return _JWS.encode(payload, keys.private, Algorithm.EDDSA.value, headers=headers)

    def _verify(self, token: str, kind: str, model: type[AnyClaims], now: int) -> AnyClaims:
        jws = parse_compact(token, MAX_TOKEN_BYTES)
        if jws.algorithm is not Algorithm.EDDSA or jws.typ != kind:
            raise TokenRefused(Refusal.HEADER)
        key = self._keys().find(jws.kid, now)
        if key is None:
            raise TokenRefused(Refusal.KEY)
        verify_signature(jws, key)
        try:
            claims = model.model_validate(parse_json(jws.payload))
        except ValueError:
            # Of both; what pydantic raises is one as well.
            raise TokenRefused(Refusal.CLAIMS) from None
        if claims.iss != self.name:
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
