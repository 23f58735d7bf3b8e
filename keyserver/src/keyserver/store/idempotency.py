"""Requests that took effect, under the Idempotency-Key that they came with, and what they were answered."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from sqlalchemy import delete, select, text
from sqlalchemy.orm import Session

from keyserver.store.tables import RepeatRow

KEEP_SECONDS = 24 * 3600
SWEEP = 16
"""As many expired rows at most leave with each one that comes, and two with each of many: a backlog shrinks."""


def lock(session: Session, ids: Collection[bytes]) -> set[bytes]:
    """Those of the ids that no other transaction works on at this moment; they are this one's until it ends.

    Waits for nobody.  To be called before `found`, in a statement of its own: what another
    transaction has just committed must be seen.
    """
    if not ids or session.get_bind().dialect.name == "sqlite":
        # There is one writing transaction at a time.
        return set(ids)
    numbers = {int.from_bytes(one[:8], signed=True): one for one in ids}
    taken = text("SELECT n FROM unnest(CAST(:numbers AS bigint[])) AS n WHERE pg_try_advisory_xact_lock(n)")
    return {numbers[number] for number in session.scalars(taken, {"numbers": list(numbers)})}


def found(session: Session, ids: Collection[bytes], now: int) -> dict[bytes, RepeatRow]:
    """What is known of these ids, and not older than it counts."""
    if not ids:
        return {}
    rows = select(RepeatRow).where(RepeatRow.id.in_(ids), RepeatRow.expires_at > now)
    return {row.id: row for row in session.scalars(rows)}


def add(session: Session, rows: Sequence[RepeatRow], now: int) -> None:
    """Keep these, whose ids are locked and not `found`, and let some of the expired ones go."""
    if not rows:
        return
    oldest = select(RepeatRow.id).where(RepeatRow.expires_at <= now).order_by(RepeatRow.expires_at)
    # What another replica is deleting is left to it.
    oldest = oldest.limit(max(SWEEP, 2 * len(rows))).with_for_update(skip_locked=True)
    expired = oldest.cte("expired")
    gone = delete(RepeatRow).where(RepeatRow.id.in_(select(expired.c.id)))
    session.execute(gone, execution_options={"synchronize_session": False})
    # The same ids may have been used more than a day ago.
    again = delete(RepeatRow).where(RepeatRow.id.in_([row.id for row in rows]))
    session.execute(again, execution_options={"synchronize_session": False})
    session.add_all(rows)
    session.flush()
