"""One door for the access tokens of every issuer.

`iss` is read from the unverified token, and decides only which issuer is asked.  From there on
that issuer checks everything, `iss` included, with its own keys and rules, and no other issuer
is asked after it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from keyserver.policy import Caller
from keyserver.tokens.builtin import BuiltinIssuer
from keyserver.tokens.jwkscache import KeysPending
from keyserver.tokens.jws import parse_compact
from keyserver.tokens.oidc import OidcIssuer
from keyserver.tokens.refusal import Refusal, TokenRefused
from keyserver.tokens.strictjson import parse_json

MAX_TOKEN_CHARACTERS = 8192
"""The built-in issuer's own bound is lower."""
LONGEST_WAIT = 8.0
"""Seconds that a token waits for its issuer's keys: more than a fetch takes."""


class AccessVerifier:
    """Verifies access tokens; times are passed in, in seconds since 1970."""

    def __init__(self, builtin: BuiltinIssuer, issuers: Sequence[OidcIssuer] = ()) -> None:
        """Raises ValueError if one of the issuers has the built-in one's name."""
        self._builtin = builtin
        self._issuers = {issuer.config.issuer: issuer for issuer in issuers}
        self._prefixes = tuple(issuer.config.subject_prefix for issuer in issuers)
        if builtin.name in self._issuers:
            raise ValueError(f"{builtin.name} is the built-in issuer's name")

    def warm(self, now: int) -> None:
        """Begin to fetch every issuer's keys, without waiting for them."""
        for issuer in self._issuers.values():
            issuer.keys.warm(now)

    def verify(self, token: str, now: int, proven_key: str | None = None) -> Caller:
        """Whom the token speaks for.  Never waits.

        `proven_key` is the thumbprint (RFC 7638) of the key that a token of the scheme DPoP was
        proved with, and None for a bearer token: a token counts either way, never both.

        Raises TokenRefused; KeysPending, which is one, if the same call may succeed soon.
        """
        jws = parse_compact(token, MAX_TOKEN_CHARACTERS)
        try:
            payload = parse_json(jws.payload)
        except ValueError:
            raise TokenRefused(Refusal.CLAIMS) from None
        if not isinstance(payload, dict):
            raise TokenRefused(Refusal.CLAIMS)
        name = payload.get("iss")
        if name == self._builtin.name:
            caller = self._builtin.verify_access(token, now, proven_key).caller()
            if caller.subject.startswith(self._prefixes):
                raise TokenRefused(Refusal.SUBJECT)
            return caller
        issuer = self._issuers.get(name) if isinstance(name, str) else None
        if issuer is None:
            raise TokenRefused(Refusal.ISSUER)
        return issuer.verify(jws, payload, now, proven_key)

    async def authenticate(self, token: str, clock: Callable[[], int], proven_key: str | None = None) -> Caller:
        """Like `verify`, but waits once for keys that are being fetched.  Raises TokenRefused."""
        try:
            return self.verify(token, clock(), proven_key)
        except KeysPending as pending:
            await asyncio.wait([asyncio.wrap_future(pending.fetched)], timeout=LONGEST_WAIT)
        return self.verify(token, clock(), proven_key)
