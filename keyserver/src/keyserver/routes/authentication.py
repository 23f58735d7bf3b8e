"""Who is calling: access token (RFC 6750) and DPoP proof (RFC 9449), verified before the body is parsed."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable, Coroutine
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request, Response, Security
from fastapi.routing import APIRoute
from fastapi.security import HTTPBearer
from fastapi.security.http import HTTPBase

from keyserver import problems
from keyserver.actions import RELEASING, SCOPES, Action
from keyserver.errors import Unauthenticated
from keyserver.openapi.headers import REQUEST_ID, proof_header
from keyserver.policy import Caller
from keyserver.routes.credentials import authenticate
from keyserver.routes.limiting import admitted, kind_of
from keyserver.routes.repeatable import asked, documented_once, once_of, repeatable
from keyserver.routes.strictbody import StrictRequest
from keyserver.service.once import Once
from keyserver.service.ports import Ports
from keyserver.tokens import TokenRefused
from keyserver.tokens.dpop import ProofRefused
from keyserver.tracing import span

_log = logging.getLogger(__name__)

_DOCUMENTED_SCHEMES = (
    HTTPBearer(bearerFormat="JWT", description="Access token (RFC 9068)", auto_error=False),
    HTTPBase(scheme="DPoP", scheme_name="DPoP", description="Access token with `cnf` (RFC 9449)", auto_error=False),
)
"""For OpenAPI only: they accept everything, `AuthenticatedRoute` has verified the token by then."""


class AuthenticatedRoute(APIRoute):
    """A route that nobody enters without a valid token, not even with a broken body.

    A POST with an Idempotency-Key takes effect once.
    """

    def __init__(self, path: str, endpoint: Callable[..., Any], **options: Any) -> None:
        acts = [found.dependency for found in options.get("dependencies") or ()]
        action = next((found.action for found in acts if isinstance(found, Acts)), None)
        self._action = action
        options["description"] = _description(endpoint, options.get("description") or "")
        if options.get("methods") in (["POST"], {"POST"}):
            once = repeatable(endpoint, action, options.get("status_code") or 200)
            options = documented_once(options, kept=hasattr(once, "__wrapped__"))
            endpoint = once
        super().__init__(path, endpoint, **options)

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """See APIRoute."""
        inner = super().get_route_handler()
        kind = kind_of(self._action, self.methods or ())

        async def authenticated(plain: Request) -> Response:
            request = StrictRequest(plain.scope, plain.receive)
            ports: Ports = request.app.state.ports
            address = request.client.host if request.client else ""
            request.app.state.failures.require_few(address)
            try:
                with span("authenticate"):
                    request.state.caller, wanted = await authenticate(request, ports)
            except Unauthenticated as refusal:
                request.app.state.failures.add(address)
                _log_refusal(refusal)
                raise
            await admitted(request, request.state.caller, kind)
            if wanted is not None:
                # How every conversation begins, and so no failure; but it counts as a request.
                _log_refusal(wanted)
                raise wanted
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


def _log_refusal(refusal: Unauthenticated) -> None:
    # The word alone: the token itself is nobody's business, and outside all refusals are one.
    if isinstance(refusal, TokenRefused | ProofRefused):
        refused = "access token" if isinstance(refusal, TokenRefused) else "DPoP proof"
        _log.info("%s refused: %s", refused, refusal.why.value)


def authenticated_router(prefix: str, tag: str) -> APIRouter:
    """A router all of whose routes are authenticated."""
    return APIRouter(prefix=prefix, tags=[tag], route_class=AuthenticatedRoute)


def documentation(action: Action, *statuses: int, proven: bool = False) -> dict[str, Any]:
    """OpenAPI's words on an action: which scopes it takes, whether it needs a proof, and how it can fail."""
    scopes = [scope.value for scope in sorted(SCOPES[action])]
    responses = problems.documented(401, 403, *statuses, 429, 500, 503)
    if action in RELEASING:
        responses[503]["x-problems"].append("log-in-doubt")
    return {
        "description": f"Scope: {' or '.join(f'`{scope}`' for scope in scopes)}.",
        "dependencies": [*(Security(scheme, scopes=scopes) for scheme in _DOCUMENTED_SCHEMES), Depends(Acts(action))],
        "responses": responses,
        "openapi_extra": {"parameters": [proof_header(required=proven), REQUEST_ID]},
    }


def _description(endpoint: Callable[..., Any], known: str) -> str:
    """The endpoint's docstring and what `documentation` said; the same if the route is registered again."""
    own = inspect.cleandoc(endpoint.__doc__ or "")
    return known if known.startswith(own) else f"{own}\n\n{known}"


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
