"""Searching a tenant's grants, newest first, a page at a time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import ColumnElement, and_, func, literal, not_, or_, select, tuple_
from sqlalchemy.orm import Session, selectinload

from faceseal.wire import GrantState, PurposeCode
from keyserver.store.tables import GrantKeyRow, GrantRow


@dataclass(frozen=True)
class GrantFilter:
    """What the grants must have in common; None: it does not matter.  `state` is the one at `now`."""

    tenant: str
    now: int
    visible_to: str | None = None
    """Only what this subject requested."""
    state: GrantState | None = None
    requested_by: str | None = None
    key_id: UUID | None = None
    purpose_code: PurposeCode | None = None


def search_grants(
    session: Session, wanted: GrantFilter, before: tuple[int, UUID] | None, limit: int, most_keys: int
) -> tuple[Sequence[GrantRow], bool]:
    """At most `limit` grants with, all together, at most `most_keys` keys; and whether there are more.

    They come from behind the place `before` (time of the request, id) on.
    One grant is found even if it alone has more keys.
    """
    count = select(func.count()).where(GrantKeyRow.grant_id == GrantRow.id).correlate(GrantRow).scalar_subquery()
    found = select(GrantRow.id, count).where(*_conditions(wanted))
    if before is not None:
        behind = tuple_(literal(before[0]), literal(before[1], GrantRow.id.type))
        found = found.where(tuple_(GrantRow.requested_at, GrantRow.id) < behind)
    newest = found.order_by(GrantRow.requested_at.desc(), GrantRow.id.desc()).limit(limit + 1)
    sizes = [(row[0], row[1]) for row in session.execute(newest)]
    page = [grant_id for grant_id, _ in sizes[: _fitting([size for _, size in sizes[:limit]], most_keys)]]
    # A page's grants are loaded only now that it is known how long it is.
    rows = session.scalars(select(GrantRow).where(GrantRow.id.in_(page)).options(selectinload(GrantRow.approvals)))
    by_id = {row.id: row for row in rows}
    return [by_id[grant_id] for grant_id in page], len(page) < len(sizes)


def _fitting(sizes: Sequence[int], most: int) -> int:
    total = 0
    for number, size in enumerate(sizes):
        total += size
        if total > most and number > 0:
            return number
    return len(sizes)


def _conditions(wanted: GrantFilter) -> list[ColumnElement[bool]]:
    conditions: list[ColumnElement[bool]] = [GrantRow.tenant == wanted.tenant]
    if wanted.visible_to is not None:
        conditions.append(GrantRow.requested_by == wanted.visible_to)
    if wanted.state is not None:
        conditions.append(_in_state(wanted.now)[wanted.state])
    if wanted.requested_by is not None:
        conditions.append(GrantRow.requested_by == wanted.requested_by)
    if wanted.key_id is not None:
        named = select(GrantKeyRow.grant_id).where(GrantKeyRow.key_id == wanted.key_id)
        conditions.append(GrantRow.id.in_(named))
    if wanted.purpose_code is not None:
        conditions.append(GrantRow.purpose_code == wanted.purpose_code)
    return conditions


def _in_state(now: int) -> Mapping[GrantState, ColumnElement[bool]]:
    """As `keyserver.policy.grant_state` has it."""
    bound = GrantRow.jkt.is_not(None)
    approved, pending = GrantRow.state == GrantState.APPROVED, GrantRow.state == GrantState.PENDING
    used_up, over = GrantRow.uses_left <= 0, GrantRow.expires_at <= now
    return {
        GrantState.PENDING: and_(pending, bound),
        GrantState.DENIED: GrantRow.state == GrantState.DENIED,
        GrantState.REVOKED: GrantRow.state == GrantState.REVOKED,
        GrantState.EXHAUSTED: and_(approved, bound, used_up),
        GrantState.EXPIRED: or_(and_(or_(approved, pending), not_(bound)), and_(approved, not_(used_up), over)),
        GrantState.APPROVED: and_(approved, bound, not_(used_up), not_(over)),
    }
