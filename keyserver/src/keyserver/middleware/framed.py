"""Where a request ends must be beyond doubt, or a proxy and this server may each see other requests.

RFC 9112, section 6.3: a request with both a length and a transfer coding may be an attempt to
hide a second one in its body.  The HTTP library takes the coding and goes on reading behind it,
where a proxy that took the length still sees a body.
"""

from __future__ import annotations

from starlette.types import ASGIApp, Receive, Scope, Send

from keyserver.problems import problem


class Framed:
    """ASGI middleware: refuses such a request, and closes the connection."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See https://asgi.readthedocs.io."""
        names = [name for name, _ in scope["headers"]] if scope["type"] == "http" else []
        coded = b"transfer-encoding" in names
        if coded and (b"content-length" in names or scope["http_version"] == "1.0"):
            answer = problem(
                400,
                "invalid",
                "The request is not valid",
                "a body has either Content-Length or Transfer-Encoding",
                {"Connection": "close"},
            )
            await answer(scope, receive, send)
            return
        await self._app(scope, receive, send)
