"""Who is calling: access token (RFC 6750) and DPoP proof (RFC 9449), verified before the body is parsed."""

from __future__ import annotations

import logging
from collections.abc import Callable, Coroutine
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request, Response, Security
from fastapi.routing import APIRoute
from fastapi.security import HTTPBearer
from fastapi.security.http import HTTPBase

from keyserver import problems
from keyserver.actions import SCOPES, Action
from keyserver.policy import Caller
from keyserver.routes.credentials import authenticate
from keyserver.service.ports import Ports
from keyserver.tokens import TokenRefused
from keyserver.tokens.dpop import MAX_PROOF_CHARACTERS, ProofRefused

_log = logging.getLogger(__name__)

_DOCUMENTED_SCHEMES = (
    HTTPBearer(bearerFormat="JWT", description="Access token (RFC 9068)", auto_error=False),
    HTTPBase(scheme="DPoP", scheme_name="DPoP", description="Access token with `cnf` (RFC 9449)", auto_error=False),
)
"""For OpenAPI only: they accept everything, `AuthenticatedRoute` has verified the token by then."""


class AuthenticatedRoute(APIRoute):
    """A route that nobody enters without a valid token, not even with a broken body."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """See APIRoute."""
        inner = super().get_route_handler()

        async def authenticated(request: Request) -> Response:
            ports: Ports = request.app.state.ports
            try:
                request.state.caller = await authenticate(request, ports)
            except (TokenRefused, ProofRefused) as refusal:
                # The word alone: the token itself is nobody's business, and outside all refusals are one.
                refused = "access token" if isinstance(refusal, TokenRefused) else "DPoP proof"
                _log.info("%s refused: %s", refused, refusal.why.value)
                raise
            return await inner(request)

        return authenticated


def authenticated_router(prefix: str, tag: str) -> APIRouter:
    """A router all of whose routes are authenticated."""
    return APIRouter(prefix=prefix, tags=[tag], route_class=AuthenticatedRoute)


def documentation(action: Action, *statuses: int, proven: bool = False) -> dict[str, Any]:
    """OpenAPI's words on an action: which scopes it takes, whether it needs a proof, and how it can fail."""
    scopes = [scope.value for scope in sorted(SCOPES[action])]
    proof = {
        "name": "DPoP",
        "in": "header",
        "required": proven,
        "description": "Proof of the client's key (RFC 9449, section 4.2), with `ath` and `nonce`.",
        "schema": {"type": "string", "maxLength": MAX_PROOF_CHARACTERS},
    }
    return {
        "description": f"Scope: {' or '.join(f'`{scope}`' for scope in scopes)}.",
        "dependencies": [Security(scheme, scopes=scopes) for scheme in _DOCUMENTED_SCHEMES],
        "responses": problems.documented(401, 403, *statuses, 503),
        "openapi_extra": {"parameters": [proof]},
    }


def _ports(request: Request) -> Ports:
    ports: Ports = request.app.state.ports
    return ports


def _caller(request: Request) -> Caller:
    caller: Caller = request.state.caller
    return caller


WithPorts = Annotated[Ports, Depends(_ports)]
WithCaller = Annotated[Caller, Depends(_caller)]
