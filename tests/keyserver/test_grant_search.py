"""Listing grants: filters, pages, and cursors that nobody else can make or use."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest

from faceseal.wire import decode_base64url, encode_base64url


def ids(answer: Any) -> list[str]:
    assert answer.status_code == 200, answer.text
    return [grant["id"] for grant in answer.json()["grants"]]


@pytest.fixture
def key_id(alice: Any) -> Any:
    return alice.create_key()[0].id


def test_pages_follow_each_other_without_gap_or_double(world: Any, alice: Any, key_id: Any) -> None:
    requested = []
    for number in range(7):
        world.clock.now += number % 2
        requested.append(alice.request_grant(key_id)["id"])
    whole = ids(alice.get("/v1/grants"))
    assert sorted(whole) == sorted(requested)
    found, cursor = [], ""
    for length in (3, 3, 1):
        page = alice.get(f"/v1/grants?limit=3{cursor}")
        found += ids(page)
        assert len(ids(page)) == length
        cursor = f"&cursor={page.json()['next']}"
        # What is requested meanwhile is newer, and moves nothing.
        alice.request_grant(key_id)
    assert found == whole
    assert page.json()["next"] is None


def test_each_filter_finds_what_it_names(world: Any, alice: Any, bob: Any, key_id: Any) -> None:
    other_key = alice.create_key()[0].id
    pending = alice.request_grant(key_id, purpose_code="court_order")["id"]
    for_other = world.person("carol").request_grant(other_key)["id"]
    approved, _ = world.grant_token(alice, bob, key_id, valid_for=600)
    denied = alice.request_grant(key_id)["id"]
    bob.post(f"/v1/grants/{denied}/deny")
    revoked, _ = world.grant_token(alice, bob, key_id)
    bob.post(f"/v1/grants/{revoked}/revoke")
    exhausted, token = world.grant_token(alice, bob, key_id, valid_for=60)
    assert alice.release(key_id, token).status_code == 200
    expired, _ = world.grant_token(alice, bob, key_id, valid_for=60)
    world.clock.now += 60

    by_state = {"approved": approved, "denied": denied, "revoked": revoked, "exhausted": exhausted, "expired": expired}
    for state, grant_id in by_state.items():
        assert ids(bob.get(f"/v1/grants?state={state}")) == [grant_id]
        assert bob.get(f"/v1/grants/{grant_id}").json()["state"] == state
    assert set(ids(bob.get("/v1/grants?state=pending"))) == {pending, for_other}
    assert ids(bob.get("/v1/grants?purpose=court_order")) == [pending]
    assert ids(bob.get(f"/v1/grants?key_id={other_key}")) == [for_other]
    assert ids(bob.get("/v1/grants?requested_by=carol")) == [for_other]
    assert ids(bob.get("/v1/grants?requested_by=carol&state=approved")) == []
    assert len(ids(bob.get(f"/v1/grants?requested_by=alice&key_id={key_id}"))) == 6


def test_filters_show_nobody_more_than_they_may_see(world: Any, alice: Any, key_id: Any) -> None:
    hers = alice.request_grant(key_id)["id"]
    carol = world.person("carol", "grants:request")
    for query in ("", "?requested_by=alice", f"?key_id={key_id}", "?state=pending"):
        assert ids(carol.get(f"/v1/grants{query}")) == []
        assert ids(world.person("bob", tenant="other").get(f"/v1/grants{query}")) == []
        assert ids(alice.get(f"/v1/grants{query}")) == [hers]


@pytest.mark.parametrize(
    "query",
    [
        "state=open",
        "stat=pending",
        "limit=0",
        "limit=101",
        "limit=x",
        "key_id=1",
        "purpose=fun",
        "requested_by=",
        "cursor=",
    ],
)
def test_a_query_that_is_not_understood_is_refused(alice: Any, query: str) -> None:
    assert alice.get(f"/v1/grants?{query}").status_code == 422


def test_a_cursor_serves_for_its_own_query_tenant_and_reader_alone(world: Any, alice: Any, key_id: Any) -> None:
    for _ in range(3):
        alice.request_grant(key_id)
    cursor = alice.get("/v1/grants?limit=1&state=pending").json()["next"]
    assert alice.get(f"/v1/grants?limit=2&state=pending&cursor={cursor}").status_code == 200
    requester = world.person("alice", "grants:request")
    stranger = world.person("alice", tenant="other")
    for answer in (
        alice.get(f"/v1/grants?cursor={cursor}"),
        alice.get(f"/v1/grants?state=denied&cursor={cursor}"),
        alice.get(f"/v1/grants?state=pending&purpose=other&cursor={cursor}"),
        requester.get(f"/v1/grants?state=pending&cursor={cursor}"),
        stranger.get(f"/v1/grants?state=pending&cursor={cursor}"),
    ):
        assert (answer.status_code, answer.json()["detail"][:10]) == (422, "the cursor")


def test_a_cursor_that_was_altered_or_made_up_is_refused(alice: Any, key_id: Any) -> None:
    for _ in range(2):
        alice.request_grant(key_id)
    good = decode_base64url(alice.get("/v1/grants?limit=1").json()["next"])
    for wrong in (
        bytes([good[0] ^ 1]) + good[1:],
        good[:-1] + bytes([good[-1] ^ 1]),
        good[:-1],
        good[1:],
        good[-32:],
        good + good,
        bytes(len(good)),
        b"x",
    ):
        assert alice.get(f"/v1/grants?limit=1&cursor={encode_base64url(wrong)}").status_code == 422
    for text in ("!", "A" * 501, "AAA=", "%00"):
        assert alice.get(f"/v1/grants?limit=1&cursor={text}").status_code == 422


def test_a_search_for_a_key_that_does_not_exist_finds_nothing(alice: Any) -> None:
    assert alice.get(f"/v1/grants?key_id={uuid4()}").json() == {"grants": [], "next": None}
