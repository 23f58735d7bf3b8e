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
from keyserver.service.pages import Place
from keyserver.service.ports import Ports
from keyserver.store.grant_search import GrantFilter, search_grants

PAGE = 100
MOST_KEYS = 5000
"""Keys that the grants of a page name all together: a page must stay below `wire.MAX_RESPONSE_BYTES`."""


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
    question = _question(search, caller.tenant, whose)
    with deciding(attempt, writes=False) as session:
        behind = None if search.cursor is None else ports.cursors.decode(search.cursor, question)
        wanted = GrantFilter(
            caller.tenant,
            attempt.now,
            whose,
            search.state,
            search.requested_by,
            search.key_id,
            search.purpose_code,
        )
        rows, more = search_grants(
            session, wanted, None if behind is None else (behind.at, behind.id), search.limit, MOST_KEYS
        )
        following = ports.cursors.encode(Place(rows[-1].requested_at, rows[-1].id), question) if more else None
        grants = [grant_info(row, caller.subject, ports.issuer, attempt.now) for row in rows]
    return GrantPage(grants=grants, next=following)


def _question(search: GrantSearch, tenant: str, whose: str | None) -> list[str]:
    """What a cursor continues: everything but the page's length."""
    key = None if search.key_id is None else str(search.key_id)
    return ["grants", tenant, json.dumps([whose, search.state, search.requested_by, key, search.purpose_code])]
