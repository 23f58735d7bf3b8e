"""The frame of every request: decide, act and record in one transaction.

- Allowed: the effect and its audit entry are committed together when the block ends.
- Refused: the block is undone, the refusal is recorded with its reason in another transaction,
  with what others are refused at that moment, and only then does the caller get an answer that
  does not tell the reason.
- If an entry cannot be written there is no effect, no release, and no other answer than
  `Unavailable`.
- A proof that came along counts once, for a change or for a refusal; reading leaves it as it is.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import NoReturn
from uuid import UUID

from sqlalchemy.orm import Session

from faceseal.wire import MAX_KEYS_IN_GRANT
from keyserver import policy
from keyserver.actions import Action
from keyserver.audit import Entry, Outcome
from keyserver.errors import AccessDenied, Conflict, KeyServerError, NotFound, ProofNeeded, Unavailable
from keyserver.policy import Caller, Decision, Denied, Reason
from keyserver.service.ports import Ports
from keyserver.service.refusals import Refusal
from keyserver.store.database import Database
from keyserver.store.joined import JoinedDatabase
from keyserver.store.replay import remember_proof
from keyserver.tracing import span

_NO_KEY = "there is no such key"
_NO_GRANT = "there is no such grant"
_ANSWERS: dict[Reason, tuple[type[KeyServerError], str]] = {
    Reason.KEY_UNKNOWN: (NotFound, _NO_KEY),
    Reason.GRANT_UNKNOWN: (NotFound, _NO_GRANT),
    Reason.KEY_BOUND_OTHERWISE: (Conflict, "the key is bound to another photo"),
    Reason.KEY_NOT_SUSPENDABLE: (Conflict, "the key is being destroyed, or is destroyed"),
    Reason.KEY_NOT_RESUMABLE: (Conflict, "the key is being destroyed, or is destroyed"),
    Reason.KEY_DESTROYED: (Conflict, "the key is destroyed"),
    Reason.NO_DESTRUCTION_AHEAD: (Conflict, "no destruction is ahead that could be cancelled"),
    Reason.GRANT_NOT_PENDING: (Conflict, "the grant is already decided"),
    Reason.GRANT_NOT_APPROVED: (Conflict, "the grant is not in force"),
    Reason.LABELS_FIT_NO_KEY: (Conflict, "no key carries these labels; label keys first, or request by other labels"),
    Reason.LABELS_FIT_TOO_MANY: (
        Conflict,
        f"more than {MAX_KEYS_IN_GRANT} keys carry these labels; request by narrower ones",
    ),
    Reason.PROOF_MISSING: (ProofNeeded, "there is no DPoP proof"),
}


class Refused(Exception):
    """Undoes the block of `deciding` and says why; `detail` is for the audit log."""

    def __init__(self, reason: Reason, detail: str | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.detail = detail


class Broken(Exception):
    """Undoes the block of `deciding`: policy allowed it, and the server could not do it."""


@dataclass(frozen=True)
class Attempt:
    """Who asks for what, and when: the part of an entry that is known before the decision."""

    ports: Ports
    caller: Caller
    action: Action
    now: int
    key_id: UUID | None = None
    grant_id: UUID | None = None

    def entry(self, outcome: Outcome, reason: str | None = None) -> Entry:
        """The entry for an attempt that ended like this."""
        return Entry(
            at=self.now,
            action=self.action,
            outcome=outcome,
            actor=self.caller.subject,
            tenant=self.caller.tenant,
            token_id=self.caller.token_id,
            jkt=None if self.caller.proof is None else self.caller.proof.jkt,
            key_id=self.key_id,
            grant_id=self.grant_id,
            reason=reason,
        )


def require(decision: Decision) -> None:
    """Goes on only if allowed.  Raises Refused."""
    if isinstance(decision, Denied):
        raise Refused(decision.reason)


@contextmanager
def deciding(attempt: Attempt, *, writes: bool = True) -> Iterator[Session]:
    """The transaction of one attempt, after its scope was checked.

    Raises what a refusal is answered with (AccessDenied, NotFound, Conflict), and Unavailable.
    """
    database = attempt.ports.database
    try:
        require(policy.decide_scope(attempt.caller, attempt.action))
        with span("decide", action=attempt.action.value), _session(database, writes) as session:
            if writes and not _proof_is_new(session, attempt):
                raise Refused(Reason.PROOF_REPLAYED)
            yield session
    except (Refused, Broken) as refusal:
        refuse(attempt, refusal)


def _session(database: Database, writes: bool) -> AbstractContextManager[Session]:
    return database.writing() if writes else database.reading()


def unheard(attempt: Attempt) -> Refused | None:
    """Why an attempt that takes a proof comes to nothing whatever it asks for: its scope, or no proof."""
    for decision in (policy.decide_scope(attempt.caller, attempt.action), policy.decide_proven(attempt.caller)):
        if isinstance(decision, Denied):
            return Refused(decision.reason)
    return None


def refuse(attempt: Attempt, refusal: Refused | Broken) -> NoReturn:
    """For attempts that are decided elsewhere.  Raises its answer once the refusal is on record; Unavailable."""
    _record(refusal, attempt)
    raise answer_to(refusal) from None


def refused_entry(attempt: Attempt, refusal: Refused | Broken) -> Entry:
    """What the log says of an attempt that came to nothing, with the reason."""
    if isinstance(refusal, Broken):
        return attempt.entry(Outcome.FAILED, str(refusal))
    why = refusal.reason.value
    return attempt.entry(Outcome.DENIED, why if refusal.detail is None else f"{why}: {refusal.detail}")


def answer_to(refusal: Refused | Broken) -> KeyServerError:
    """What the caller gets instead, without the reason."""
    if isinstance(refusal, Broken):
        return Unavailable("the key cannot be opened; the operator must look into it")
    answer, message = _ANSWERS.get(refusal.reason, (AccessDenied, "not allowed"))
    return answer(message)


def _proof_is_new(session: Session, attempt: Attempt) -> bool:
    """Before anything else is locked: see `remember_proofs`."""
    proof = attempt.caller.proof
    return proof is None or remember_proof(session, proof.jkt, proof.jti, attempt.now)


def _record(refusal: Refused | Broken, attempt: Attempt) -> None:
    entry, database, refusals = refused_entry(attempt, refusal), attempt.ports.database, attempt.ports.refusals
    if isinstance(database, JoinedDatabase):
        # The transaction around this may hold the log: recorded once that has ended, and before any answer.
        later = Refusal(database.whole, entry, attempt.caller.proof, attempt.now)
        database.afterwards.append(partial(refusals.record, later))
    else:
        refusals.record(Refusal(database, entry, attempt.caller.proof, attempt.now))
