"""Every request has an id, a line in the log, and its place in the metrics."""

from __future__ import annotations

import logging
import re
import time
from uuid import uuid4

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from keyserver import logs, metrics, tracing

HEADER = "x-request-id"
_WELL_FORMED = re.compile(r"[A-Za-z0-9._-]{1,64}")
_log = logging.getLogger("keyserver.requests")


class Observed:
    """ASGI middleware: the outermost.

    A request's own X-Request-Id is taken if it is well formed, and answered back.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See https://asgi.readthedocs.io."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        name = _request_id(scope)
        # Also for the answer to a bug, which is written further outside.
        scope.setdefault("state", {})["request_id"] = name
        reset = logs.request_id.set(name)
        began, status = time.perf_counter(), 500

        async def marked(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)[HEADER] = name
            await send(message)

        try:
            with tracing.span("request", request_id=name) as more:
                try:
                    await self._app(scope, receive, marked)
                finally:
                    route = getattr(scope.get("route"), "path", "")
                    more(**{"http.request.method": metrics.known_method(scope["method"])})
                    more(**{"http.route": route, "http.response.status_code": status})
        finally:
            seconds = time.perf_counter() - began
            route = getattr(scope.get("route"), "path", None)
            metrics.observe_request(scope["method"], route, status, seconds)
            fields = {"method": scope["method"], "route": route, "status": status, "ms": round(seconds * 1000, 1)}
            _log.info("answered", extra={"fields": fields})
            logs.request_id.reset(reset)


def _request_id(scope: Scope) -> str:
    given = Headers(scope=scope).getlist(HEADER)
    if len(given) == 1 and _WELL_FORMED.fullmatch(given[0]):
        return given[0]
    return uuid4().hex
