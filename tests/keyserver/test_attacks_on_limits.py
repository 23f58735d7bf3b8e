"""Ways around the limits: many keys in one request, proofs without a nonce, addresses without end."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from starlette.testclient import TestClient

from faceseal.wire import PROBLEM_BASE
from keyserver.app import create_app
from keyserver.errors import TooMany
from keyserver.limits import Limits
from keyserver.policy import Caller
from keyserver.rates import Bucket, Kind, Rate, cost_of_batch, take
from keyserver.service.failures import FailedAuthentications
from keyserver.service.ratelimits import RateLimits
from keyserver.store.tables import KeyRow

ALICE = Caller("alice", "default", frozenset(), "token")
ANY_BASE64 = "CQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"


@contextmanager
def standing_still(world: Any, kind: Kind = Kind.CREATE, failed: int = 0, **rates: int) -> Iterator[TestClient]:
    """A server whose clock of the limits stands; `per_client` and `per_tenant`: actions a second."""
    found = {whose: {kind: Rate(rate)} for whose, rate in rates.items()}
    app = create_app(world.ports, 1 << 20, limits=Limits(failed_authentications=failed))
    both = (found.get("per_client", {}), found.get("per_tenant", {}))
    app.state.rates = RateLimits(world.ports.database, *both, lambda: 1_800_000_000.0)
    with TestClient(app) as client:
        yield client


def batches(client: TestClient, person: Any, size: int, times: int, **headers: str) -> list[Any]:
    """Answers to requests for so many keys each."""
    body = {"recipient": ANY_BASE64, "keys": [{}] * size}
    return [client.post("/v1/keys/batch", headers={**person.headers(None), **headers}, json=body) for _ in range(times)]


def made(world: Any) -> int:
    with world.ports.database.reading() as session:
        return int(session.query(KeyRow).count())


@pytest.mark.parametrize("whose", ["per_client", "per_tenant"])
def test_a_batch_counts_by_its_keys(world: Any, alice: Any, whose: str) -> None:
    with standing_still(world, **{whose: 6}) as client:
        # Of sixty actions in the bucket, each of these takes twenty.
        answered = [answer.status_code for answer in batches(client, alice, 400, 6)]
    assert answered == [201] * 3 + [429] * 3
    assert made(world) == 1200


def test_a_batch_that_is_refused_makes_no_key_and_spoils_no_idempotency_key(world: Any, alice: Any) -> None:
    with standing_still(world, per_client=6) as client:
        assert batches(client, alice, 1000, 1)[0].status_code == 201
        refused = batches(client, alice, 1000, 1, **{"Idempotency-Key": "k"})[0]
        assert (refused.status_code, refused.json()["type"]) == (429, PROBLEM_BASE + "too-many-requests")
        assert int(refused.headers["retry-after"]) >= 1
        assert made(world) == 1000
        assert batches(client, alice, 3, 1, **{"Idempotency-Key": "k"})[0].status_code == 201
    assert made(world) == 1003


def test_the_largest_batch_fits_into_the_smallest_bucket(world: Any, alice: Any) -> None:
    with standing_still(world, per_client=1) as client:
        assert [answer.status_code for answer in batches(client, alice, 1000, 2)] == [201, 429]


def test_what_a_batch_costs_grows_with_its_keys() -> None:
    assert [cost_of_batch(keys) for keys in (1, 20, 21, 1000)] == [1, 1, 2, 50]


def test_a_bucket_gives_as_many_as_are_needed_or_none_and_says_when() -> None:
    rate = Rate(10)
    none = take(Bucket(4_500, 0), rate, 0, 10, least=5)
    assert (none.actions, none.bucket.tokens, none.wait) == (0, 4_500, 50)
    assert take(none.bucket, rate, none.wait, 10, least=5).actions == 5
    assert take(none.bucket, rate, none.wait - 1, 10, least=5).actions == 0


def test_actions_that_are_taken_together_are_never_more_than_the_bucket_has(world: Any) -> None:
    limits, taken = RateLimits(world.ports.database, {Kind.CREATE: Rate(10)}, {}, lambda: 1_800_000_000.0), 0
    for actions in [7, 1, 30, 3, 20, 1, 45, 8, 1, 1, 2] * 3:
        try:
            limits.admit(ALICE, Kind.CREATE, actions)
        except TooMany:
            continue
        taken += actions
    assert 90 <= taken <= 100


def without_nonce(person: Any, token: str | None = None) -> dict[str, str]:
    """A proof that is right but for its nonce, made with whatever key, for whatever is called a token."""
    person.token = token or person.token
    return dict(person.headers(person.proof("GET", "/v1/keys", nonce=None)))


def test_whoever_has_no_token_that_counts_cannot_ask_for_nonces_for_ever(world: Any) -> None:
    eve = world.person("eve")
    with TestClient(create_app(world.ports, 16384, limits=Limits(failed_authentications=5))) as client:
        answers = [client.get("/v1/keys", headers=without_nonce(eve, f"made.up.{n}")) for n in range(8)]
    assert [answer.status_code for answer in answers] == [401] * 5 + [429] * 3


def test_asking_for_a_nonce_with_a_token_is_no_failure_but_a_request_like_others(world: Any, alice: Any) -> None:
    with standing_still(world, Kind.READ, failed=5, per_client=2) as client:
        answers = [client.get("/v1/keys", headers=without_nonce(alice)) for _ in range(30)]
        good = world.person("bob").headers(None)
        assert client.get("/v1/keys", headers=good).status_code == 200
    assert [answer.status_code for answer in answers] == [401] * 20 + [429] * 10
    assert 'error="use_dpop_nonce"' in answers[0].headers["www-authenticate"]


def test_a_bound_token_without_its_key_is_refused_before_a_nonce_is_asked_for(world: Any) -> None:
    carol, thief = world.bound_person("carol"), world.bound_person("thief")
    right = world.client.get("/v1/keys", headers=without_nonce(carol))
    assert (right.status_code, right.json()["type"]) == (401, PROBLEM_BASE + "proof-needed")
    wrong = world.client.get("/v1/keys", headers=without_nonce(thief, carol.token))
    assert (wrong.status_code, wrong.json()["type"]) == (401, PROBLEM_BASE + "unauthenticated")


def test_all_addresses_of_one_subscriber_are_one() -> None:
    failures = FailedAuthentications(3, lambda: 0.0)
    for number in range(3):
        failures.add(f"2001:db8:1:2:{number:x}::7")
    with pytest.raises(TooMany):
        failures.require_few("2001:db8:1:2::1")
    failures.require_few("2001:db8:1:3::1")
    for _ in range(3):
        failures.add("::ffff:192.0.2.1")
    with pytest.raises(TooMany):
        failures.require_few("192.0.2.1")
    failures.require_few("192.0.2.2")
    failures.require_few("testclient")
