"""The HTTP application: the only place where all rooms are put together."""

from __future__ import annotations

import importlib.metadata

from fastapi import FastAPI
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from keyserver import problems
from keyserver.body_limit import BodyLimit
from keyserver.nonce_header import NonceHeader
from keyserver.routes import ROUTERS
from keyserver.routes.key_batches import BATCH_PATH
from keyserver.service.ports import Ports
from keyserver.service.release import Releases


def create_app(ports: Ports, max_body_bytes: int, max_batch_bytes: int = 1 << 20) -> FastAPI:
    """The key server's API on these ports."""
    app = FastAPI(
        title="faceseal key server",
        summary="Keeps wrapped image keys, decides on restore grants, and writes an audit log.",
        version=importlib.metadata.version("faceseal-keyserver"),
        # Its pages load scripts from elsewhere; the schema itself stays at /openapi.json.
        docs_url=None,
        redoc_url=None,
    )
    app.state.ports = ports
    app.state.releases = Releases(ports)
    for router in ROUTERS:
        app.include_router(router)
    app.add_api_route("/healthz", _health, summary="Whether the server answers", tags=["health"])
    problems.install(app)
    app.add_middleware(BodyLimit, limit=max_body_bytes, larger={BATCH_PATH: max_batch_bytes})
    app.add_middleware(NonceHeader, nonces=ports.nonces, clock=ports.clock)
    app.add_middleware(NoStore)
    return app


def _health() -> dict[str, str]:
    return {"status": "ok"}


class NoStore:
    """ASGI middleware: no answer of this server belongs in a cache."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See https://asgi.readthedocs.io."""

        async def marked(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message)["cache-control"] = "no-store"
            await send(message)

        await self._app(scope, receive, marked)
