"""Queries of the newest checkpoint that witnesses have cosigned."""

from __future__ import annotations

from sqlalchemy.orm import Session

from keyserver.store.tables import WitnessedRow

_ID = 1


def newest(session: Session) -> WitnessedRow | None:
    """The row, or None if nothing was cosigned yet."""
    return session.get(WitnessedRow, _ID)


def newest_for_change(session: Session) -> WitnessedRow:
    """The row, locked; made if there is none.  Of two replicas that make it, one fails and comes again."""
    row = session.get(WitnessedRow, _ID, with_for_update=True)
    if row is None:
        row = WitnessedRow(id=_ID, size=0, note="")
        session.add(row)
        session.flush()
    return row
