"""Each DPoP proof counts once, on whichever replica it arrives (RFC 9449, section 11.1).

What is kept of a proof is a digest, and that only until no replica accepts it any more, so
the table is as long as a few minutes of requests.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence

from sqlalchemy import delete, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from keyserver.store.tables import ProofRow

KEEP_SECONDS = 300
"""A proof is accepted for 65 seconds; the rest is for replicas whose clocks differ."""
SWEEP = 16
"""As many expired rows at most leave with each one that comes, and two with each of many: a backlog shrinks."""
_INSERT: Mapping[str, Callable[[type[ProofRow]], postgresql.Insert | sqlite.Insert]] = {
    "postgresql": postgresql.insert,
    "sqlite": sqlite.insert,
}


def remember_proof(session: Session, jkt: str, jti: str, now: int) -> bool:
    """Whether the proof is new.  See `remember_proofs`."""
    return remember_proofs(session, [(jkt, jti)], now)[0]


def remember_proofs(session: Session, proofs: Sequence[tuple[str, str]], now: int) -> list[bool]:
    """Whether each proof (`jkt`, `jti`) is new; from now on (seconds since 1970) it is not, to others of this call too.

    True holds once the session's transaction is committed, and is undone with it: whoever
    refuses a request after this must commit the row all the same, or the proof still counts.
    Of two transactions with the same proof, the second waits for the first to end.  To lock
    in one order everywhere, this is called once in a transaction, before grant, key and audit log.
    """
    _sweep(session, now, max(SWEEP, 2 * len(proofs)))
    digests = [_digest(jkt, jti) for jkt, jti in proofs]
    insert = _INSERT[session.get_bind().dialect.name](ProofRow)
    fresh = insert.on_conflict_do_nothing(index_elements=[ProofRow.digest]).returning(ProofRow.digest)
    # Sorted: two replicas with the same proofs in another order would each wait for the other.
    rows = [{"digest": digest, "expires_at": now + KEEP_SECONDS} for digest in sorted(set(digests))]
    unused = set(session.scalars(fresh, rows)) if rows else set()
    outcomes = []
    for digest in digests:
        outcomes.append(digest in unused)
        unused.discard(digest)
    return outcomes


def _digest(jkt: str, jti: str) -> bytes:
    # A thumbprint has 43 characters, so that no two pairs give the same text.
    return hashlib.sha256(f"{jkt}|{jti}".encode()).digest()


def _sweep(session: Session, now: int, most: int) -> None:
    oldest = select(ProofRow.digest).where(ProofRow.expires_at <= now).order_by(ProofRow.expires_at).limit(most)
    # What another replica is deleting is left to it.  As a common table expression it is read once:
    # PostgreSQL may run a subquery with a lock again for every row.
    expired = oldest.with_for_update(skip_locked=True).cte("expired")
    gone = delete(ProofRow).where(ProofRow.digest.in_(select(expired.c.digest)))
    session.execute(gone, execution_options={"synchronize_session": False})
