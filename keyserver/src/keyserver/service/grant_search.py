"""Listing and searching grants."""

from __future__ import annotations

import json
from dataclasses import dataclass
from uuid import UUID

from faceseal.wire import GrantPage, GrantState, PurposeCode, Scope
from keyserver.actions import Action
from keyserver.policy import Caller
from keyserver.service.deciding import Attempt, deciding
from keyserver.service.facts import grant_info
from keyserver.service.ports import Ports
from keyserver.store.grant_search import GrantFilter, Place, search_grants
from keyserver.store.tables import GrantRow

PAGE = 100
MOST_KEYS = 5000
"""Keys that the grants of a page name all together: a page must stay below `wire.MAX_RESPONSE_BYTES`."""
_TIME_BYTES = 8


@dataclass(frozen=True)
class GrantSearch:
    """What a caller looks for; None: it does not matter."""

    state: GrantState | None = None
    requested_by: str | None = None
    key_id: UUID | None = None
    purpose_code: PurposeCode | None = None
    cursor: str | None = None
    limit: int = PAGE


def list_grants(ports: Ports, caller: Caller, search: GrantSearch) -> GrantPage:
    """The newest grants that fit: of the caller's own, or of the tenant's for an approver.

    Raises AccessDenied, RequestInvalid if the cursor is not one of this search, Unavailable.
    """
    attempt = Attempt(ports, caller, Action.READ_GRANTS, ports.clock())
    whose = None if Scope.GRANTS_APPROVE in caller.scopes else caller.subject
    query = _canonical(search, whose)
    with deciding(attempt, writes=False) as session:
        after = None if search.cursor is None else _place(ports.cursors.open(caller.tenant, query, search.cursor))
        wanted = GrantFilter(
            caller.tenant,
            attempt.now,
            whose,
            search.state,
            search.requested_by,
            search.key_id,
            search.purpose_code,
        )
        rows, more = search_grants(session, wanted, after, search.limit, MOST_KEYS)
        cursor = ports.cursors.issue(caller.tenant, query, _position(rows[-1])) if more else None
        grants = [grant_info(row, caller.subject, ports.issuer, attempt.now) for row in rows]
    return GrantPage(grants=grants, cursor=cursor)


def _canonical(search: GrantSearch, whose: str | None) -> str:
    """What a cursor continues: everything but the page's length."""
    key = None if search.key_id is None else str(search.key_id)
    return json.dumps(["grants", whose, search.state, search.requested_by, key, search.purpose_code])


def _position(row: GrantRow) -> bytes:
    return row.requested_at.to_bytes(_TIME_BYTES) + row.id.bytes


def _place(position: bytes) -> Place:
    return Place(int.from_bytes(position[:_TIME_BYTES]), UUID(bytes=position[_TIME_BYTES:]))
