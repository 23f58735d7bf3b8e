"""Fetching an issuer's keys over HTTP: one bounded exchange, or two with discovery.

1. https with verified certificates, or http on a loopback host; redirects are not followed;
2. the whole takes at most `DEADLINE_SECONDS`, and no answer is read further than its bound;
3. status, content type and content must be what the protocol says;
4. a metadata document counts only if its `issuer` is exactly the configured one
   (OpenID Connect Discovery 1.0, section 4.3; RFC 8414, section 3.3).
"""

from __future__ import annotations

import asyncio
import re
from urllib.parse import urlsplit

import httpx

from keyserver.tokens.issuers import IssuerConfig, is_loopback, split_url
from keyserver.tokens.jwk import MAX_DOCUMENT_BYTES, KeySetRefused, parse_key_set
from keyserver.tokens.jwkscache import Fetched, FetchFailed
from keyserver.tokens.strictjson import parse_json

DEADLINE_SECONDS = 5.0
_JSON = frozenset({"application/json"})
_JWK_SET = frozenset({"application/json", "application/jwk-set+json"})
_MAX_AGE = re.compile(r"max-age=\"?([0-9]{1,10})\"?", re.IGNORECASE)


async def fetch_key_set(config: IssuerConfig, deadline: float = DEADLINE_SECONDS) -> Fetched:
    """The issuer's present keys, and for how long they say they hold.

    `deadline` is in seconds, for everything together.  Raises FetchFailed.
    """
    try:
        async with asyncio.timeout(deadline):
            url = config.jwks_uri or await _discovered(config)
            document, headers = await _get(url, _JWK_SET)
    except TimeoutError:
        raise FetchFailed(f"no answer within {deadline:g} seconds") from None
    except (httpx.HTTPError, httpx.InvalidURL) as cause:
        raise FetchFailed(f"the connection failed: {type(cause).__name__}") from None
    try:
        return Fetched(parse_key_set(document, config.algorithms), _max_age(headers))
    except KeySetRefused as cause:
        raise FetchFailed(str(cause)) from None


async def _discovered(config: IssuerConfig) -> str:
    """The `jwks_uri` of the issuer's metadata document."""
    document, _ = await _get(config.metadata_url or "", _JSON)
    try:
        metadata = parse_json(document)
    except ValueError:
        raise FetchFailed("the metadata document is not strict JSON") from None
    if not isinstance(metadata, dict) or metadata.get("issuer") != config.issuer:
        raise FetchFailed("the metadata document is another issuer's")
    url = metadata.get("jwks_uri")
    try:
        parts = split_url(url) if isinstance(url, str) else None
    except ValueError:
        parts = None
    # A document from elsewhere must not point this server at its own machine's plain ports.
    if parts is None or (parts.scheme == "http" and urlsplit(config.issuer).scheme != "http"):
        raise FetchFailed("the metadata document names no usable jwks_uri")
    return str(url)


async def _get(url: str, media_types: frozenset[str]) -> tuple[bytes, httpx.Headers]:
    async with _client(url) as client, client.stream("GET", url) as response:
        if response.status_code != httpx.codes.OK:
            raise FetchFailed(f"the answer has status {response.status_code}")
        media_type = response.headers.get("content-type", "").partition(";")[0].strip().lower()
        if media_type not in media_types:
            raise FetchFailed("the answer has another content type")
        if response.headers.get("content-encoding", "identity").lower() != "identity":
            raise FetchFailed("the answer is compressed, which was not asked for")
        body = bytearray()
        async for chunk in response.aiter_raw():
            body += chunk
            if len(body) > MAX_DOCUMENT_BYTES:
                raise FetchFailed(f"the answer is longer than {MAX_DOCUMENT_BYTES} bytes")
        return bytes(body), response.headers


def _client(url: str) -> httpx.AsyncClient:
    # A transport of our own keeps a proxy named in the environment away from this machine's own ports.
    transport = httpx.AsyncHTTPTransport() if is_loopback(urlsplit(url).hostname or "") else None
    return httpx.AsyncClient(
        transport=transport,
        follow_redirects=False,
        timeout=DEADLINE_SECONDS,
        # A compressed answer could unpack to any size.
        headers={"accept": "application/jwk-set+json, application/json", "accept-encoding": "identity"},
    )


def _max_age(headers: httpx.Headers) -> int | None:
    """Seconds, by the Cache-Control header (RFC 9111, section 5.2.2); None if it does not say."""
    directives = [part.strip() for part in headers.get("cache-control", "").split(",")]
    if {"no-store", "no-cache"} & {directive.lower() for directive in directives}:
        return 0
    found = (_MAX_AGE.fullmatch(directive) for directive in directives)
    return next((int(match[1]) for match in found if match), None)
