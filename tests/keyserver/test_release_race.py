"""Many clients at once: a grant's uses and a revocation hold, and the log stays one line."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from faceseal.translog import RightEdge, leaf_hash
from faceseal.wire import Release
from keyserver import audit
from keyserver.errors import AccessDenied
from keyserver.service import keylife
from keyserver.service.release import Releases

THREADS = 8


def release_request(token: str) -> Release:
    return Release(grant=token, recipient=X25519PrivateKey.generate().public_key().public_bytes_raw())


def test_concurrent_releases_never_exceed_the_uses_of_the_grant(world: Any) -> None:
    alice, bob = world.person("alice"), world.person("bob")
    key, _ = alice.create_key()
    _, token = world.grant_token(alice, bob, key.id, uses=5)
    replicas = [Releases(world.ports), Releases(world.ports)]

    def attempt(number: int) -> bool:
        try:
            replicas[number % 2].release(alice.caller(), key.id, release_request(token))
        except AccessDenied:
            return False
        return True

    with ThreadPoolExecutor(THREADS) as threads:
        outcomes = list(threads.map(attempt, range(24)))

    assert sum(outcomes) == 5
    entries = [json.loads(leaf) for leaf in world.leaves()]
    assert [entry["index"] for entry in entries] == list(range(len(entries)))
    assert sorted(e["uses_left"] for e in entries if e["event"] == "release.allowed") == [0, 1, 2, 3, 4]
    assert sum(e["event"] == "release.denied" for e in entries) == 19


def test_concurrent_appends_leave_the_tree_that_their_leaves_make(world: Any) -> None:
    alice = world.person("alice")
    with ThreadPoolExecutor(THREADS) as threads:
        list(threads.map(lambda _: alice.create_key(), range(24)))

    edge = RightEdge()
    for leaf in world.leaves():
        edge.append(leaf_hash(leaf.encode()))
    with world.ports.database.reading() as session:
        checkpoint = audit.current_checkpoint(session)
    assert (checkpoint.size, checkpoint.root) == (edge.size, edge.root())


def test_after_a_key_is_revoked_no_release_of_it_is_ever_logged(world: Any) -> None:
    alice, bob = world.person("alice"), world.person("bob")
    key, _ = alice.create_key()
    _, token = world.grant_token(alice, bob, key.id, uses=1000)
    releases = Releases(world.ports)

    def attempt(number: int) -> None:
        if number == 10:
            keylife.suspend_key(world.ports, bob.caller(), key.id)
            return
        try:
            releases.release(alice.caller(), key.id, release_request(token))
        except AccessDenied:
            return

    attempt(0)
    with ThreadPoolExecutor(THREADS) as threads:
        list(threads.map(attempt, range(1, 30)))
    attempt(30)

    events = [json.loads(leaf)["event"] for leaf in world.leaves()]
    revoked_at = events.index("key.revoke.allowed")
    assert "release.allowed" in events[:revoked_at]
    assert "release.denied" in events[revoked_at:]
    assert "release.allowed" not in events[revoked_at:]
