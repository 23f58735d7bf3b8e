"""Who is calling: the bearer access token (RFC 6750), verified before the body is parsed."""

from __future__ import annotations

import logging
from collections.abc import Callable, Coroutine
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request, Response, Security
from fastapi.routing import APIRoute
from fastapi.security import HTTPBearer

from keyserver import problems
from keyserver.actions import SCOPES, Action
from keyserver.errors import Unauthenticated
from keyserver.policy import Caller
from keyserver.routes.limiting import admitted, kind_of
from keyserver.routes.repeatable import asked, documented_once, once_of, repeatable
from keyserver.service.once import Once
from keyserver.service.ports import Ports
from keyserver.tokens import TokenRefused
from keyserver.tracing import span

_log = logging.getLogger(__name__)

_DOCUMENTED_SCHEME = HTTPBearer(bearerFormat="JWT", description="Access token (RFC 9068)", auto_error=False)
"""For OpenAPI only: it accepts everything, `AuthenticatedRoute` has verified the token by then."""


class AuthenticatedRoute(APIRoute):
    """A route that nobody enters without a valid token, not even with a broken body.

    A POST with an Idempotency-Key takes effect once.
    """

    def __init__(self, path: str, endpoint: Callable[..., Any], **options: Any) -> None:
        options = documented_once(options) if options.get("methods") in (["POST"], {"POST"}) else options
        acts = [found.dependency for found in options.get("dependencies") or ()]
        action = next((found.action for found in acts if isinstance(found, Acts)), None)
        self._action = action
        once = repeatable(endpoint, action, options.get("status_code") or 200)
        super().__init__(path, once if options.get("methods") in (["POST"], {"POST"}) else endpoint, **options)

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """See APIRoute."""
        inner = super().get_route_handler()
        kind = kind_of(self._action, self.methods or ())

        async def authenticated(request: Request) -> Response:
            ports: Ports = request.app.state.ports
            address = request.client.host if request.client else ""
            request.app.state.failures.require_few(address)
            try:
                token = _bearer_token(request)
                with span("authenticate"):
                    request.state.caller = await ports.verifier.authenticate(token, ports.clock)
            except Unauthenticated as refusal:
                request.app.state.failures.add(address)
                if not isinstance(refusal, TokenRefused):
                    raise
                # The word alone: the token itself is nobody's business, and outside all refusals are one.
                _log.info("access token refused: %s", refusal.why.value)
                raise
            await admitted(request, request.state.caller, kind)
            once = await once_of(request, request.state.caller)
            request.state.once = once
            asked.set(None if once is None else (once, request.app.state.running))
            return await inner(request)

        return authenticated


class Acts:
    """A dependency that only says which action a route is for."""

    def __init__(self, action: Action) -> None:
        self.action = action

    async def __call__(self) -> None:
        """Nothing is needed."""


def _bearer_token(request: Request) -> str:
    headers = request.headers.getlist("authorization")
    scheme, _, token = headers[0].partition(" ") if len(headers) == 1 else ("", "", "")
    if scheme.lower() != "bearer":
        raise Unauthenticated("there is no bearer token")
    return token


def authenticated_router(prefix: str, tag: str) -> APIRouter:
    """A router all of whose routes are authenticated."""
    return APIRouter(prefix=prefix, tags=[tag], route_class=AuthenticatedRoute)


def documentation(action: Action, *statuses: int) -> dict[str, Any]:
    """OpenAPI's words on an action: which scopes it takes, and how it can fail."""
    scopes = sorted(SCOPES[action])
    return {
        "description": f"Scope: {' or '.join(f'`{scope.value}`' for scope in scopes)}.",
        "dependencies": [
            Security(_DOCUMENTED_SCHEME, scopes=[scope.value for scope in scopes]),
            Depends(Acts(action)),
        ],
        "responses": problems.documented(401, 403, *statuses, 429, 503),
    }


async def _ports(request: Request) -> Ports:
    ports: Ports = request.app.state.ports
    return ports


async def _caller(request: Request) -> Caller:
    caller: Caller = request.state.caller
    return caller


async def _once(request: Request) -> Once | None:
    once: Once | None = request.state.once
    return once


WithOnce = Annotated[Once | None, Depends(_once)]
WithPorts = Annotated[Ports, Depends(_ports)]
WithCaller = Annotated[Caller, Depends(_caller)]
