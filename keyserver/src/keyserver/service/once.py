"""Requests that take effect once, however often they are sent (`Idempotency-Key`).

Rules (draft-ietf-httpapi-idempotency-key-header):
1. the key is remembered in the very transaction of the effect: either both are on disk or neither;
2. the same request again gets the same answer, if the caller still has the scope; another
   request under the same key gets `KeyReused`; one that still runs, `StillRunning`;
3. what was refused had no effect and is not remembered: sent again, it is decided again;
4. answers may hold a grant's token, so they are kept sealed under the tenant's KEK.

Releases share transactions, and have their own way: see `keyserver.service.repeated`.
"""

from __future__ import annotations

import hashlib
import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

from sqlalchemy.orm import Session

from keyserver import keywrap, metrics
from keyserver.actions import Action
from keyserver.errors import Conflict, KeyReused, KeyServerError, StillRunning, Unavailable, WrapBroken
from keyserver.keywrap.aead import NONCE_BYTES
from keyserver.keywrap.answers import AnswerKey
from keyserver.policy import Caller
from keyserver.service.deciding import Attempt, deciding
from keyserver.service.ports import Ports
from keyserver.store import idempotency, queries
from keyserver.store.joined import JoinedDatabase
from keyserver.store.tables import KekRow, RepeatRow

_log = logging.getLogger(__name__)
_NOT_KEPT = "the request has taken effect; its answer was not kept"


@dataclass(frozen=True)
class Once:
    """Which request this is.  id: of tenant, subject and key; request: of method, path and body; both digests."""

    id: bytes
    request: bytes

    @classmethod
    def of(cls, caller: Caller, key: str, method: str, path: str, body: bytes) -> Once:
        """The same for the same request of the same caller, and for no other."""
        return cls(
            _digest(caller.tenant.encode(), caller.subject.encode(), key.encode()),
            _digest(method.encode(), path.encode(), body),
        )


@dataclass(frozen=True)
class Answer:
    """An answer as it is sent."""

    status: int
    body: bytes


class Running:
    """The requests with a key that this process works on at this moment."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._ids: set[bytes] = set()

    @contextmanager
    def claimed(self, once: Once) -> Iterator[None]:
        """Raises StillRunning if somebody else has it."""
        with self._lock:
            if once.id in self._ids:
                raise StillRunning
            self._ids.add(once.id)
        try:
            yield
        finally:
            with self._lock:
                self._ids.discard(once.id)


def perform(ports: Ports, caller: Caller, action: Action, once: Once, work: Callable[[Ports], Answer]) -> Answer:
    """What `work` answers, or has answered to this request before.

    `work` gets ports whose transactions are parts of the one that remembers the key.
    Raises KeyReused, StillRunning, Conflict if the answer was not kept, and what `work` raises.
    """
    now = ports.clock()
    outcome: Answer | KeyServerError
    with ports.database.writing() as session:
        if not idempotency.lock(session, [once.id]):
            raise StillRunning
        joined = JoinedDatabase(ports.database, session)
        inside = replace(ports, database=joined)
        known = idempotency.found(session, [once.id], now).get(once.id)
        sealing = None if known else _sealing(session, ports, caller.tenant)
        joined.wrote = False
        try:
            outcome = work(inside) if known is None else _given_again(session, inside, caller, action, once, known)
        except KeyServerError as refused:
            outcome = refused
        else:
            if known is None and joined.wrote:
                idempotency.add(session, [_row(caller, once, outcome, sealing, ports, now)], now)
    for record in joined.afterwards:
        # A refusal goes on record before it is answered.
        record()
    if isinstance(outcome, KeyServerError):
        raise outcome
    return outcome


def require_same(once: Once, known: RepeatRow) -> None:
    """Raises KeyReused if the key was used for another request."""
    if known.request != once.request:
        raise KeyReused


def _given_again(
    session: Session, inside: Ports, caller: Caller, action: Action, once: Once, known: RepeatRow
) -> Answer:
    # Whoever may not ask any more is refused like anybody else, on record.
    with deciding(Attempt(inside, caller, action, inside.clock())):
        require_same(once, known)
    if known.answer is None or known.kek_epoch is None:
        raise Conflict(_NOT_KEPT)
    row = session.get(KekRow, (caller.tenant, known.kek_epoch))
    try:
        body = _answer_key(inside, row).open(known.answer, once.id + once.request) if row else None
    except WrapBroken:
        body = None
    if body is None:
        raise Conflict(_NOT_KEPT)
    metrics.count_replayed()
    return Answer(known.status, body)


def _sealing(session: Session, ports: Ports, tenant: str) -> tuple[AnswerKey, int] | None:
    """Opened before anything is locked, for the root may take its time.

    None if the root does not answer: revoking, for one, must not depend on it.
    """
    row = queries.current_kek(session, tenant)
    try:
        return None if row is None else (_answer_key(ports, row), row.epoch)
    except Unavailable as failure:
        _log.warning("an answer will not be kept: %s", failure)
        return None


def _answer_key(ports: Ports, row: KekRow) -> AnswerKey:
    if not row.wrapped:
        raise WrapBroken("the answer's KEK was destroyed")
    return AnswerKey(ports.root.unwrap(row.wrapped, keywrap.kek_context(row.tenant, row.epoch)))


def _row(
    caller: Caller, once: Once, answer: Answer, sealing: tuple[AnswerKey, int] | None, ports: Ports, now: int
) -> RepeatRow:
    sealed, epoch = None, None
    if sealing is not None:
        key, epoch = sealing
        sealed = key.seal(answer.body, once.id + once.request, ports.random(NONCE_BYTES))
    return RepeatRow(
        id=once.id,
        tenant=caller.tenant,
        request=once.request,
        status=answer.status,
        kek_epoch=epoch,
        answer=sealed,
        expires_at=now + idempotency.KEEP_SECONDS,
    )


def _digest(*parts: bytes) -> bytes:
    # Each part after its length: no two lists of parts give the same bytes.
    return hashlib.sha256(b"".join(len(part).to_bytes(8) + part for part in parts)).digest()
