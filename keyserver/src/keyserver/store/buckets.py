"""Token buckets that replicas share."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import delete, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from keyserver.rates import Bucket, Rate, Taken, full, full_at, take
from keyserver.store.tables import BucketRow

SWEEP = 16
_INSERT: Mapping[str, Callable[[type[BucketRow]], postgresql.Insert | sqlite.Insert]] = {
    "postgresql": postgresql.insert,
    "sqlite": sqlite.insert,
}


@dataclass(frozen=True)
class Wanted:
    """A slice of a bucket, and no less than `least` actions; `unspent` come back to it before."""

    id: bytes
    rate: Rate
    unspent: int
    least: int = 1


def take_from_all(session: Session, wanted: Sequence[Wanted], now: int) -> list[Taken]:
    """From each bucket what is wanted; nothing happens if one of them has too little.

    `now` is in ms.  Buckets that were not used for long are full, and made here.
    """
    _sweep(session, now)
    ids = sorted({one.id for one in wanted})
    fresh = [_values(one.id, full(one.rate, now), one.rate) for one in wanted]
    insert = _INSERT[session.get_bind().dialect.name](BucketRow)
    # In one order everywhere, and so never in a circle.
    session.execute(insert.on_conflict_do_nothing(), sorted(fresh, key=lambda row: bytes(row["id"])))
    found = select(BucketRow).where(BucketRow.id.in_(ids)).order_by(BucketRow.id).with_for_update()
    rows = {row.id: row for row in session.scalars(found)}
    taken = [
        take(_bucket(rows[one.id]), one.rate, now, max(one.rate.slice, one.least), one.unspent, one.least)
        for one in wanted
    ]
    if all(one.actions for one in taken):
        for asked, one in zip(wanted, taken, strict=True):
            row = rows[asked.id]
            row.tokens, row.refilled_at = one.bucket.tokens, one.bucket.refilled_at
            row.full_at = full_at(one.bucket, asked.rate)
    return taken


def _bucket(row: BucketRow) -> Bucket:
    return Bucket(row.tokens, row.refilled_at)


def _values(name: bytes, bucket: Bucket, rate: Rate) -> dict[str, bytes | int]:
    return {
        "id": name,
        "tokens": bucket.tokens,
        "refilled_at": bucket.refilled_at,
        "full_at": full_at(bucket, rate),
    }


def _sweep(session: Session, now: int) -> None:
    # A bucket that is full again says no more than none; an hour, for replicas whose clocks differ.
    oldest = select(BucketRow.id).where(BucketRow.full_at <= now - 3_600_000).order_by(BucketRow.full_at).limit(SWEEP)
    expired = oldest.with_for_update(skip_locked=True).cte("expired")
    gone = delete(BucketRow).where(BucketRow.id.in_(select(expired.c.id)))
    session.execute(gone, execution_options={"synchronize_session": False})
