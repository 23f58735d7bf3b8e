"""Access tokens of a configured issuer: from its claims to a caller of ours (RFC 9068, RFC 8725).

1. type and algorithm are among those configured for this issuer, and the key is one that this
   issuer publishes: another issuer's key never counts, whatever `kid` says;
2. `iss`, `aud`, `sub`, `jti`, `iat` and `exp` are required; time is within [nbf, exp), where an
   issuer's clock may be ahead of ours by `CLOCK_SKEW` for `nbf` and `iat`, never for `exp`;
3. tenant and scopes are what the operator's rules make of the claims, nothing else;
4. the subject gets the issuer's prefix, so that no two issuers speak of the same person;
5. a token that is bound to a key (`cnf`) counts only for who proved to hold that key, and one
   that is not counts only as a bearer token.

Claims that are not asked about are ignored, as RFC 7519, section 4, wants.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from faceseal.wire import Scope, ShortText, Timestamp
from keyserver.policy import Caller
from keyserver.tokens.claims import MAX_LIFETIME, TenantName
from keyserver.tokens.issuers import ClaimPath, IssuerConfig, RoleRule, ScopeRule, TenantRule
from keyserver.tokens.jwkscache import JwksCache
from keyserver.tokens.jws import Jws, verify_signature
from keyserver.tokens.refusal import Refusal, TokenRefused

CLOCK_SKEW = 30
"""Seconds."""
LONGEST_SUBJECT = 200
_TENANT = TypeAdapter(TenantName)


class ExternalClaims(BaseModel):
    """What every token of every issuer must say."""

    model_config = ConfigDict(extra="ignore", strict=True, frozen=True, hide_input_in_errors=True)

    iss: ShortText
    aud: ShortText | Annotated[list[ShortText], Field(min_length=1, max_length=100)]
    sub: ShortText
    jti: ShortText
    iat: Timestamp
    exp: Timestamp
    nbf: Timestamp = 0


class OidcIssuer:
    """Verifies the tokens of one configured issuer."""

    def __init__(self, config: IssuerConfig, keys: JwksCache) -> None:
        self.config = config
        self.keys = keys

    def verify(self, jws: Jws, payload: Mapping[str, object], now: int, proven_key: str | None) -> Caller:
        """The caller whom the token speaks for; `payload` is that of `jws`, parsed.

        `proven_key` is the thumbprint of the key that a token of the scheme DPoP was proved with.
        Raises TokenRefused; KeysPending, which is one, if the issuer's keys are on their way.
        """
        if jws.typ not in self.config.token_types or jws.algorithm not in self.config.algorithms:
            raise TokenRefused(Refusal.HEADER)
        verify_signature(jws, self.keys.find(jws.kid, now))
        try:
            claims = ExternalClaims.model_validate(payload)
        except ValidationError:
            raise TokenRefused(Refusal.CLAIMS) from None
        self._check(claims, now)
        _check_binding(payload, proven_key)
        subject = self.config.subject_prefix + claims.sub
        if len(subject) > LONGEST_SUBJECT:
            raise TokenRefused(Refusal.SUBJECT)
        tenant, scopes = tenant_of(payload, self.config.tenant), scopes_of(payload, self.config.scopes)
        return Caller(subject, tenant, scopes, claims.jti, roles_of(payload, self.config.roles))

    def _check(self, claims: ExternalClaims, now: int) -> None:
        if claims.iss != self.config.issuer:
            raise TokenRefused(Refusal.ISSUER)
        audiences = [claims.aud] if isinstance(claims.aud, str) else claims.aud
        if self.config.audience not in audiences:
            raise TokenRefused(Refusal.AUDIENCE)
        if claims.exp - claims.iat > MAX_LIFETIME:
            raise TokenRefused(Refusal.CLAIMS)
        if now < max(claims.nbf, claims.iat) - CLOCK_SKEW:
            raise TokenRefused(Refusal.NOT_YET_VALID)
        if now >= claims.exp:
            raise TokenRefused(Refusal.EXPIRED)


def tenant_of(payload: Mapping[str, object], rule: TenantRule) -> str:
    """The tenant that the rule finds.  Raises TokenRefused."""
    if rule.fixed is not None:
        return rule.fixed
    try:
        tenant = _TENANT.validate_python(_at(payload, rule.claim or ()), strict=True)
    except ValidationError:
        raise TokenRefused(Refusal.TENANT) from None
    if rule.among is not None and tenant not in rule.among:
        raise TokenRefused(Refusal.TENANT)
    return tenant


def scopes_of(payload: Mapping[str, object], rule: ScopeRule) -> frozenset[Scope]:
    """The scopes that the claim's words stand for: one text with spaces, or a list of texts.

    A claim that is absent grants nothing.  Raises TokenRefused if it is of another kind.
    """
    return frozenset().union(*(rule.map.get(word, frozenset()) for word in _words(payload, rule.claim)))


def roles_of(payload: Mapping[str, object], rule: RoleRule | None) -> frozenset[str]:
    """The roles that the claim's words stand for, read as scopes are; without a rule, none.  Raises TokenRefused."""
    if rule is None:
        return frozenset()
    return frozenset().union(*(rule.map.get(word, frozenset()) for word in _words(payload, rule.claim)))


def _words(payload: Mapping[str, object], claim: ClaimPath) -> list[str]:
    value = _at(payload, claim)
    words = value.split(" ") if isinstance(value, str) else value
    if words is None:
        return []
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
        raise TokenRefused(Refusal.SCOPES)
    return words


def _check_binding(payload: Mapping[str, object], proven_key: str | None) -> None:
    """RFC 9449, sections 7.1 and 7.2: a bound token is no bearer token.  Other bindings cannot be checked here."""
    bound = "cnf" in payload
    if bound != (proven_key is not None) or (bound and payload["cnf"] != {"jkt": proven_key}):
        raise TokenRefused(Refusal.BINDING)


def _at(payload: Mapping[str, object], path: str | tuple[str, ...]) -> object:
    value: object = payload
    for name in (path,) if isinstance(path, str) else path:
        value = value.get(name) if isinstance(value, dict) else None
    return value
