"""What a client shows with each request: its access token, and proofs of its own key (DPoP, RFC 9449).

1. A token that is bound to a key goes with the scheme DPoP and a proof in every request; any
   other goes with the scheme Bearer, and with proofs from the first request on that needs one.
2. A proof is made for one request and never sent twice, not even if the answer was lost.
3. The latest nonce that the server gave is in the next proof; if it asks for another one, it
   gets a new proof, once.
"""

from __future__ import annotations

from collections.abc import Callable

import httpx

from faceseal.client.dpop import DpopKey
from faceseal.client.parse import strict_json
from faceseal.errors import ClientKeyError
from faceseal.wire import decode_base64url

NONCE_WANTED = 'error="use_dpop_nonce"'
PROOF_REFUSED = 'error="invalid_dpop_proof"'
"""In `WWW-Authenticate` (RFC 9449, sections 7.1 and 9)."""


class Credentials:
    """Those of one connection.  `own_key` is asked when the key is first needed; `clock`: seconds since 1970."""

    def __init__(self, token: str, own_key: Callable[[], DpopKey], clock: Callable[[], float]) -> None:
        self._token = token
        self._bound_to = bound_key_of(token)
        self._own_key = own_key
        self._clock = clock
        self._key: DpopKey | None = None
        self._nonce: str | None = None

    def prove(self) -> str:
        """From now on every request carries a proof; returns the key's thumbprint.

        Raises ClientKeyError if there is no key, or another than the token is bound to.
        """
        if self._key is None:
            key = self._own_key()
            if self._bound_to not in (None, key.thumbprint):
                raise ClientKeyError(
                    f"the access token is bound to another client's key; ask for one that is bound to {key.thumbprint}"
                )
            self._key = key
        return self._key.thumbprint

    def headers(self, method: str, url: str) -> dict[str, str]:
        """For one request, to be sent once.  Raises ClientKeyError, and ServerMisbehaved for a nonce that is none."""
        if self._bound_to is not None:
            self.prove()
        shown = {"authorization": f"{'Bearer' if self._bound_to is None else 'DPoP'} {self._token}"}
        if self._key is not None:
            shown["dpop"] = self._key.proof(method, url, self._token, int(self._clock()), self._nonce)
        return shown

    def learn(self, answer: httpx.Response) -> None:
        """Keep the nonce that came along, for the next proof."""
        self._nonce = answer.headers.get("dpop-nonce", self._nonce)

    def asked_for_nonce(self, answer: httpx.Response) -> bool:
        """Whether the request was refused only for its nonce, and another one came along."""
        wanted = NONCE_WANTED in answer.headers.get("www-authenticate", "")
        return self._key is not None and answer.status_code == 401 and wanted and "dpop-nonce" in answer.headers


def bound_key_of(token: str) -> str | None:
    """Thumbprint of the key that an access token says it is bound to (`cnf.jkt`); None if it says nothing of the kind.

    Nothing is verified: that is for the server.
    """
    try:
        _, payload, _ = token.split(".")
        claims = strict_json(decode_base64url(payload))
    except ValueError:
        return None
    confirmation = claims.get("cnf") if isinstance(claims, dict) else None
    thumbprint = confirmation.get("jkt") if isinstance(confirmation, dict) else None
    return thumbprint if isinstance(thumbprint, str) else None
