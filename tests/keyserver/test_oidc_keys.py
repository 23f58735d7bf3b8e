"""Holding an issuer's keys: rotation, outage, coalescing; the peer is real, only the clock is not."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from functools import partial

import pytest
from oidc_peer import SIGNERS, Answer, OidcPeer, issuer_config, running_peer

from keyserver.tokens.fetching import fetch_key_set
from keyserver.tokens.jwkscache import (
    LONGEST_MAX_AGE,
    OUTAGE_SECONDS,
    PAUSE_SECONDS,
    Fetched,
    JwksCache,
    KeysPending,
)
from keyserver.tokens.jws import VerificationKey
from keyserver.tokens.refusal import TokenRefused

NOW = 1_800_000_000
ONE, TWO = SIGNERS["ES256"].jwk("one"), SIGNERS["EdDSA"].jwk("two")


@pytest.fixture
def peer() -> Iterator[OidcPeer]:
    with running_peer() as peer:
        peer.publish(ONE)
        yield peer


def cache_of(peer: OidcPeer, deadline: float = 5.0) -> JwksCache:
    return JwksCache(peer.url, partial(fetch_key_set, issuer_config(peer.url), deadline))


def found(cache: JwksCache, kid: str | None, now: int) -> VerificationKey:
    """What a token gets that waits for running fetches."""
    try:
        return cache.find(kid, now)
    except KeysPending as pending:
        pending.fetched.result(timeout=10)
        return cache.find(kid, now)


def why(cache: JwksCache, kid: str | None, now: int) -> str:
    with pytest.raises(TokenRefused) as refusal:
        found(cache, kid, now)
    assert not isinstance(refusal.value, KeysPending)
    return refusal.value.why.value


def settle(cache: JwksCache) -> None:
    """Wait for the fetch that runs beside the tokens, if one does."""
    running = cache._running
    if running is not None:
        running.result(timeout=10)


def test_a_key_is_found_after_one_fetch_and_then_without_any(peer: OidcPeer) -> None:
    cache = cache_of(peer)
    with pytest.raises(KeysPending):
        cache.find("one", NOW)
    for moment in range(50):
        assert found(cache, "one", NOW + moment).kid == "one"
    assert peer.asked == ["/jwks"]


def test_keys_can_be_fetched_before_the_first_token(peer: OidcPeer) -> None:
    cache = cache_of(peer)
    cache.warm(NOW)
    settle(cache)
    assert cache.find("one", NOW).kid == "one"


def test_a_new_key_counts_at_once_and_the_one_before_until_the_next_fetch(peer: OidcPeer) -> None:
    cache = cache_of(peer)
    found(cache, "one", NOW)
    peer.publish(TWO)
    assert found(cache, "one", NOW + PAUSE_SECONDS).kid == "one"
    assert found(cache, "two", NOW + PAUSE_SECONDS).kid == "two"
    assert why(cache, "one", NOW + PAUSE_SECONDS) == "key"


def test_a_key_that_was_rotated_out_stops_at_the_latest_when_the_set_is_too_old(peer: OidcPeer) -> None:
    peer.publish(ONE, Cache_Control="max-age=31536000")
    cache = cache_of(peer)
    found(cache, "one", NOW)
    peer.publish(TWO)
    # Nobody asked in the meantime, so nothing was fetched: the token waits for the fetch.
    assert why(cache, "one", NOW + LONGEST_MAX_AGE) == "key"


def test_keys_are_fetched_again_before_they_are_too_old_and_no_token_waits_for_it(peer: OidcPeer) -> None:
    peer.publish(ONE, Cache_Control="max-age=1000")
    cache = cache_of(peer)
    found(cache, "one", NOW)
    assert cache.find("one", NOW + 799).kid == "one"
    assert len(peer.asked) == 1
    assert cache.find("one", NOW + 800).kid == "one"
    settle(cache)
    assert len(peer.asked) == 2
    # From then on the new set counts, for as long again.
    assert cache.find("one", NOW + 1599).kid == "one"
    assert len(peer.asked) == 2


@pytest.mark.parametrize(("said", "counted"), [(0, 60), (1, 60), (300, 300), (86400, 3600)])
def test_how_long_keys_count_is_bounded_both_ways(peer: OidcPeer, said: int, counted: int) -> None:
    peer.publish(ONE, Cache_Control=f"max-age={said}")
    cache = cache_of(peer)
    found(cache, "one", NOW)
    cache.find("one", NOW + counted * 4 // 5 - 1)
    assert len(peer.asked) == 1
    with pytest.raises(KeysPending):
        cache.find("one", NOW + counted)


def test_unknown_kids_cause_one_fetch_in_half_a_minute_however_many_tokens_name_them(peer: OidcPeer) -> None:
    cache = cache_of(peer)
    found(cache, "one", NOW)
    for number in range(100):
        assert why(cache, f"made up {number}", NOW + PAUSE_SECONDS + number % PAUSE_SECONDS) == "key"
    assert len(peer.asked) == 2
    assert found(cache, "one", NOW + PAUSE_SECONDS).kid == "one"


def test_many_requests_at_once_wait_for_one_and_the_same_fetch(peer: OidcPeer) -> None:
    peer.answers["/jwks"].waits = True
    cache = cache_of(peer)
    results: list[str | None] = []
    threads = [threading.Thread(target=lambda: results.append(found(cache, "one", NOW).kid)) for _ in range(40)]
    for thread in threads:
        thread.start()
    peer.go.set()
    for thread in threads:
        thread.join(timeout=10)
    assert results == ["one"] * 40
    assert peer.asked == ["/jwks"]


def test_while_a_fetch_runs_no_other_begins_however_long_it_takes(peer: OidcPeer) -> None:
    peer.answers["/jwks"].waits = True
    cache = cache_of(peer)
    fetches = []
    for moment in (0, PAUSE_SECONDS, 10 * PAUSE_SECONDS):
        with pytest.raises(KeysPending) as pending:
            cache.find("one", NOW + moment)
        fetches.append(pending.value.fetched)
    assert fetches == [fetches[0]] * 3
    peer.go.set()
    fetches[0].result(timeout=10)
    assert peer.asked == ["/jwks"]


def test_an_issuer_that_is_down_does_not_stop_a_known_key_until_the_stated_time(peer: OidcPeer) -> None:
    cache = cache_of(peer)
    found(cache, "one", NOW)
    peer.close()
    assert found(cache, "one", NOW + LONGEST_MAX_AGE).kid == "one"
    # Nor does anybody wait for an issuer that is known to be down.
    for moment in range(LONGEST_MAX_AGE, OUTAGE_SECONDS, 7200):
        assert cache.find("one", NOW + moment).kid == "one"
        settle(cache)
    assert cache.find("one", NOW + OUTAGE_SECONDS - 1).kid == "one"
    settle(cache)
    assert why(cache, "one", NOW + OUTAGE_SECONDS) == "keys_unavailable"


def test_an_issuer_that_never_answered_leaves_its_tokens_refused_and_recovers(peer: OidcPeer) -> None:
    working = peer.answers.pop("/jwks")
    cache = cache_of(peer)
    assert why(cache, "one", NOW) == "keys_unavailable"
    assert why(cache, "one", NOW + PAUSE_SECONDS - 1) == "keys_unavailable"
    assert len(peer.asked) == 1
    peer.answers["/jwks"] = working
    assert found(cache, "one", NOW + PAUSE_SECONDS).kid == "one"


@pytest.mark.parametrize("body", [b"<html>", b'{"keys": [', json.dumps({"keys": [TWO, TWO]}).encode()])
def test_a_set_that_is_refused_leaves_the_one_before_in_force(peer: OidcPeer, body: bytes) -> None:
    cache = cache_of(peer)
    found(cache, "one", NOW)
    peer.answers["/jwks"] = Answer(body)
    assert why(cache, "two", NOW + PAUSE_SECONDS) == "key"
    assert found(cache, "one", NOW + PAUSE_SECONDS).kid == "one"


def test_a_set_without_keys_revokes_all_of_them(peer: OidcPeer) -> None:
    cache = cache_of(peer)
    found(cache, "one", NOW)
    peer.publish()
    assert why(cache, "two", NOW + PAUSE_SECONDS) == "key"
    assert why(cache, "one", NOW + PAUSE_SECONDS) == "key"


def test_a_key_whose_secret_is_published_stops_at_the_next_fetch(
    peer: OidcPeer, caplog: pytest.LogCaptureFixture
) -> None:
    cache = cache_of(peer)
    found(cache, "one", NOW)
    peer.publish(ONE | {"d": "c2VjcmV0"}, TWO)
    assert found(cache, "two", NOW + PAUSE_SECONDS).kid == "two"
    assert why(cache, "one", NOW + PAUSE_SECONDS) == "key"
    assert "secret_published" in caplog.text
    assert "c2VjcmV0" not in caplog.text


def test_a_clock_that_was_set_back_leads_to_fetching_again_and_stops_nobody(peer: OidcPeer) -> None:
    cache = cache_of(peer)
    found(cache, "one", NOW)
    assert cache.find("one", NOW - 1).kid == "one"
    assert found(cache, "one", NOW - 86400).kid == "one"
    assert len(peer.asked) == 2
    peer.publish(TWO)
    assert found(cache, "two", NOW - 86400 + PAUSE_SECONDS).kid == "two"


def test_what_went_wrong_is_in_the_log_by_the_issuers_name(peer: OidcPeer, caplog: pytest.LogCaptureFixture) -> None:
    peer.answers["/jwks"] = Answer(b"secret-looking body")
    assert why(cache_of(peer), "one", NOW) == "keys_unavailable"
    assert f"the keys of issuer {peer.url} were not fetched: the key set is not strict JSON" in caplog.text
    assert "secret-looking" not in caplog.text


def test_a_bug_while_fetching_leaves_nobody_waiting(caplog: pytest.LogCaptureFixture) -> None:
    async def broken() -> Fetched:
        raise ZeroDivisionError("with details")

    assert why(JwksCache("issuer", broken), "one", NOW) == "keys_unavailable"
    assert "ZeroDivisionError" in caplog.text
    assert "with details" not in caplog.text
