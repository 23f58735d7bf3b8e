"""Every problem that the server answers with, and the answers of one operation that may be one.

The routes name a status and the kinds that it may be of (`x-problems`); here these become
responses with an example of each.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from faceseal.wire import PROBLEM_BASE
from keyserver.openapi.headers import headers_of
from keyserver.problems import KINDS, MEDIA_TYPE

MARK = "x-problems"
_TITLES = {kind: title for _, kind, title in KINDS.values()} | {
    "too-large": "The request is too large",
    "internal": "The server failed",
    "method-not-allowed": "Method Not Allowed",
}


@dataclass(frozen=True)
class ProblemKind:
    """A problem: the end of its `type`, its status, what it means for the caller, and the detail of an example."""

    kind: str
    status: int
    meaning: str
    detail: str = ""
    title: str = ""

    def example(self, detail: str | None = None) -> dict[str, Any]:
        """A problem document (RFC 9457)."""
        return {
            "type": PROBLEM_BASE + self.kind,
            "title": self.title or _TITLES[self.kind],
            "status": self.status,
            "detail": self.detail if detail is None else detail,
        }


PROBLEMS: Sequence[ProblemKind] = (
    ProblemKind(
        "invalid",
        400,
        "The body has both a length and a transfer coding.",
        "a body has either Content-Length or Transfer-Encoding",
    ),
    ProblemKind("unauthenticated", 401, "There is no access token, or it does not count. Get another one."),
    ProblemKind(
        "proof-needed",
        401,
        "The DPoP proof is missing or does not count; `WWW-Authenticate` says which. With `use_dpop_nonce`, "
        "prove again with the nonce of this answer's `DPoP-Nonce`.",
    ),
    ProblemKind("denied", 403, "Not allowed. The reason is in the audit log and nowhere else."),
    ProblemKind(
        "not-found",
        404,
        "There is no such thing, or it is another tenant's: nobody can tell which.",
        "there is no such key",
    ),
    ProblemKind("method-not-allowed", 405, "The path knows the methods in `Allow` only."),
    ProblemKind(
        "conflict", 409, "Not possible in the present state.", "the request has taken effect; its answer was not kept"
    ),
    ProblemKind(
        "in-progress", 409, "The same request under this `Idempotency-Key` still runs; ask again after `Retry-After`."
    ),
    ProblemKind("too-large", 413, "The body is too large; nothing of it counts.", "at most 65536 bytes are read"),
    ProblemKind(
        "invalid",
        422,
        "The request is not what the schema says; the detail says where.",
        "body.recipient: Field required",
    ),
    ProblemKind("idempotency-key-reused", 422, "The `Idempotency-Key` was used for another request."),
    ProblemKind(
        "too-many-requests",
        429,
        "Above a limit; come again after `Retry-After`.",
        "too many requests: the limit of the client",
    ),
    ProblemKind("internal", 500, "A bug. Whether the request had an effect is not known."),
    ProblemKind(
        "unavailable",
        503,
        "The server cannot answer now. What took too long may still take effect: send the request again after "
        "`Retry-After`, with the same `Idempotency-Key`.",
    ),
    ProblemKind(
        "log-in-doubt",
        503,
        "The audit log is not the one that was published before, or lacks its witnesses: no key is released until "
        "the operator has looked into it. Nothing has happened.",
    ),
)
_BY_STATUS_AND_KIND = {(each.status, each.kind): each for each in PROBLEMS}


def error_responses(marked: dict[str, Any], details: dict[str, str]) -> dict[str, Any]:
    """The error responses of an operation, from those that its route has marked, in order of status.

    details: of the operation's examples, by kind; else the kind's own.
    """
    statuses = sorted(status for status, response in marked.items() if MARK in response)
    return {status: _response(int(status), marked[status][MARK], details) for status in statuses}


def _response(status: int, kinds: Iterable[str], details: dict[str, str]) -> dict[str, Any]:
    found = [_BY_STATUS_AND_KIND[status, kind] for kind in kinds]
    examples = {each.kind: {"summary": each.meaning, "value": each.example(details.get(each.kind))} for each in found}
    return {
        "description": " Or: ".join(each.title or _TITLES[each.kind] for each in found) + ".",
        "headers": headers_of(status),
        "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}, "examples": examples}},
    }
