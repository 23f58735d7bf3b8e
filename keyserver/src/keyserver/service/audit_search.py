"""Searching the audit log, and the history of one photo: for auditors, of their own tenant, and on record.

A search opens what the log says of people, so it is an entry itself (`audit.search`), written
before it is answered: what was asked, and for a person their pseudonym.  The pages that follow
the first belong to the same search: their cursor is the searcher's own.
"""

from __future__ import annotations

from dataclasses import replace
from uuid import UUID

from sqlalchemy.orm import Session

from faceseal.wire import AuditEntry, AuditPage, KeyMatch, PhotoHistory, SearchAudit, SearchPhoto
from keyserver import audit
from keyserver.actions import Action
from keyserver.audit import Entry, Outcome, indexing
from keyserver.errors import RequestInvalid, Unavailable
from keyserver.policy import Caller
from keyserver.service.deciding import Attempt, deciding
from keyserver.service.entries import shown
from keyserver.service.facts import key_info
from keyserver.service.lookup import matches
from keyserver.service.pages import Place
from keyserver.service.ports import Ports
from keyserver.store import index, log, queries, subjects
from keyserver.store.index import EntryFilter

MOST_LEAF_BYTES = 200_000
"""Of the leaves of a page all together: with what they say beside them it must stay below `wire.MAX_RESPONSE_BYTES`."""
MOST_TO_INDEX = 5000
"""Entries that a search adds to the index before it begins, if servers of a version before have appended them."""
_NOBODY = UUID(int=0)


def search_audit(ports: Ports, caller: Caller, search: SearchAudit) -> AuditPage:
    """The tenant's entries that fit, newest first, a page of them.

    Raises RequestInvalid if the cursor was made for another search, or for somebody else,
    AccessDenied, Unavailable (also while the index is made again, or the root does not answer).
    """
    attempt = Attempt(ports, caller, Action.SEARCH_AUDIT, ports.clock(), search.key_id, search.grant_id)
    question = _question("audit entries", caller, search.model_dump_json(exclude={"cursor", "limit"}))
    person = None
    with deciding(attempt, writes=False) as session:
        behind = _behind(ports, search.cursor, question)
        _catch_up(ports)
        if search.actor is not None:
            person = subjects.pseudonym(session, caller.tenant, search.actor)
        wanted = EntryFilter(
            key_id=search.key_id,
            grant_id=search.grant_id,
            actor=None if search.actor is None else (person or _NOBODY, search.actor),
            action=search.action,
            outcome=None if search.outcome is None else search.outcome.value,
            after=search.after,
            before=search.before,
        )
        found = index.search(session, caller.tenant, wanted, behind, search.limit + 1)
        page, following = _page(ports, found, search.limit, question)
        entries = shown(session, ports.root, caller.tenant, [leaf for _, leaf in page])
        first_kept = log.first_kept(session)
    if behind is None:
        _record(ports, replace(attempt.entry(Outcome.ALLOWED), about=person))
    return AuditPage(entries=entries, next=following, first_kept=first_kept)


def photo_history(ports: Ports, caller: Caller, search: SearchPhoto) -> PhotoHistory:
    """What the tenant's log says of a photo's keys, newest first, a page of it.

    Searches of the log are left out.  Raises as `search_audit` does, and RequestInvalid unless
    exactly one of key, digest and hash is given.
    """
    attempt = Attempt(ports, caller, Action.SEARCH_AUDIT, ports.clock(), search.key_id)
    question = _question("audit photo", caller, search.model_dump_json(exclude={"cursor", "limit"}))
    with deciding(attempt, writes=False) as session:
        if [search.key_id, search.sealed_digest, search.perceptual_hash].count(None) != 2:
            raise RequestInvalid("name the photo by one of key_id, sealed_digest and perceptual_hash")
        behind = _behind(ports, search.cursor, question)
        _catch_up(ports)
        keys = _keys(session, caller.tenant, search)
        key_ids = [match.key.id for match in keys] if search.key_id is None else [search.key_id]
        found = index.of_keys(session, caller.tenant, key_ids, Action.SEARCH_AUDIT, behind, search.limit + 1)
        page, following = _page(ports, found, search.limit, question)
        entries = shown(session, ports.root, caller.tenant, [leaf for _, leaf in page])
        purposes = _purposes(session, ports, caller.tenant, entries)
        first_kept = log.first_kept(session)
    if behind is None:
        asked = attempt.entry(Outcome.ALLOWED)
        _record(ports, asked if search.key_id is not None else replace(asked, key_ids=tuple(key_ids)))
    said = [_with_purpose(entry, purposes) for entry in entries]
    return PhotoHistory(keys=keys, entries=said, next=following, first_kept=first_kept)


def _keys(session: Session, tenant: str, search: SearchPhoto) -> list[KeyMatch]:
    if search.key_id is not None:
        return [KeyMatch(key=key_info(row), distance=0) for row in queries.keys_of(session, tenant, [search.key_id])]
    return matches(session, tenant, search.sealed_digest, search.perceptual_hash)


def _purposes(session: Session, ports: Ports, tenant: str, entries: list[AuditEntry]) -> dict[UUID, AuditEntry]:
    """By grant: the entry with which it was made, which says what for."""
    grants = {entry.grant_id for entry in entries if entry.grant_id is not None}
    made = (Action.REQUEST_GRANT, Action.BREAK_GLASS)
    leaves = index.of_grants(session, tenant, grants, made, Outcome.ALLOWED.value)
    return {entry.grant_id: entry for entry in shown(session, ports.root, tenant, leaves) if entry.grant_id}


def _with_purpose(entry: AuditEntry, purposes: dict[UUID, AuditEntry]) -> AuditEntry:
    made = None if entry.grant_id is None else purposes.get(entry.grant_id)
    if made is None or entry.purpose_code is not None:
        return entry
    said = {"purpose_code": made.purpose_code, "purpose": made.purpose, "reference": made.reference}
    return entry.model_copy(update=said)


def _question(kind: str, caller: Caller, asked: str) -> list[str]:
    """What a cursor continues, and for whom: a search that somebody else began is not on record for the reader."""
    return [kind, caller.tenant, caller.subject, asked]


def _behind(ports: Ports, cursor: str | None, question: list[str]) -> index.Place | None:
    if cursor is None:
        return None
    place = ports.cursors.decode(cursor, question)
    return place.at, place.id.int


def _page(
    ports: Ports, found: list[tuple[index.Place, str]], limit: int, question: list[str]
) -> tuple[list[tuple[index.Place, str]], str | None]:
    """As many as are asked for and fit into an answer, at least one; and the cursor if there are more."""
    page: list[tuple[index.Place, str]] = []
    total = 0
    for one in found[:limit]:
        total += len(one[1].encode())
        if page and total > MOST_LEAF_BYTES:
            break
        page.append(one)
    if len(page) == len(found):
        return page, None
    at, number = page[-1][0]
    return page, ports.cursors.encode(Place(at, UUID(int=number)), question)


def _catch_up(ports: Ports) -> None:
    """Nothing is answered from an index that does not know all entries.

    To be called before the search has read anything: it must see what is done here.
    """
    with ports.database.reading() as session:
        missing = log.unindexed(session)
    if missing > MOST_TO_INDEX:
        raise Unavailable("the audit log's index is not complete; the operator must run: keyserver audit reindex")
    while missing > 0:
        with ports.database.writing() as session:
            indexed, size = indexing.extend(session)
        missing = size - indexed


def _record(ports: Ports, entry: Entry) -> None:
    with ports.database.writing() as session:
        audit.append(session, entry)
