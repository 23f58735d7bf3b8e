"""The HTTP application: the only place where all rooms are put together."""

from __future__ import annotations

import importlib.metadata
import time
from typing import Any

from fastapi import FastAPI
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from keyserver import problems
from keyserver.body_limit import BodyLimit
from keyserver.limits import Limits
from keyserver.middleware.admission import Admission, Admitted
from keyserver.middleware.framed import Framed
from keyserver.middleware.observed import Observed
from keyserver.nonce_header import NonceHeader
from keyserver.openapi.document import described
from keyserver.routes import ROUTERS
from keyserver.routes.key_batches import BATCH_PATH
from keyserver.service.failures import FailedAuthentications
from keyserver.service.once import Running
from keyserver.service.ports import Ports
from keyserver.service.ratelimits import RateLimits
from keyserver.service.readiness import Readiness
from keyserver.service.release import Releases


class Api(FastAPI):
    """With the document that `keyserver.openapi` makes of the framework's."""

    def openapi(self) -> dict[str, Any]:
        """See FastAPI; made when it is first asked for."""
        if self.openapi_schema is None:
            self.openapi_schema = described(super().openapi())
        return self.openapi_schema


def create_api() -> Api:
    """All routes and their description; without `create_app` they have nothing to work on."""
    app = Api(
        title="faceseal key server",
        summary="Keeps wrapped image keys, decides on restore grants, and writes an audit log.",
        version=importlib.metadata.version("faceseal-keyserver"),
        # Its pages load scripts from elsewhere; the schema itself stays at /openapi.json.
        docs_url=None,
        redoc_url=None,
        # A redirect would name the host that the request named, and no client of ours follows one.
        redirect_slashes=False,
        generate_unique_id_function=lambda route: route.name,
        separate_input_output_schemas=False,
    )
    for router in ROUTERS:
        app.include_router(router)
    problems.install(app, [route for router in ROUTERS for route in router.routes])
    return app


def create_app(
    ports: Ports, max_body_bytes: int, max_batch_bytes: int = 1 << 20, limits: Limits | None = None
) -> FastAPI:
    """The key server's API on these ports."""
    limits = limits or Limits()
    app = create_api()
    app.state.ports = ports
    app.state.releases = Releases(ports)
    app.state.running = Running()
    app.state.admission = Admission(limits.requests_at_once, limits.request_seconds)
    app.state.rates = RateLimits(ports.database, limits.per_client, limits.per_tenant, time.time)
    app.state.failures = FailedAuthentications(limits.failed_authentications, time.monotonic)
    app.state.readiness = Readiness(ports, time.monotonic)
    app.add_middleware(BodyLimit, limit=max_body_bytes, larger={BATCH_PATH: max_batch_bytes})
    app.add_middleware(Admitted, admission=app.state.admission)
    app.add_middleware(Framed)
    app.add_middleware(NonceHeader, nonces=ports.nonces, clock=ports.clock)
    app.add_middleware(NoStore)
    app.add_middleware(Observed)
    return app


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
