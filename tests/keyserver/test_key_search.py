"""Searching keys by labels, state, creator and time, a page at a time."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from sqlalchemy import delete

from faceseal.wire import encode_base64url
from keyserver import cli
from keyserver.settings import Settings
from keyserver.store.tables import KeyLabelRow

RECIPIENT = encode_base64url(X25519PrivateKey.generate().public_key().public_bytes_raw())


def make(person: Any, *labels: dict[str, str]) -> list[str]:
    answer = person.post("/v1/keys/batch", {"recipient": RECIPIENT, "keys": [{"labels": each} for each in labels]})
    assert answer.status_code == 201, answer.text
    key_ids: list[str] = answer.json()["key_ids"]
    return key_ids


def page(person: Any, *query: tuple[str, object]) -> dict[str, Any]:
    answer = person.get(f"/v1/keys?{urlencode(query)}")
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def found(person: Any, *query: tuple[str, object]) -> set[str]:
    return {key["id"] for key in page(person, *query)["keys"]}


def test_keys_are_found_by_one_label_and_by_several(alice: Any) -> None:
    one, two, three = make(alice, {"album": "a", "year": "1"}, {"album": "a", "year": "2"}, {"album": "b", "year": "2"})
    assert found(alice, ("label", "album:a")) == {one, two}
    assert found(alice, ("label", "album:a"), ("label", "year:2")) == {two}
    assert found(alice, ("label", "album:a"), ("label", "album:b")) == set()
    assert found(alice, ("label", "a:album")) == set()
    assert found(alice) == {one, two, three}


def test_a_key_that_was_created_singly_is_found_by_its_labels(alice: Any) -> None:
    key, _ = alice.create_key()
    assert found(alice, ("label", "album:summer")) == {str(key.id)}


def test_a_colon_in_a_name_is_no_colon_after_it(alice: Any) -> None:
    first, second = make(alice, {"a:b": "c"}, {"a": "b:c"})
    assert found(alice, ("label", r"a\:b:c")) == {first}
    assert found(alice, ("label", "a:b:c")) == {second}


def test_keys_are_found_by_state_creator_and_time(world: Any, alice: Any) -> None:
    bob, admin = world.person("bob"), world.person("root", "keys:admin")
    (early,) = make(alice, {})
    world.clock.now += 100
    (late,) = make(bob, {})
    admin.post(f"/v1/keys/{early}/suspend")
    now = world.clock.now
    assert found(alice, ("state", "suspended")) == {early}
    assert found(alice, ("state", "active"), ("created_by", "bob")) == {late}
    assert found(alice, ("created_after", now)) == {late}
    assert found(alice, ("created_after", now + 1)) == set()
    assert found(alice, ("created_before", now)) == {early}
    assert found(alice, ("created_after", now - 100), ("created_before", now + 1)) == {early, late}


@pytest.mark.parametrize("label", [None, "album:a"])
def test_pages_follow_one_another_without_gap_or_repetition_while_keys_are_added(
    world: Any, alice: Any, label: str | None
) -> None:
    made = []
    for _ in range(3):
        # Several in one second, so that ids decide.
        made += make(alice, *[{"album": "a"}] * 4)
        world.clock.now += 1
    query: list[tuple[str, object]] = [("limit", 5)] + ([("label", label)] if label else [])
    seen, cursor = [], None
    for expected in (5, 5, 2):
        answer = page(alice, *query, *([("cursor", cursor)] if cursor else []))
        assert len(answer["keys"]) == expected
        seen += [key["id"] for key in answer["keys"]]
        cursor = answer["next"]
        make(alice, {"album": "a"})
        world.clock.now += 1
    assert cursor is None
    assert sorted(seen) == sorted(made)
    assert [key["created_at"] for key in page(alice)["keys"]] == sorted(
        (key["created_at"] for key in page(alice)["keys"]), reverse=True
    )


def test_a_full_last_page_says_that_nothing_follows(alice: Any) -> None:
    make(alice, {}, {})
    assert page(alice, ("limit", 2))["next"] is None
    assert page(alice, ("limit", 1))["next"] is not None


def test_a_cursor_of_another_tenant_or_another_question_is_refused(world: Any, alice: Any) -> None:
    stranger = world.person("alice", tenant="other")
    make(alice, {"a": "b"}, {"a": "b"})
    make(stranger, {}, {})
    cursor = page(alice, ("limit", 1))["next"]
    assert page(alice, ("cursor", cursor))["keys"]
    for person, query in (
        (stranger, [("cursor", cursor)]),
        (alice, [("cursor", cursor), ("state", "active")]),
        (alice, [("cursor", cursor), ("label", "a:b")]),
        (alice, [("cursor", cursor[:-4] + "AAAA")]),
        (alice, [("cursor", "A" * 75)]),
    ):
        answer = person.get(f"/v1/keys?{urlencode(query)}")
        assert (answer.status_code, answer.json()["type"]) == (422, "urn:faceseal:problem:invalid")


def test_another_tenant_finds_nothing_however_it_asks(world: Any, alice: Any) -> None:
    make(alice, {"album": "a"})
    stranger = world.person("alice", tenant="other")
    for query in ([("label", "album:a")], [("created_by", "alice")], [("state", "active")], [("created_after", 0)], []):
        assert page(stranger, *query) == {"keys": [], "next": None}


@pytest.mark.parametrize(
    "query",
    [
        "lable=a:b",
        "label=a",
        "label=a:",
        "label=%00:a",
        "label=a:b&" * 17,
        "label=a:%25%27",
        "state=lost",
        "created_after=-1",
        "created_after=1e99",
        "created_before=soon",
        "created_by=",
        "created_by=" + "x" * 201,
        "limit=0",
        "limit=101",
        "cursor=",
        "cursor=a%20b",
        "cursor=" + "A" * 201,
    ],
)
def test_a_question_that_makes_no_sense_is_refused(alice: Any, query: str) -> None:
    answer = alice.get(f"/v1/keys?{query}")
    assert (answer.status_code, answer.json()["type"]) == (422, "urn:faceseal:problem:invalid")


def test_labels_that_an_older_server_wrote_are_found_once_they_are_indexed(
    world: Any,
    alice: Any,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("KEYSERVER_DATABASE_URL", settings.url)
    made = make(alice, *[{"album": "a", "year": str(number)} for number in range(3)], {})
    with world.ports.database.writing() as session:
        # As if a server of the previous revision had created them.
        session.execute(delete(KeyLabelRow))
    assert found(alice, ("label", "album:a")) == set()
    for line in ("3 keys can be found by their labels now", "0 keys can be found by their labels now"):
        assert cli.main(["key", "index-labels", "--data", str(settings.data)]) == 0
        assert capsys.readouterr().out.strip() == line
    assert found(alice, ("label", "album:a")) == set(made[:3])
    assert found(alice, ("label", "year:2")) == {made[2]}
