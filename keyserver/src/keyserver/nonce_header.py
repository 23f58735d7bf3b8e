"""A fresh DPoP nonce for whoever sends proofs, with every answer (RFC 9449, section 8.2)."""

from __future__ import annotations

from collections.abc import Callable

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from keyserver.tokens.nonces import Nonces


class NonceHeader:
    """ASGI middleware: answers with `DPoP-Nonce` to requests with `DPoP`, however they end.

    A nonce is no secret: it says which minute it is, and which servers belong together.
    """

    def __init__(self, app: ASGIApp, nonces: Nonces, clock: Callable[[], int]) -> None:
        self._app = app
        self._nonces = nonces
        self._clock = clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See https://asgi.readthedocs.io."""
        if scope["type"] != "http" or all(name != b"dpop" for name, _ in scope["headers"]):
            await self._app(scope, receive, send)
            return

        async def marked(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message)["dpop-nonce"] = self._nonces.fresh_nonce(self._clock())
            await send(message)

        await self._app(scope, receive, marked)
