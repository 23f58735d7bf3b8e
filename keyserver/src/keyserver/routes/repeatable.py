"""The `Idempotency-Key` of a POST, and endpoints whose answers are kept under it."""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

from fastapi import Request, Response
from pydantic import BaseModel

from keyserver import problems
from keyserver.actions import Action
from keyserver.errors import RequestInvalid
from keyserver.openapi.headers import IDEMPOTENCY_KEY
from keyserver.policy import Caller
from keyserver.service.once import Answer, Once, Running, perform
from keyserver.service.ports import Ports

HEADER = "idempotency-key"
_STRING = re.compile(r'"([\x20\x21\x23-\x5b\x5d-\x7e]{1,128})"')
"""A string of RFC 9651 without escapes, as the draft wants it."""
_BARE = re.compile(r"[A-Za-z0-9._:~+/=-]{1,128}")
"""What many clients send instead."""
asked: ContextVar[tuple[Once, Running] | None] = ContextVar("asked", default=None)
"""The request with a key that is being answered."""


async def once_of(request: Request, caller: Caller) -> Once | None:
    """Which request this is, if it is a POST that has a key.  Raises RequestInvalid for a malformed one."""
    given = request.headers.getlist(HEADER)
    if request.method != "POST" or not given:
        return None
    key = _key(given[0]) if len(given) == 1 else None
    if key is None:
        raise RequestInvalid("Idempotency-Key must be one string of 1 to 128 printable characters")
    target = request.url.path + ("?" + request.url.query if request.url.query else "")
    return Once.of(caller, key, request.method, target, await request.body())


def repeatable(endpoint: Callable[..., Any], action: Action | None, status: int) -> Callable[..., Any]:
    """The endpoint, which a request with a key enters once.

    Only endpoints that take `ports` are: what they do with them becomes part of the
    transaction that remembers the key.
    """
    if action is None or "ports" not in inspect.signature(endpoint).parameters or hasattr(endpoint, "__wrapped__"):
        return endpoint

    @functools.wraps(endpoint)
    def entered(**arguments: Any) -> Any:
        found = asked.get()
        if found is None:
            return endpoint(**arguments)
        once, running = found

        def work(ports: Ports) -> Answer:
            answer: BaseModel | Response = endpoint(**{**arguments, "ports": ports})
            # An endpoint may have serialized its answer itself.
            body = answer.body if isinstance(answer, Response) else answer.model_dump_json().encode()
            return Answer(status, bytes(body))

        with running.claimed(once):
            answer = perform(arguments["ports"], arguments["caller"], action, once, work)
        return Response(answer.body, answer.status, media_type="application/json")

    return entered


def documented_once(options: dict[str, Any], kept: bool) -> dict[str, Any]:
    """A POST route's options, with OpenAPI's words on the header and on how it can fail.

    kept: whether its answers are kept here (see `repeatable`).
    """
    extra = dict(options.get("openapi_extra") or {})
    others = [each for each in extra.get("parameters", []) if each != IDEMPOTENCY_KEY]
    responses = {**problems.documented(413, 422), **(options.get("responses") or {})}
    ways = [(409, "conflict")] if kept else []
    for status, kind in [*ways, (409, "in-progress"), (422, "idempotency-key-reused")]:
        known = responses.get(status, {}).get("x-problems", [])
        responses[status] = {"description": "", "x-problems": [*dict.fromkeys([*known, kind])]}
    return {**options, "responses": responses, "openapi_extra": {**extra, "parameters": [*others, IDEMPOTENCY_KEY]}}


def _key(text: str) -> str | None:
    quoted = _STRING.fullmatch(text)
    if quoted is not None:
        return quoted[1]
    return text if _BARE.fullmatch(text) else None
