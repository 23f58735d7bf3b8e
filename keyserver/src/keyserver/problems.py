"""Errors as RFC 9457 problem documents.

What happened inside never shows: a denial reads the same whatever its reason, and a bug is a
500 without details.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import partial
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.routing import BaseRoute

from faceseal.wire import PROBLEM_BASE, Problem
from keyserver.allowed_methods import allowed_methods
from keyserver.challenge import challenge_for
from keyserver.errors import (
    AccessDenied,
    Conflict,
    KeyReused,
    KeyServerError,
    LogInDoubt,
    NotFound,
    ProofNeeded,
    RequestInvalid,
    StillRunning,
    TooMany,
    Unauthenticated,
    Unavailable,
)

MEDIA_TYPE = "application/problem+json"
_LONGEST_DETAIL = 500
RETRY_SECONDS = 1
"""After which a client may come again."""
_log = logging.getLogger(__name__)

KINDS: dict[type[KeyServerError], tuple[int, str, str]] = {
    ProofNeeded: (401, "proof-needed", "A valid DPoP proof is needed"),
    Unauthenticated: (401, "unauthenticated", "A valid access token is needed"),
    AccessDenied: (403, "denied", "Not allowed"),
    NotFound: (404, "not-found", "Not found"),
    Conflict: (409, "conflict", "Not possible in the present state"),
    RequestInvalid: (422, "invalid", "The request is not valid"),
    KeyReused: (422, "idempotency-key-reused", "The Idempotency-Key was used for another request"),
    StillRunning: (409, "in-progress", "The same request is still being worked on"),
    TooMany: (429, "too-many-requests", "Too many requests"),
    LogInDoubt: (503, "log-in-doubt", "No key is released while the audit log is in doubt"),
    Unavailable: (503, "unavailable", "The server cannot answer now"),
}
_TELLS_DETAIL = (NotFound, Conflict, RequestInvalid, TooMany)
_OTHER_STATUS = {400: "invalid", 404: "not-found", 405: "method-not-allowed", 413: "too-large"}


def problem(status: int, kind: str, title: str, detail: str = "", headers: dict[str, str] | None = None) -> Response:
    """One problem document; `kind` ends its type."""
    document = Problem(type=PROBLEM_BASE + kind, title=title, status=status, detail=detail[:_LONGEST_DETAIL])
    return Response(document.model_dump_json(), status, media_type=MEDIA_TYPE, headers=headers)


def too_large(limit: int) -> Response:
    """The answer to a body over the limit (bytes)."""
    return problem(413, "too-large", "The request is too large", f"at most {limit} bytes are read")


def busy() -> Response:
    """The answer to whoever finds no place, or whose time is over."""
    return problem(503, "unavailable", "The server cannot answer now", headers={"Retry-After": str(RETRY_SECONDS)})


def rate_headers(error: TooMany) -> dict[str, str]:
    """What draft-ietf-httpapi-ratelimit-headers says of a limit that is used up."""
    window = error.quota // error.per_second if error.per_second else 60
    return {
        "Retry-After": str(max(1, error.wait)),
        "RateLimit-Policy": f'"{error.whose}";q={error.quota};w={window}',
        "RateLimit": f'"{error.whose}";r=0;t={max(1, error.wait)}',
    }


def install(app: FastAPI, routes: Sequence[BaseRoute]) -> None:
    """Answer every error of the app, which has these routes, with a problem document."""
    app.add_exception_handler(KeyServerError, _on_key_server_error)
    app.add_exception_handler(RequestValidationError, _on_validation_error)
    app.add_exception_handler(HTTPException, partial(_on_http_exception, routes))
    app.add_exception_handler(Exception, _on_bug)


def documented(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """OpenAPI's `responses` for these statuses, in short: `keyserver.openapi` fills them in."""
    return {status: {"description": "", "x-problems": [*_USUAL[status]]} for status in statuses}


_USUAL = {
    400: ("invalid",),
    401: ("unauthenticated", "proof-needed"),
    403: ("denied",),
    404: ("not-found",),
    409: ("conflict",),
    413: ("too-large",),
    422: ("invalid",),
    429: ("too-many-requests",),
    500: ("internal",),
    503: ("unavailable",),
}
"""Which problems an answer of the status may be, if nothing more is known of the operation."""


def _on_key_server_error(_request: Request, error: Exception) -> Response:
    for known, (status, kind, title) in KINDS.items():
        if isinstance(error, known):
            if status == HTTPStatus.SERVICE_UNAVAILABLE:
                _log.error("%s: %s", type(error).__name__, error)
            headers = {"WWW-Authenticate": challenge_for(error)} if isinstance(error, Unauthenticated) else None
            if isinstance(error, Unavailable | StillRunning):
                headers = {"Retry-After": str(RETRY_SECONDS)}
            if isinstance(error, TooMany):
                headers = rate_headers(error)
            return problem(status, kind, title, str(error) if isinstance(error, _TELLS_DETAIL) else "", headers)
    return _on_bug(_request, error)


def _on_validation_error(_request: Request, error: Exception) -> Response:
    found: Sequence[Any] = error.errors() if isinstance(error, RequestValidationError) else ()
    # Where and what only: pydantic also keeps the input, and it may be a grant.
    places = (f"{'.'.join(str(part)[:64] for part in each['loc'][:4])}: {each['msg']}" for each in found[:5])
    return problem(422, "invalid", "The request is not valid", "; ".join(places))


def _on_http_exception(routes: Sequence[BaseRoute], request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    headers = dict(error.headers) if isinstance(error, HTTPException) and error.headers else None
    if status == HTTPStatus.METHOD_NOT_ALLOWED:
        headers = {"Allow": allowed_methods(routes, request.scope)}
    return problem(status, _OTHER_STATUS.get(status, "http"), HTTPStatus(status).phrase, headers=headers)


def _on_bug(_request: Request, error: Exception) -> Response:
    # The type alone: a message may quote what it choked on.
    _log.error("unhandled %s", type(error).__name__)
    # The middleware that adds these to all other answers is further inside.
    name = getattr(_request.state, "request_id", None)
    headers = {"Cache-Control": "no-store", **({"X-Request-Id": name} if name else {})}
    return problem(500, "internal", "The server failed", headers=headers)
