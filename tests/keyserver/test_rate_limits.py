"""Token buckets that replicas share: never more than is allowed, and a clear answer to whoever asks too often."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.testclient import TestClient

from faceseal.wire import PROBLEM_BASE
from keyserver.app import create_app
from keyserver.errors import TooMany
from keyserver.limits import Limits
from keyserver.policy import Caller
from keyserver.rates import Bucket, Kind, Rate, full, full_at, parse_rates, take
from keyserver.service.failures import FailedAuthentications
from keyserver.service.ratelimits import RateLimits
from keyserver.settings import Settings
from keyserver.store.tables import BucketRow

ALICE = Caller("alice", "default", frozenset(), "token")
BOB = Caller("bob", "default", frozenset(), "token")
STRANGER = Caller("alice", "other", frozenset(), "token")
TEN = {Kind.RELEASE: Rate(10)}


class Time:
    now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


def admitted(limits: RateLimits, caller: Caller, tries: int, kind: Kind = Kind.RELEASE) -> int:
    """How many of so many requests are let through."""
    count = 0
    for _ in range(tries):
        try:
            limits.admit(caller, kind)
        except TooMany:
            continue
        count += 1
    return count


@given(
    st.integers(1, 1000),
    st.lists(st.tuples(st.integers(0, 5000), st.integers(1, 50), st.floats(0, 1)), max_size=40),
)
def test_a_bucket_never_gives_more_than_its_size_and_its_rate(
    per_second: int, steps: list[tuple[int, int, float]]
) -> None:
    rate, now, given_out = Rate(per_second), 0, 0
    bucket = full(rate, now)
    for passed, most, share_unspent in steps:
        now += passed
        taken = take(bucket, rate, now, most)
        unspent = int(taken.actions * share_unspent)
        given_out += taken.actions - unspent
        bucket = take(taken.bucket, rate, now, 0, unspent).bucket
        assert 0 <= bucket.tokens <= rate.capacity * 1000
        assert given_out * 1000 <= rate.capacity * 1000 + now * per_second


@given(st.integers(1, 1000), st.integers(0, 10_000))
def test_after_the_time_that_it_says_an_empty_bucket_gives_again(per_second: int, tokens: int) -> None:
    rate = Rate(per_second)
    taken = take(Bucket(min(tokens, 999), 0), rate, 0, 1)
    assert taken.actions == 0
    assert take(taken.bucket, rate, taken.wait, 1).actions == 1
    assert take(taken.bucket, rate, taken.wait - 1, 1).actions == 0
    assert take(taken.bucket, rate, full_at(taken.bucket, rate), 0).bucket.tokens == rate.capacity * 1000


def test_a_clock_that_is_behind_refills_nothing() -> None:
    bucket = Bucket(0, 10_000)
    assert take(bucket, Rate(10), 0, 5).bucket == bucket


@pytest.mark.parametrize(
    "text", ["create", "create=x", "create=-1", "create=1,create=2", "other=١", "walk=1", "read=1e3"]
)
def test_rates_are_parsed_strictly(text: str) -> None:
    with pytest.raises(ValueError, match=r".*"):
        parse_rates(text)
    with pytest.raises(ValueError, match="client_rates"):
        Settings(client_rates=text)  # type: ignore[arg-type]


def test_a_rate_of_zero_is_no_limit(world: Any) -> None:
    assert parse_rates("create=5, release=0") == {Kind.CREATE: Rate(5)}
    limits = RateLimits(world.ports.database, parse_rates("release=0"), {}, Time())
    assert admitted(limits, ALICE, 500) == 500


def test_two_replicas_together_give_a_client_what_is_allowed_and_no_more(world: Any) -> None:
    time = Time()
    replicas = [RateLimits(world.ports.database, TEN, {}, time) for _ in range(2)]
    # All but what the other replica holds at the end.
    first = sum(admitted(replica, ALICE, 3) for _ in range(40) for replica in replicas)
    assert 100 - 2 * TEN[Kind.RELEASE].slice <= first <= 100
    time.now += 3
    later = sum(admitted(replica, ALICE, 3) for _ in range(20) for replica in replicas)
    assert first + later <= 130
    assert later >= 30 - 2 * TEN[Kind.RELEASE].slice


def test_a_client_that_asks_slowly_on_many_replicas_is_never_refused(world: Any) -> None:
    time = Time()
    replicas = [RateLimits(world.ports.database, {Kind.RELEASE: Rate(8)}, {}, time) for _ in range(6)]
    for _ in range(60):
        time.now += 1.1
        assert [admitted(replica, ALICE, 1) for replica in replicas] == [1] * 6


def test_clients_and_tenants_do_not_use_up_each_others_tokens(world: Any) -> None:
    limits = RateLimits(world.ports.database, TEN, {}, Time())
    assert [admitted(limits, caller, 150) for caller in (ALICE, BOB, STRANGER)] == [100, 100, 100]
    assert admitted(limits, ALICE, 5, Kind.READ) == 5


def test_all_clients_of_a_tenant_share_its_bucket(world: Any) -> None:
    limits = RateLimits(world.ports.database, {Kind.RELEASE: Rate(1000)}, TEN, Time())
    assert admitted(limits, ALICE, 70) + admitted(limits, BOB, 70) == 100
    assert admitted(limits, STRANGER, 10) == 10


def test_many_threads_get_together_what_one_would(world: Any) -> None:
    limits, counts = RateLimits(world.ports.database, TEN, {}, Time()), []
    threads = [threading.Thread(target=lambda: counts.append(admitted(limits, ALICE, 20))) for _ in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sum(counts) == 100


def test_most_requests_need_no_transaction(world: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    time, opened, real = Time(), [], type(world.ports.database).writing
    monkeypatch.setattr(type(world.ports.database), "writing", lambda self: (opened.append(1), real(self))[1])
    limits = RateLimits(world.ports.database, {Kind.RELEASE: Rate(400)}, {}, time)
    assert admitted(limits, ALICE, 1000) == 1000
    assert len(opened) == 10


def test_buckets_that_are_full_again_are_swept_away(world: Any) -> None:
    time = Time()
    limits = RateLimits(world.ports.database, TEN, {}, time)
    admitted(limits, ALICE, 1)
    time.now += 7200
    admitted(limits, BOB, 1)
    with world.ports.database.reading() as session:
        assert session.query(BucketRow).count() == 1


def test_whoever_asks_too_often_is_told_when_to_come_again(world: Any) -> None:
    limits = Limits(per_client={Kind.READ: Rate(1)})
    with TestClient(create_app(world.ports, 16384, limits=limits)) as client:
        headers = {"Authorization": f"Bearer {world.person('alice').token}"}
        answers = [client.get("/v1/keys", headers=headers) for _ in range(12)]
        answer = answers[-1]
        assert answers[0].status_code == 200
        assert (answer.status_code, answer.json()["type"]) == (429, PROBLEM_BASE + "too-many-requests")
        assert answer.headers["retry-after"] == "1"
        assert answer.headers["ratelimit-policy"] == '"client";q=10;w=10'
        assert answer.headers["ratelimit"] == '"client";r=0;t=1'
        assert client.get("/healthz").status_code == 200


def test_an_address_that_sends_bad_tokens_is_not_listened_to_for_a_minute(world: Any) -> None:
    good = {"Authorization": f"Bearer {world.person('alice').token}"}
    with TestClient(create_app(world.ports, 16384, limits=Limits(failed_authentications=5))) as client:
        assert client.get("/v1/keys", headers=good).status_code == 200
        assert [client.get("/v1/keys").status_code for _ in range(7)] == [401] * 5 + [429] * 2
        assert client.get("/v1/keys", headers=good).status_code == 429


def test_failures_are_forgotten_after_a_minute_and_of_the_address_that_was_known_longest() -> None:
    time = Time()
    failures = FailedAuthentications(2, time)
    for _ in range(2):
        failures.add("192.0.2.1")
    with pytest.raises(TooMany):
        failures.require_few("192.0.2.1")
    failures.require_few("192.0.2.2")
    time.now += 60
    failures.require_few("192.0.2.1")
    failures.add("192.0.2.1")
    failures.require_few("192.0.2.1")
    for number in range(10_001):
        failures.add(f"2001:db8:0:{number:x}::1")
    assert len(failures._counts) == 10_000
