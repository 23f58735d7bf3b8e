"""Refusals share transactions, each is durable before it is answered, and nobody waits for the log for ever."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from sqlalchemy import event

from faceseal.wire import Release
from keyserver import installation
from keyserver.errors import AccessDenied, KeyServerError, Unavailable
from keyserver.policy import Caller
from keyserver.service import checkpoint, grants
from keyserver.service.ports import Ports
from keyserver.service.release import Releases
from keyserver.settings import Settings
from keyserver.store import log
from keyserver.store.database import Database

REFUSED = 40


@contextmanager
def log_is_held(settings: Settings) -> Iterator[None]:
    """A peer leads the log, and does not end."""
    peer = Database(settings.url)
    with peer.writing() as session:
        log.head_for_append(session)
        yield
    peer.close()


@pytest.fixture
def impatient(settings: Settings, world: Any) -> Iterator[Ports]:
    """The same server, which waits a second for a lock instead of ten."""
    ports = installation.open_ports(settings.model_copy(update={"database_seconds": 1}), world.clock)
    yield ports
    ports.database.close()


def eventually(holds: Callable[[], bool]) -> None:
    ends = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < ends
        time.sleep(0.01)


def commits(database: Database) -> list[object]:
    """Grows by one with each transaction that is committed."""
    seen: list[object] = []
    event.listen(database.engine, "commit", seen.append)
    return seen


def refused(ports: Ports, caller: Caller) -> str:
    try:
        checkpoint.shown_checkpoint(ports, caller)
    except KeyServerError as answer:
        return type(answer).__name__
    return "allowed"


def denials(world: Any) -> Counter[str]:
    return Counter(entry["token"] for entry in world.entries() if entry["event"] == "audit.read.denied")


def test_refusals_that_come_together_are_committed_together_each_with_its_entry(world: Any, settings: Settings) -> None:
    people = [world.person(f"eve-{number}", scope="keys:create") for number in range(REFUSED)]
    callers = [person.caller() for person in people]
    seen = commits(world.ports.database)
    with ThreadPoolExecutor(REFUSED) as threads:
        with log_is_held(settings):
            answers = [threads.submit(refused, world.ports, callers[0])]
            waiting = world.ports.refusals._combining
            eventually(lambda: waiting._busy and not waiting._waiting)
            answers += [threads.submit(refused, world.ports, caller) for caller in callers[1:]]
            eventually(lambda: len(waiting._waiting) == REFUSED - 1)
            # Whoever is refused waits for the entry.
            assert not any(answer.done() for answer in answers)
        assert {answer.result(20) for answer in answers} == {"AccessDenied"}
    assert len(seen) == 2
    assert denials(world) == Counter(str(caller.token_id) for caller in callers)


def test_a_proof_that_came_with_a_refusal_counts_no_more(world: Any, alice: Any, bob: Any) -> None:
    eve = world.person("eve", scope="keys:create")
    key, _ = alice.create_key()
    grant_id = alice.request_grant(key.id)["id"]
    path = f"/v1/grants/{grant_id}/approve"
    headers = eve.headers(eve.proof("POST", path))
    assert [world.client.post(path, headers=headers).status_code for _ in range(2)] == [403, 403]
    # What the thief of a proof would try next: the same proof, by somebody who may.
    proven = eve.caller()
    with pytest.raises(AccessDenied):
        grants.approve_grant(world.ports, proven, UUID(grant_id))
    with pytest.raises(AccessDenied):
        grants.approve_grant(world.ports, replace(world.person("eve").caller(), proof=proven.proof), UUID(grant_id))
    assert world.last_entry()["reason"] == "proof_replayed"
    grants.approve_grant(world.ports, bob.caller(), UUID(grant_id))


def test_what_was_refused_under_an_idempotency_key_is_on_record_as_well(world: Any) -> None:
    eve = world.person("eve", scope="keys:create")
    path = "/v1/grants"
    body = {"key_ids": ["00000000-0000-7000-8000-000000000000"], "purpose": "x"}

    def ask(number: int) -> int:
        headers = {**eve.headers(eve.proof("POST", path)), "Idempotency-Key": f"n{number}"}
        return int(world.client.post(path, headers=headers, json=body).status_code)

    before = len(world.leaves())
    assert [ask(number) for number in range(3)] == [403] * 3
    entries = [json.loads(leaf) for leaf in world.leaves()[before:]]
    assert [entry["event"] for entry in entries] == ["grant.request.denied"] * 3


def test_while_the_log_is_held_nothing_is_released_refused_or_changed_and_nobody_hangs(
    world: Any, alice: Any, bob: Any, granted: Any, impatient: Ports, settings: Settings
) -> None:
    key_id = granted.path.split("/")[3]
    mine = X25519PrivateKey.generate().public_key().public_bytes_raw()
    releases, before = Releases(impatient), world.leaves()
    asked = Release(grant=granted.token, recipient=mine)
    with log_is_held(settings):
        with pytest.raises(Unavailable):
            releases.release(alice.caller(), UUID(key_id), asked)
        with pytest.raises(Unavailable):
            checkpoint.shown_checkpoint(impatient, world.person("eve", scope="keys:create").caller())
        with pytest.raises(Unavailable):
            grants.revoke_grant(impatient, alice.caller(), UUID(granted.grant_id))
    assert world.leaves() == before
    assert granted.uses_left() == 5
    assert releases.release(alice.caller(), UUID(key_id), asked).key_id == UUID(key_id)
    assert granted.uses_left() == 4
