"""A proof counts once, on whichever replica and for whatever change, and with a nonce of the last minutes only."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any
from uuid import UUID, uuid4

import pytest
from starlette.testclient import TestClient

from faceseal.wire import PROBLEM_BASE, Release
from keyserver import installation
from keyserver.app import create_app
from keyserver.errors import AccessDenied
from keyserver.service.release import Releases
from keyserver.settings import Settings
from keyserver.store.database import Database

NEEDS_NONCE = 'DPoP error="use_dpop_nonce", algs="EdDSA ES256"'
GRANTS = "/v1/grants"


# Proofs that were used.


def test_a_proof_releases_one_key_once_and_the_replay_takes_no_use(world: Any, alice: Any, granted: Any) -> None:
    headers = alice.headers(alice.proof("POST", granted.path))
    first, again = (granted.asked(headers) for _ in range(2))
    assert (first.status_code, again.status_code) == (200, 403)
    assert again.json()["type"] == PROBLEM_BASE + "denied"
    assert (world.last_entry()["event"], world.last_entry()["reason"]) == ("release.denied", "proof_replayed")
    assert granted.uses_left() == 4


@pytest.fixture
def replica(world: Any, settings: Settings) -> Iterator[Any]:
    """A client of a second server on the same database and keys."""
    ports = installation.open_ports(settings, world.clock)
    with TestClient(create_app(ports, 16 * 1024), raise_server_exceptions=False) as client:
        yield client
    ports.database.close()


def test_a_proof_that_one_replica_has_taken_is_a_replay_on_the_other(
    world: Any, alice: Any, replica: Any, granted: Any
) -> None:
    headers = alice.headers(alice.proof("POST", granted.path))
    assert granted.asked(headers).status_code == 200
    assert granted.asked(headers, replica).status_code == 403
    assert world.last_entry()["reason"] == "proof_replayed"
    # Nonces of one replica are those of the other.
    assert granted.asked(alice.headers(alice.proof("POST", granted.path)), replica).status_code == 200
    assert granted.uses_left() == 3


def test_of_a_race_with_one_proof_on_two_replicas_exactly_one_is_given_the_key(
    world: Any, alice: Any, granted: Any, settings: Settings
) -> None:
    other = Database(settings.url)
    replicas = [Releases(world.ports), Releases(replace(world.ports, database=other))]
    who, key_id = alice.caller(), UUID(granted.path.split("/")[3])

    def attempt(number: int) -> bool:
        try:
            replicas[number % 2].release(who, key_id, Release(grant=granted.token, recipient=b"\x09" + bytes(31)))
        except AccessDenied:
            return False
        return True

    with ThreadPoolExecutor(16) as threads:
        outcomes = list(threads.map(attempt, range(32)))
    other.close()
    assert outcomes.count(True) == 1
    assert granted.uses_left() == 4
    entries = [json.loads(leaf) for leaf in world.leaves()]
    assert [entry.get("reason") for entry in entries if entry["event"] == "release.denied"] == ["proof_replayed"] * 31


def test_a_refused_release_has_used_its_proof_up(world: Any, alice: Any, granted: Any) -> None:
    headers = alice.headers(alice.proof("POST", granted.path))
    assert granted.asked(headers, token="garbage").status_code == 403
    assert granted.asked(headers).status_code == 403
    assert world.last_entry()["reason"] == "proof_replayed"
    assert granted.uses_left() == 5


def test_every_other_change_takes_a_proof_once_too(world: Any, alice: Any) -> None:
    key, _ = alice.create_key()
    request = {"key_ids": [str(key.id)], "purpose": "x"}
    headers = alice.headers(alice.proof("POST", GRANTS))
    answers = [world.client.post(GRANTS, headers=headers, json=request).status_code for _ in range(2)]
    assert answers == [201, 403]
    assert (world.last_entry()["event"], world.last_entry()["reason"]) == ("grant.request.denied", "proof_replayed")
    assert len(alice.get(GRANTS).json()["grants"]) == 1


def test_a_change_that_was_refused_has_used_its_proof_up(world: Any, alice: Any) -> None:
    key, _ = alice.create_key()
    headers = alice.headers(alice.proof("POST", GRANTS))
    unknown = {"key_ids": [str(uuid4())], "purpose": "x"}
    assert world.client.post(GRANTS, headers=headers, json=unknown).status_code == 404
    known = {"key_ids": [str(key.id)], "purpose": "x"}
    assert world.client.post(GRANTS, headers=headers, json=known).status_code == 403
    assert world.last_entry()["reason"] == "proof_replayed"


# Nonces.


@pytest.mark.parametrize("nonce", [None, "", "x" * 43], ids=["none", "empty", "made up"])
def test_a_proof_without_one_of_our_nonces_is_answered_with_one(
    world: Any, alice: Any, granted: Any, nonce: str | None
) -> None:
    refused = granted.asked(alice.headers(alice.proof("POST", granted.path, nonce=nonce)))
    assert (refused.status_code, refused.headers["www-authenticate"]) == (401, NEEDS_NONCE)
    fresh = alice.proof("POST", granted.path, nonce=refused.headers["dpop-nonce"])
    assert granted.asked(alice.headers(fresh)).status_code == 200
    assert granted.uses_left() == 4


def test_a_nonce_serves_two_minutes_at_most(world: Any, alice: Any) -> None:
    nonce = alice.get("/v1/keys").headers["dpop-nonce"]
    statuses = []
    for passed in (60, 119, 120):
        world.clock.now = 1_800_000_000 + passed
        statuses.append(
            world.client.get("/v1/keys", headers=alice.headers(alice.proof("GET", "/v1/keys", nonce=nonce)))
        )
    assert [answer.status_code for answer in statuses] == [200, 200, 401]
    assert statuses[2].headers["www-authenticate"] == NEEDS_NONCE
    assert statuses[2].headers["dpop-nonce"] != nonce


def test_every_answer_to_a_proof_brings_a_fresh_nonce_and_no_other_does(world: Any, alice: Any) -> None:
    missing = alice.get(f"/v1/keys/{uuid4()}")
    assert missing.status_code == 404
    denied = world.person("eve", "audit:read").get("/v1/keys")
    assert denied.status_code == 403
    for answer in (alice.get("/v1/keys"), missing, denied):
        assert world.ports.nonces.accepts(answer.headers["dpop-nonce"], world.clock.now)
    assert "dpop-nonce" not in world.client.get("/v1/keys", headers=alice.headers(None)).headers
