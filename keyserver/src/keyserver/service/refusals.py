"""What was refused, on record: many refusals in one transaction, for none has an effect of its own.

Whoever is refused waits until it is durable, but a thousand refusals cost no more commits
than their number divided by those that come together: asking for what one may not have is no
way to keep others from the log (see `combining`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from keyserver import audit, metrics
from keyserver.audit import Entry
from keyserver.proof import Proof
from keyserver.service.combining import Combining
from keyserver.store.database import Database
from keyserver.store.replay import remember_proofs


@dataclass(frozen=True)
class Refusal:
    """An entry, the proof that came along and counts no more, and when that was (seconds since 1970)."""

    database: Database
    entry: Entry
    proof: Proof | None
    now: int


class Refusals:
    """Those of one process."""

    def __init__(self) -> None:
        self._combining: Combining[Refusal, None] = Combining(_record_all)

    def record(self, refusal: Refusal) -> None:
        """Returns once it is durably on record.  Raises StoreUnavailable."""
        self._combining.run(refusal)


def _record_all(refusals: Sequence[Refusal]) -> list[None]:
    # A process has one database; one that stands in for it, as in tests, has its own transaction.
    for database in dict.fromkeys(each.database for each in refusals):
        _record_in(database, [each for each in refusals if each.database is database])
    return [None] * len(refusals)


def _record_in(database: Database, refusals: Sequence[Refusal]) -> None:
    proofs = [(each.proof.jkt, each.proof.jti) for each in refusals if each.proof is not None]
    with database.writing() as session:
        # What was undone has forgotten the proofs; once refused, they are not to be tried again elsewhere.
        if proofs:
            remember_proofs(session, proofs, max(each.now for each in refusals))
        audit.record_all(session, [each.entry for each in refusals])
    for each in refusals:
        metrics.count_decision(each.entry)
