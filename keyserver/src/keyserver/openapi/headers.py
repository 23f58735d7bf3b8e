"""The headers of requests and answers that no model describes."""

from __future__ import annotations

from typing import Any

from keyserver.tokens.dpop import MAX_PROOF_CHARACTERS

_JWT = r"^[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+$"

REQUEST_ID = {
    "name": "X-Request-Id",
    "in": "header",
    "required": False,
    "description": "1 to 64 of `A-Z a-z 0-9 . _ -`: the request is called so in the server's logs and in the "
    "answer. Anything else is not taken over.",
    "schema": {"type": "string"},
    "example": "7f3c2a",
}
IDEMPOTENCY_KEY = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "description": "Chosen by the client, 1 to 128 printable characters in quotes. For 24 hours the same request "
    "under the same key takes effect once, and gets the same answer.",
    "schema": {
        "type": "string",
        "pattern": r'^(?:"[\x20\x21\x23-\x5b\x5d-\x7e]{1,128}"|[A-Za-z0-9._:~+/=-]{1,128})$',
    },
    "example": '"9e2f4c1a-6d0b"',
}

RESPONSE_HEADERS: dict[str, dict[str, Any]] = {
    "X-Request-Id": {
        "description": "What the request is called in the server's logs.",
        "required": True,
        "schema": {"type": "string", "pattern": "^[A-Za-z0-9._-]{1,64}$"},
        "example": "7f3c2a",
    },
    "Cache-Control": {
        "description": "No answer belongs in a cache.",
        "required": True,
        "schema": {"type": "string", "const": "no-store"},
    },
    "DPoP-Nonce": {
        "description": "For the next proof (RFC 9449, section 8.2); in every answer to a request with `DPoP`.",
        "schema": {"type": "string", "pattern": "^[A-Za-z0-9_-]{43}$"},
        "example": "H3mUqzFCj5o0v8pZ1kX2bYwTn7sRgL4dQeAi6cVfK9E",
    },
    "WWW-Authenticate": {
        "description": "What to bring along (RFC 6750, RFC 9449): of a proof also what is wrong with it.",
        "required": True,
        "schema": {"type": "string"},
        "example": 'DPoP error="use_dpop_nonce", algs="EdDSA ES256"',
    },
    "Retry-After": {
        "description": "Seconds after which to come again.",
        "required": True,
        "schema": {"type": "integer", "minimum": 1},
        "example": 1,
    },
    "Retry-After-If-Running": {
        "description": "Seconds after which to come again, if the same request still runs.",
        "schema": {"type": "integer", "minimum": 1},
        "example": 1,
    },
    "RateLimit-Policy": {
        "description": "The limit: whose, how many at once (`q`), in how many seconds they come back (`w`).",
        "required": True,
        "schema": {"type": "string"},
        "example": '"client";q=1000;w=10',
    },
    "RateLimit": {
        "description": "What is left of it (`r`), and in how many seconds there is more (`t`).",
        "required": True,
        "schema": {"type": "string"},
        "example": '"client";r=0;t=1',
    },
}
"""As components; the one that is not called as its header is says of which it is one."""
_EVERY = ("X-Request-Id", "Cache-Control")
_OF_STATUS = {
    401: {"WWW-Authenticate": "WWW-Authenticate"},
    409: {"Retry-After": "Retry-After-If-Running"},
    429: {"Retry-After": "Retry-After", "RateLimit-Policy": "RateLimit-Policy", "RateLimit": "RateLimit"},
    503: {"Retry-After": "Retry-After"},
}


def proof_header(required: bool) -> dict[str, Any]:
    """The parameter for a DPoP proof."""
    return {
        "name": "DPoP",
        "in": "header",
        "required": required,
        "description": "Proof of the client's key for this very request (RFC 9449, section 4.2), with `ath` and "
        "`nonce`. " + ("Needed always." if required else "Needed if the access token is bound to a key."),
        "schema": {"type": "string", "maxLength": MAX_PROOF_CHARACTERS, "pattern": _JWT},
        "example": "eyJ0eXAiOiJkcG9wK2p3dCJ9.eyJodG0iOiJQT1NUIn0.c2lnbmF0dXJl",
    }


def headers_of(status: int, authenticated: bool = True) -> dict[str, Any]:
    """OpenAPI's `headers` of an answer."""
    every = {name: name for name in (*_EVERY, *(("DPoP-Nonce",) if authenticated else ()))}
    named = every | (_OF_STATUS.get(status, {}) if authenticated else {})
    return {name: {"$ref": f"#/components/headers/{component}"} for name, component in named.items()}
