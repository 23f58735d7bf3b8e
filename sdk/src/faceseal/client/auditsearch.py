"""Reading a key server's audit log, for auditors."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypedDict, TypeVar
from urllib.parse import urlencode
from uuid import UUID

from pydantic import BaseModel

from faceseal import wire
from faceseal.client.connection import Connection
from faceseal.client.request import protocol_request
from faceseal.errors import RequestRejected, ServerMisbehaved

Page = TypeVar("Page", wire.AuditPage, wire.PhotoHistory)


class WantedEntries(TypedDict, total=False):
    """What entries may be searched by; times are whole seconds since 1970-01-01 UTC."""

    key_id: UUID
    grant_id: UUID
    actor: str
    """By name; who was erased is found by no name."""
    action: str
    """Such as release, or grant.approve."""
    outcome: wire.AuditOutcome
    after: int
    """Then or later."""
    before: int
    """Earlier than that."""


@dataclass(frozen=True)
class SeenBy:
    """Who has seen a photo.  keys: those that it may be sealed with, nearest first; entries: newest first.

    first_kept: entries before this number were put away, and are not among them.
    """

    keys: Sequence[wire.KeyMatch]
    entries: Sequence[wire.AuditEntry]
    first_kept: int = 0


class FoundEntries(Iterator[wire.AuditEntry]):
    """Entries, newest first; a page is asked for when it is needed."""

    def __init__(self, pages: Iterator[wire.AuditPage]) -> None:
        self.first_kept = 0
        """Entries before this number were put away, and are not among them; known once the first was taken."""
        self._entries = self._of(pages)

    def __next__(self) -> wire.AuditEntry:
        """The next one, older."""
        return next(self._entries)

    def _of(self, pages: Iterator[wire.AuditPage]) -> Iterator[wire.AuditEntry]:
        for page in pages:
            self.first_kept = page.first_kept
            yield from page.entries


def search_audit(connection: Connection, wanted: WantedEntries) -> FoundEntries:
    """All entries that fit, newest first; a page is asked for when it is needed.  Raises as `KeyServer` does."""
    asked = protocol_request(wire.SearchAudit, **wanted)
    return FoundEntries(_pages(connection, "/v1/audit/entries", asked, wire.AuditPage))


def who_has_seen(
    connection: Connection, key_id: UUID | None, sealed_digest: bytes | None, perceptual_hash: bytes | None
) -> SeenBy:
    """All that the log says of the photo's keys.

    Raises RequestRejected unless exactly one is given, and as `KeyServer` does.
    """
    if [key_id, sealed_digest, perceptual_hash].count(None) != 2:
        raise RequestRejected("name the photo by its key, its digest or its perceptual hash")
    asked = protocol_request(
        wire.SearchPhoto, key_id=key_id, sealed_digest=sealed_digest, perceptual_hash=perceptual_hash
    )
    pages = list(_pages(connection, "/v1/audit/photo", asked, wire.PhotoHistory))
    return SeenBy(pages[0].keys, [entry for page in pages for entry in page.entries], pages[-1].first_kept)


def _pages(connection: Connection, path: str, asked: BaseModel, kind: type[Page]) -> Iterator[Page]:
    query = asked.model_dump(mode="json", exclude_none=True)
    seen: set[str] = set()
    while True:
        page = connection.get(f"{path}?{urlencode(query)}", kind)
        yield page
        if page.next is None:
            return
        if page.next in seen:
            raise ServerMisbehaved("the key server's list of entries goes in a circle; ask its operator")
        seen.add(page.next)
        query["cursor"] = page.next
