"""Finding keys on a key server: by what is known of them, or by the photo."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TypedDict
from urllib.parse import urlencode

from faceseal import wire
from faceseal.client.connection import Connection
from faceseal.client.request import protocol_request
from faceseal.errors import RequestRejected, ServerMisbehaved


class Wanted(TypedDict, total=False):
    """What keys may be searched by besides labels; times are whole seconds since 1970-01-01 UTC."""

    state: wire.KeyState
    created_by: str
    created_after: int
    """Created then or later."""
    created_before: int
    """Created earlier than that."""


def search(connection: Connection, labels: Mapping[str, str], wanted: Wanted) -> Iterator[wire.KeyInfo]:
    """All keys that fit, newest first; a page is asked for when it is needed.  Raises as `KeyServer` does."""
    texts = [wire.label_text(name, value) for name, value in labels.items()]
    request = protocol_request(wire.SearchKeys, label=texts, **wanted)
    seen: set[str] = set()
    while True:
        page = connection.get(_with_query("/v1/keys", request.model_dump(mode="json", exclude_none=True)), wire.KeyPage)
        yield from page.keys
        if page.next is None:
            return
        if page.next in seen:
            raise ServerMisbehaved("the key server's list of keys goes in a circle; ask its operator")
        seen.add(page.next)
        request = request.model_copy(update={"cursor": page.next})


def look_up(connection: Connection, sealed_digest: bytes | None, perceptual_hash: bytes | None) -> list[wire.KeyMatch]:
    """The keys of a photo, nearest first.

    Raises RequestRejected unless exactly one is given, and as `KeyServer` does.
    """
    given = {"sealed_digest": sealed_digest, "perceptual_hash": perceptual_hash}
    query = {name: wire.encode_base64url(value) for name, value in given.items() if value is not None}
    if len(query) != 1:
        raise RequestRejected("name either the photo's digest or its perceptual hash")
    return connection.get(_with_query("/v1/keys/lookup", query), wire.KeyMatches).matches


def _with_query(path: str, values: Mapping[str, object]) -> str:
    return f"{path}?{urlencode(values, doseq=True)}"
