"""Races between two replicas on one database: each is one round, and says what went wrong in it, if anything did."""

from __future__ import annotations

import hashlib
import random
import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, TypeVar
from uuid import UUID

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from faceseal.wire import (
    BreakGlass,
    CreateKey,
    GrantPolicy,
    GrantState,
    PurposeCode,
    Release,
    Released,
    RequestGrant,
    Scope,
    encode_base64url,
)
from keyserver import installation
from keyserver.actions import Action
from keyserver.errors import AccessDenied, Conflict, KeyServerError, StillRunning
from keyserver.policy import Caller
from keyserver.proof import Proof
from keyserver.service import breakglass, grants, keylife, keys, policies
from keyserver.service.once import Answer, Once, perform
from keyserver.service.ports import Ports
from keyserver.service.release import Releases
from keyserver.settings import Settings
from keyserver.store import queries

MOST_AT_ONCE = 64
MANY_USES = 1000
RELEASERS = 4
LONGEST_HEAD_START = 0.02
"""Seconds that releases run before what must stop them is asked for."""
Result = TypeVar("Result")


@dataclass
class Replica:
    """One process's view of the installation."""

    ports: Ports
    releases: Releases


@dataclass
class Arena:
    """Two replicas, and threads to set on them."""

    replicas: Sequence[Replica]
    threads: ThreadPoolExecutor
    dice: random.Random
    recipient: bytes = field(default_factory=lambda: X25519PrivateKey.generate().public_key().public_bytes_raw())

    def any(self) -> Replica:
        return self.dice.choice(self.replicas)

    def at_once(self, count: int, work: Callable[[Replica], Result]) -> list[Result | KeyServerError]:
        """What each of so many saw, half of them at each replica."""

        def attempt(number: int) -> Result | KeyServerError:
            try:
                return work(self.replicas[number % len(self.replicas)])
            except KeyServerError as refusal:
                return refusal

        return list(self.threads.map(attempt, range(count)))

    def granted(self, uses: int) -> tuple[UUID, UUID, str]:
        """A new key, and id and token of a grant for it."""
        one, other = self.replicas
        key_id = keys.create_key(one.ports, caller("camera"), CreateKey(recipient=self.recipient)).key.id
        asked = RequestGrant(key_ids=[key_id], purpose="a race", uses=uses)
        grant_id = grants.request_grant(one.ports, caller("rita"), asked).id
        grants.approve_grant(other.ports, caller("ben"), grant_id)
        token = grants.get_grant(one.ports, caller("rita"), grant_id).token
        assert token is not None
        return key_id, grant_id, token

    def released(self, replica: Replica, key_id: UUID, token: str, once: Once | None = None) -> Released:
        return replica.releases.release(caller("rita"), key_id, Release(grant=token, recipient=self.recipient), once)

    def uses_left(self, grant_id: UUID) -> int:
        with self.any().ports.database.reading() as session:
            row = queries.grant(session, grant_id)
            assert row is not None
            return row.uses_left


@contextmanager
def arena(settings: Settings, seed: int, clock: Callable[[], int] | None = None) -> Iterator[Arena]:
    """Two replicas of the installation, each with a pool of connections of its own."""
    ports = [installation.open_ports(settings, clock) for _ in range(2)]
    policies.set_policy(ports[0], "default", GrantPolicy(break_glass_role="emergency"))
    with ThreadPoolExecutor(MOST_AT_ONCE) as threads:
        yield Arena([Replica(one, Releases(one)) for one in ports], threads, random.Random(seed))
    for one in ports:
        one.database.close()


def caller(subject: str, **change: Any) -> Caller:
    """Somebody with every scope, each time with a proof of their own key that is new."""
    jkt = encode_base64url(hashlib.sha256(subject.encode()).digest())
    proof = Proof(jkt, secrets.token_urlsafe(16), 0)
    return Caller(subject, "default", frozenset(Scope), "token", **{"proof": proof, **change})


def uses(arena: Arena) -> str | None:
    """Sixty-four releases under a grant of ten uses give ten keys."""
    key_id, grant_id, token = arena.granted(10)
    outcomes = arena.at_once(MOST_AT_ONCE, lambda replica: arena.released(replica, key_id, token))
    given = sum(isinstance(one, Released) for one in outcomes)
    denied = sum(isinstance(one, AccessDenied) for one in outcomes)
    left = arena.uses_left(grant_id)
    return None if (given, denied, left) == (10, 54, 0) else f"{given} given, {denied} denied, {left} left"


def suspended(arena: Arena) -> str | None:
    """Nothing is released that is asked for after a key was suspended."""
    return _stopped(arena, lambda ports, key_id, _: keylife.suspend_key(ports, caller("ada"), key_id))


def scheduled(arena: Arena) -> str | None:
    """Nothing is released that is asked for after a key's destruction was scheduled."""
    return _stopped(arena, lambda ports, key_id, _: keylife.schedule_destruction(ports, caller("ada"), key_id))


def revoked(arena: Arena) -> str | None:
    """Nothing is released that is asked for after a grant was revoked."""
    return _stopped(arena, lambda ports, _, grant_id: grants.revoke_grant(ports, caller("ben"), grant_id))


def _stopped(arena: Arena, stop: Callable[[Ports, UUID, UUID], object]) -> str | None:
    key_id, grant_id, token = arena.granted(MANY_USES)
    acknowledged: list[float] = []

    def release_until_stopped(replica: Replica) -> tuple[int, int]:
        before = after = 0
        while True:
            last = bool(acknowledged)
            try:
                arena.released(replica, key_id, token)
            except AccessDenied:
                if last:
                    return before, after
                continue
            if last:
                return before, after + 1
            before += 1

    running = [arena.threads.submit(release_until_stopped, replica) for replica in arena.replicas * (RELEASERS // 2)]
    time.sleep(arena.dice.uniform(0, LONGEST_HEAD_START))
    stop(arena.any().ports, key_id, grant_id)
    acknowledged.append(time.monotonic())
    found = [one.result() for one in running]
    after, taken = sum(one for _, one in found), MANY_USES - arena.uses_left(grant_id)
    if after:
        return f"{after} released afterwards"
    given = sum(one for one, _ in found)
    return None if given == taken else f"{given} given, {taken} uses taken"


def denied(arena: Arena) -> str | None:
    """Of an approval and a denial at once one counts, and after a denial nothing is released."""
    one = arena.replicas[0].ports
    key_id = keys.create_key(one, caller("camera"), CreateKey(recipient=arena.recipient)).key.id
    asked = RequestGrant(key_ids=[key_id], purpose="a race")
    grant_id = grants.request_grant(one, caller("rita"), asked).id
    decide = arena.dice.sample([grants.approve_grant, grants.deny_grant], 2)
    names = iter(("ben", "eva"))
    outcomes = list(
        arena.threads.map(
            lambda each: _state_after(each[0], each[1].ports, caller(each[2]), grant_id),
            zip(decide, arena.replicas, names, strict=True),
        )
    )
    decided = [state for state in outcomes if state is not None]
    # A token as it would have been signed, whatever was decided.
    now = one.clock()
    jkt = caller("rita").proof
    token = one.issuer.issue_grant(grant_id, "rita", "default", now - 1, now + 600, jkt.jkt if jkt else None)
    released = False
    with suppress(AccessDenied):
        arena.released(arena.any(), key_id, token)
        released = True
    if len(decided) != 1 or released != (decided == [GrantState.APPROVED]):
        return f"decided {decided}, released {released}"
    return None


def _state_after(decide: Callable[..., Any], ports: Ports, who: Caller, grant_id: UUID) -> GrantState | None:
    try:
        state: GrantState = decide(ports, who, grant_id).state
    except Conflict:
        return None
    return state


def approvals(arena: Arena) -> str | None:
    """Of many approvals at once, one's own and doubles among them, a quorum of two takes just two."""
    one = arena.replicas[0].ports
    policies.set_policy(one, "default", GrantPolicy(quorum=2, break_glass_role="emergency"))
    try:
        key_id = keys.create_key(one, caller("camera"), CreateKey(recipient=arena.recipient)).key.id
        grant_id = grants.request_grant(one, caller("rita"), RequestGrant(key_ids=[key_id], purpose="a race")).id
    finally:
        policies.set_policy(one, "default", GrantPolicy(break_glass_role="emergency"))
    asked = arena.dice.sample(["rita", "ben", "ben", "eva", "eva", "ida", "rita", "ben"], 8)
    outcomes = list(
        arena.threads.map(
            lambda each: _approved(arena.replicas[each[0] % 2].ports, each[1], grant_id), enumerate(asked)
        )
    )
    grant = grants.get_grant(one, caller("rita"), grant_id)
    approvers = sorted(approval.approver for approval in grant.approvals)
    right = grant.state is GrantState.APPROVED and len(set(approvers)) == 2 and "rita" not in approvers
    refused = all(
        isinstance(outcome, AccessDenied) for who, outcome in zip(asked, outcomes, strict=True) if who == "rita"
    )
    return None if right and len(approvers) == 2 and refused else f"{grant.state}, approved by {approvers}"


def _approved(ports: Ports, who: str, grant_id: UUID) -> KeyServerError | None:
    try:
        grants.approve_grant(ports, caller(who), grant_id)
    except KeyServerError as refusal:
        return refusal
    return None


def one_proof(arena: Arena) -> str | None:
    """One proof at once on both replicas releases once."""
    key_id, grant_id, token = arena.granted(MANY_USES)
    who, asked = caller("rita"), Release(grant=token, recipient=arena.recipient)
    outcomes = arena.at_once(8, lambda replica: replica.releases.release(who, key_id, asked))
    given = sum(isinstance(one, Released) for one in outcomes)
    taken = MANY_USES - arena.uses_left(grant_id)
    denied = sum(isinstance(one, AccessDenied) for one in outcomes)
    return None if (given, taken, denied) == (1, 1, 7) else f"{given} given, {denied} denied, {taken} taken"


def one_idempotency_key(arena: Arena) -> str | None:
    """One Idempotency-Key at once on both replicas takes one use, and creates one key."""
    key_id, grant_id, token = arena.granted(MANY_USES)
    once = Once.of(caller("rita"), secrets.token_hex(8), "POST", "/", b"")
    outcomes = arena.at_once(8, lambda replica: arena.released(replica, key_id, token, once))
    outcomes.append(arena.released(arena.any(), key_id, token, once))
    given = {one.sealed_key for one in outcomes if isinstance(one, Released)}
    others = [one for one in outcomes if not isinstance(one, Released | StillRunning)]
    taken = MANY_USES - arena.uses_left(grant_id)
    if len(given) != 1 or others or taken != 1:
        return f"{len(given)} different releases, {taken} uses taken, {len(others)} refused"
    creating = Once.of(caller("camera"), secrets.token_hex(8), "POST", "/", b"")
    answers = arena.at_once(8, lambda replica: _created(arena, replica.ports, creating))
    bodies = {one for one in answers if isinstance(one, bytes)} | {_created(arena, arena.any().ports, creating)}
    others = [one for one in answers if not isinstance(one, bytes | StillRunning)]
    return None if len(bodies) == 1 and not others else f"{len(bodies)} keys created, {len(others)} refused"


def _created(arena: Arena, ports: Ports, once: Once) -> bytes:
    who = caller("camera")

    def work(inside: Ports) -> Answer:
        created = keys.create_key(inside, who, CreateKey(recipient=arena.recipient))
        return Answer(201, created.model_dump_json().encode())

    return perform(ports, who, Action.CREATE_KEY, once, work).body


def one_emergency(arena: Arena) -> str | None:
    """The glass that is broken at once on both replicas under one Idempotency-Key is broken once."""
    key_id = keys.create_key(arena.any().ports, caller("camera"), CreateKey(recipient=arena.recipient)).key.id
    asked = BreakGlass(
        recipient=arena.recipient, purpose_code=PurposeCode.MEDICAL_TREATMENT, reference="a race", purpose=None
    )
    once = Once.of(caller("doctor"), secrets.token_hex(8), "POST", "/", b"")

    def smash(replica: Replica) -> UUID:
        who = caller("doctor", roles=frozenset({"emergency"}))
        return breakglass.break_glass(replica.releases, who, key_id, asked, once).grant.id

    outcomes = arena.at_once(8, smash)
    made = {one for one in outcomes if isinstance(one, UUID)} | {smash(arena.any())}
    others = [one for one in outcomes if not isinstance(one, UUID | StillRunning)]
    return None if len(made) == 1 and not others else f"{len(made)} grants, {len(others)} refused"


RACES: Sequence[Callable[[Arena], str | None]] = (
    uses,
    suspended,
    scheduled,
    revoked,
    denied,
    approvals,
    one_proof,
    one_idempotency_key,
    one_emergency,
)
