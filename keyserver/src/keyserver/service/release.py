"""Releasing keys under grants: the path that everything else is for.

Releases that are asked for at the same time share a transaction (see `combining`), in
which each is decided by itself.  Order (the caller is already authenticated):
1. scope, proof and recipient are looked at: a spoiled request costs no use, and tells nothing about the grant;
2. the grant's token is this server's, in time, and of the right type;
3. proofs are remembered, grants and keys are loaded and locked, and policy decides on their present state;
4. in the same transaction keys are opened, uses taken, and an entry appended for each, allowed or not;
5. the transaction is durably committed;
6. only then do the sealed keys and the receipts leave.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from uuid import UUID

from sqlalchemy.orm import Session

from faceseal.keytransport import release_info, seal_key
from faceseal.wire import GrantEvent, Receipt, Release, Released
from keyserver import audit, keywrap, metrics, policy
from keyserver.actions import Action
from keyserver.audit import Appended, Entry, Outcome
from keyserver.errors import KeyReused, KeyServerError, StillRunning, Unavailable
from keyserver.policy import Caller, GrantFacts, Reason
from keyserver.proof import Proof
from keyserver.service.combining import Combining
from keyserver.service.deciding import (
    Attempt,
    Broken,
    Refused,
    answer_to,
    refuse,
    refused_entry,
    require,
    unheard,
)
from keyserver.service.events import Happening, announce
from keyserver.service.facts import grant_facts, key_facts
from keyserver.service.keys import require_usable, visible_key
from keyserver.service.once import Once, Running
from keyserver.service.ports import Ports
from keyserver.service.repeated import GivenBefore, Known, as_before, given_before, known_of, row_of
from keyserver.store import idempotency, queries
from keyserver.store.replay import remember_proofs
from keyserver.store.tables import GrantRow, KekRow, KeyRow, RepeatRow
from keyserver.tokens import GrantClaims, TokenRefused
from keyserver.tracing import span


@dataclass(frozen=True)
class Asked:
    """One release that is asked for.  claims: of the grant's token, or why it does not count."""

    attempt: Attempt
    key_id: UUID
    recipient: bytes
    claims: GrantClaims | TokenRefused
    once: Once | None = None
    known_size: int | None = None
    """Of the log, as the client has it."""

    @property
    def proof(self) -> Proof:
        """The caller's, who has one (see `unheard`)."""
        assert self.attempt.caller.proof is not None  # noqa: S101 - looked at before
        return self.attempt.caller.proof


@dataclass(frozen=True)
class Given:
    """A release that was allowed, its entry, and what webhooks are told."""

    sealed_key: bytes
    entry: Entry
    happening: Happening


@dataclass(frozen=True)
class Present:
    """What the releases of one transaction are decided on, locked as it must be.

    named: of the grants and keys that are asked for, the pairs where the grant names the key.
    """

    grants: Mapping[UUID, GrantRow]
    named: frozenset[tuple[UUID, UUID]]
    keys: Mapping[UUID, KeyRow]
    keks: Mapping[tuple[str, int], KekRow]


Decided = Given | GivenBefore | Refused | Broken | KeyReused | StillRunning
"""How one release ended, inside."""


class Releases:
    """The releases of one process."""

    def __init__(self, ports: Ports) -> None:
        self.ports = ports
        self._combining: Combining[Asked, Released | Refused | Broken | KeyServerError] = Combining(self._release_all)
        self._running = Running()

    def release(self, caller: Caller, key_id: UUID, request: Release, once: Once | None = None) -> Released:
        """One use of a grant: the image key, sealed to the recipient, with the proof that it is on record.

        Raises AccessDenied whatever the reason, NotFound if the key is not the tenant's,
        ProofNeeded if the request came without a proof, RequestInvalid for an unusable recipient,
        Unavailable if nothing could be recorded, LogInDoubt if it may not be; with `once`, KeyReused and StillRunning.
        """
        asked = self._asked(caller, key_id, request, once)
        refusal = unheard(asked.attempt)
        if refusal is not None:
            refuse(asked.attempt, refusal)
        require_usable(asked.recipient)
        with self._claimed(once):
            return _released(self._combining.run(asked))

    async def release_soon(self, caller: Caller, key_id: UUID, request: Release, once: Once | None = None) -> Released:
        """Like `release`, for the event loop: whoever waits here keeps no thread."""
        asked = self._asked(caller, key_id, request, once)
        refusal = unheard(asked.attempt)
        if refusal is not None:
            await asyncio.to_thread(refuse, asked.attempt, refusal)
        require_usable(asked.recipient)
        with self._claimed(once):
            return _released(await asyncio.wrap_future(self._combining.submit(asked)))

    def _asked(self, caller: Caller, key_id: UUID, request: Release, once: Once | None) -> Asked:
        now = self.ports.clock()
        claims = _grant_claims(self.ports, request.grant, now)
        grant_id = claims.grant_id if isinstance(claims, GrantClaims) else None
        attempt = Attempt(self.ports, caller, Action.RELEASE, now, key_id, grant_id)
        return Asked(attempt, key_id, request.recipient, claims, once, request.known_size)

    def _claimed(self, once: Once | None) -> AbstractContextManager[None]:
        return self._running.claimed(once) if once else nullcontext()

    def _release_all(self, asked: Sequence[Asked]) -> list[Released | Refused | Broken | KeyServerError]:
        now = self.ports.clock()
        # Before anything is written: what is in doubt must not be made longer either.
        self.ports.trust.require(now)
        with span("decide", action=Action.RELEASE.value, count=len(asked)), self.ports.database.writing() as session:
            unused = remember_proofs(session, [(one.proof.jkt, one.proof.jti) for one in asked], now)
            known = known_of(session, [one.once for one in asked], now)
            pairs = {(one.claims.grant_id, one.key_id) for one in asked if isinstance(one.claims, GrantClaims)}
            grants = queries.grants_for_release(session, {grant_id for grant_id, _ in pairs})
            keys = queries.keys_for_release(session, {one.key_id for one in asked})
            named = queries.keys_named(session, pairs)
            present = Present(grants, named, keys, queries.keks_of(session, keys.values()))
            outcomes: list[Decided] = [
                _decided_once(session, one, known, present, self.ports) if is_unused else Refused(Reason.PROOF_REPLAYED)
                for one, is_unused in zip(asked, unused, strict=True)
            ]
            announce(session, self.ports, [given.happening for given in outcomes if isinstance(given, Given)])
            entries = [_entry(one, outcome) for one, outcome in zip(asked, outcomes, strict=True)]
            appended = _appended(session, entries)
            proofs = [
                one.proved if isinstance(one, GivenBefore) else new for one, new in zip(outcomes, appended, strict=True)
            ]
            for head in {proof.checkpoint for proof in proofs if proof}:
                # A receipt that could not be signed would cost its client a use.
                self.ports.signer.require_one(head)
            continuing = _continuing(session, asked, proofs)
            # Once more: the append has compared the log with what this replica remembers of it.
            self.ports.trust.require(now)
            kept = zip(asked, outcomes, appended, strict=True)
            idempotency.add(session, [row for each in kept for row in _kept(*each, now)], now)
        # Committed: from here on the releases are on record, and the keys may leave.
        for entry in filter(None, entries):
            metrics.count_decision(entry)
        # One signature for all entries of this transaction.
        signed = {each: self.ports.signer.sign(each) for each in {proof.checkpoint for proof in proofs if proof}}
        return [
            Released(
                key_id=one.key_id,
                sealed_key=outcome.sealed_key,
                receipt=_receipt(proof, signed[proof.checkpoint], continued),
            )
            if isinstance(outcome, Given | GivenBefore) and proof is not None
            else _not_given(outcome)
            for one, outcome, proof, continued in zip(asked, outcomes, proofs, continuing, strict=True)
        ]


def _decided_once(
    session: Session,
    one: Asked,
    known: Known,
    present: Present,
    ports: Ports,
) -> Decided:
    """The decision, or for what was given before: whether it would still be, and what it was."""
    if one.once is None:
        return _decided(one, present, ports)
    if one.once.id not in known.free:
        return StillRunning()
    row = known.rows.get(one.once.id)
    if row is None:
        return _decided(one, present, ports)
    if row.request != one.once.request:
        return KeyReused()
    try:
        _require_allowed(one, present, as_before)
    except Refused as refusal:
        return refusal
    metrics.count_replayed()
    return given_before(session, row)


def _require_allowed(
    one: Asked,
    present: Present,
    seen: Callable[[GrantFacts], GrantFacts] = lambda facts: facts,
) -> tuple[GrantRow, KeyRow]:
    """The grant and the key, on the state that earlier ones of the same transaction have left.  Raises Refused.

    The key comes first: whether there is one must not be answered differently by whose grant came along.
    """
    key = visible_key(present.keys.get(one.key_id), one.attempt.caller)
    if isinstance(one.claims, TokenRefused):
        raise Refused(Reason.GRANT_TOKEN_REFUSED, one.claims.why.value)
    grant = present.grants.get(one.claims.grant_id)
    if grant is None or (one.claims.sub, one.claims.tenant) != (grant.requested_by, grant.tenant):
        raise Refused(Reason.GRANT_TOKEN_REFUSED, "no such grant")
    if grant.jkt is not None and one.claims.jkt != grant.jkt:
        raise Refused(Reason.GRANT_TOKEN_REFUSED, "binding")
    named = frozenset({one.key_id} if (grant.id, one.key_id) in present.named else ())
    facts = grant_facts(grant, named)
    require(policy.decide_release(one.attempt.caller, key_facts(key), seen(facts), one.attempt.now))
    return grant, key


def _decided(
    one: Asked,
    present: Present,
    ports: Ports,
) -> Given | Refused | Broken:
    """The decision; takes a use if it is yes."""
    attempt = one.attempt
    try:
        grant, key = _require_allowed(one, present)
        image_key = _open(key, present.keks[key.tenant, key.kek_epoch], ports)
    except (Refused, Broken) as refusal:
        return refusal
    sealed_key = seal_key(image_key, one.recipient, release_info(one.key_id, grant.id))
    grant.uses_left -= 1
    entry = replace(attempt.entry(Outcome.ALLOWED), recipient=one.recipient, uses_left=grant.uses_left)
    told = Happening(GrantEvent.RELEASED, attempt.now, attempt.caller.subject, grant, one.key_id)
    return Given(sealed_key, entry, told)


def _entry(one: Asked, outcome: Decided) -> Entry | None:
    """None for what changes nothing: what was given before has its entry."""
    if isinstance(outcome, Given):
        return outcome.entry
    return refused_entry(one.attempt, outcome) if isinstance(outcome, Refused | Broken) else None


def _appended(session: Session, entries: Sequence[Entry | None]) -> list[Appended | None]:
    new = [entry for entry in entries if entry is not None]
    appended = iter(audit.append_all(session, new) if new else [])
    return [None if entry is None else next(appended) for entry in entries]


def _kept(
    one: Asked,
    outcome: Decided,
    appended: Appended | None,
    now: int,
) -> list[RepeatRow]:
    if one.once is None or appended is None or not isinstance(outcome, Given):
        return []
    return [row_of(one.attempt.caller, one.once, outcome.sealed_key, appended, now)]


def _released(outcome: Released | Refused | Broken | KeyServerError) -> Released:
    if isinstance(outcome, Released):
        return outcome
    raise outcome if isinstance(outcome, KeyServerError) else answer_to(outcome)


def _not_given(
    outcome: Decided,
) -> Refused | Broken | KeyServerError:
    assert not isinstance(outcome, Given | GivenBefore)  # noqa: S101 - those have a proof
    return outcome


def _grant_claims(ports: Ports, token: str, now: int) -> GrantClaims | TokenRefused:
    try:
        return ports.issuer.verify_grant(token, now)
    except TokenRefused as refusal:
        return refusal


def _open(key: KeyRow, wrapping: KekRow, ports: Ports) -> bytes:
    try:
        kek = keywrap.open_kek(ports.root, wrapping.wrapped, wrapping.tenant, wrapping.epoch)
        return kek.unwrap(key.wrapped, key.id, key.suite)
    except Unavailable as cause:
        # WrapBroken is one.  A root that does not answer for one tenant must not fail what others asked for as well.
        raise Broken(str(cause)) from None


def _continuing(
    session: Session, asked: Sequence[Asked], proofs: Sequence[Appended | None]
) -> list[list[bytes] | None]:
    """For each who asked: the proof that the tree of the receipt continues the one that the client has seen.

    None if that is newer: then a release is given again, or the log is not what it was, and the client finds out which.
    """
    pairs = [
        (one.known_size, proof.checkpoint.size)
        if proof is not None and one.known_size is not None and one.known_size <= proof.checkpoint.size
        else None
        for one, proof in zip(asked, proofs, strict=True)
    ]
    made = audit.prove_all_consistent(session, {pair for pair in pairs if pair is not None})
    return [None if pair is None else made[pair] for pair in pairs]


def _receipt(proved: Appended, checkpoint: str, continued: list[bytes] | None) -> Receipt:
    return Receipt(
        leaf=proved.leaf,
        index=proved.index,
        inclusion_proof=proved.inclusion_proof,
        checkpoint=checkpoint,
        consistency_proof=continued,
    )
