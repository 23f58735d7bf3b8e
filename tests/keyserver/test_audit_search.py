"""Searching the audit log, and the history of a photo: for auditors, of their own tenant, on record."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import urlencode
from uuid import uuid4

import pytest
from sqlalchemy import delete, event, select, update

from faceseal.wire import MAX_RESPONSE_BYTES, encode_base64url
from keyserver import audit
from keyserver.actions import Action
from keyserver.audit import Entry, Outcome, indexing
from keyserver.errors import Unavailable
from keyserver.keywrap import Root
from keyserver.service import audit_search, reindexing
from keyserver.store.tables import IndexKeyRow, IndexRow, LogRow

DIGEST = encode_base64url(b"d" * 32)
HASH = encode_base64url(b"\x0f" * 8)


@pytest.fixture
def auditor(world: Any) -> Any:
    return world.person("auditor", "audit:read")


def ask(person: Any, path: str, **query: object) -> Any:
    """Proofs name a path without its query."""
    headers = person.headers(person.proof("GET", f"/v1/audit/{path}"))
    return person.client.get(f"/v1/audit/{path}?{urlencode(query)}", headers=headers)


def page(person: Any, path: str = "entries", **query: object) -> dict[str, Any]:
    answer = ask(person, path, **query)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def events(found: dict[str, Any]) -> list[tuple[str, str, str]]:
    return [(entry["action"], entry["outcome"], entry["actor"]) for entry in found["entries"]]


def test_entries_are_found_by_each_thing_that_they_say(world: Any, alice: Any, bob: Any, auditor: Any) -> None:
    key, _ = alice.create_key()
    world.clock.now += 100
    grant_id, token = world.grant_token(alice, bob, key.id)
    world.clock.now += 100
    alice.release(key.id, token)
    bob.release(key.id, token)
    created, requested, approved = ("key.create", "allowed", "alice"), ("grant.request", "allowed", "alice"), None
    approved = ("grant.approve", "allowed", "bob")
    released, refused = ("release", "allowed", "alice"), ("release", "denied", "bob")
    assert events(page(auditor, key_id=key.id)) == [refused, released, requested, created]
    assert events(page(auditor, grant_id=grant_id)) == [refused, released, approved, requested]
    assert events(page(auditor, actor="bob")) == [refused, approved]
    assert events(page(auditor, action="release")) == [refused, released]
    assert events(page(auditor, action="release", outcome="denied")) == [refused]
    now = world.clock.now
    assert events(page(auditor, after=now, actor="alice")) == [released]
    assert events(page(auditor, before=now - 100, actor="alice")) == [created]
    assert events(page(auditor, after=now - 100, before=now, actor="alice")) == [requested]
    assert events(page(auditor, actor="alice", grant_id=grant_id, outcome="denied")) == []


def test_an_entry_says_all_and_comes_with_the_leaf_that_is_in_the_tree(
    world: Any, alice: Any, bob: Any, auditor: Any
) -> None:
    key, _ = alice.create_key()
    grant_id, _ = world.grant_token(alice, bob, key.id, reference="17 O 4/26", purpose_code="court_order")
    (entry,) = page(auditor, action="grant.request")["entries"]
    assert world.leaves()[entry["index"]] == entry["leaf"]
    leaf = json.loads(entry["leaf"])
    assert leaf["version"] == 2
    assert not {"jkt", "token", "purpose", "reference", "labels"} & leaf.keys()
    assert all(word not in entry["leaf"] for word in ("alice", "court order 17", "17 O 4/26", alice.jkt))
    assert (entry["personal"], entry["actor"], entry["jkt"]) == ("opened", "alice", alice.jkt)
    assert entry["pseudonym"] == leaf["actor"]
    assert (entry["purpose_code"], entry["purpose"], entry["reference"]) == (
        "court_order",
        "court order 17",
        "17 O 4/26",
    )
    assert (entry["key_ids"], entry["grant_id"], entry["at"]) == ([str(key.id)], grant_id, world.clock.now)


def test_a_photos_history_says_who_asked_approved_saw_and_was_refused(
    world: Any, alice: Any, bob: Any, auditor: Any
) -> None:
    key, _ = alice.create_key()
    other, _ = alice.create_key()
    alice.put(f"/v1/keys/{key.id}/sealed", {"sealed_digest": DIGEST, "perceptual_hash": HASH})
    grant_id, token = world.grant_token(alice, bob, key.id, other.id, uses=3, reference="17 O 4/26")
    alice.release(key.id, token)
    alice.release(other.id, token)
    bob.release(key.id, token)
    alice.post(f"/v1/grants/{grant_id}/revoke")
    expected = [
        ("grant.revoke", "allowed", "alice"),
        ("release", "denied", "bob"),
        ("release", "allowed", "alice"),
        ("grant.approve", "allowed", "bob"),
        ("grant.request", "allowed", "alice"),
        ("key.bind", "allowed", "alice"),
        ("key.create", "allowed", "alice"),
    ]
    for query in ({"key_id": key.id}, {"sealed_digest": DIGEST}, {"perceptual_hash": HASH}):
        history = page(auditor, "photo", **query)
        assert events(history) == expected
        assert [match["key"]["id"] for match in history["keys"]] == [str(key.id)]
        seen = history["entries"][2]
        assert (seen["purpose"], seen["reference"], seen["jkt"]) == ("court order 17", "17 O 4/26", alice.jkt)


def test_an_approval_by_labels_belongs_to_the_photos_that_it_was_for(
    world: Any, alice: Any, bob: Any, auditor: Any
) -> None:
    key, _ = alice.create_key(album="summer")
    elsewhere, _ = alice.create_key(album="winter")
    grant = alice.request_grant(labels={"album": "summer"})
    bob.post(f"/v1/grants/{grant['id']}/approve")
    assert ("grant.approve", "allowed", "bob") in events(page(auditor, "photo", key_id=key.id))
    assert ("grant.request", "allowed", "alice") in events(page(auditor, "photo", key_id=key.id))
    assert events(page(auditor, "photo", key_id=elsewhere.id)) == [("key.create", "allowed", "alice")]
    (request,) = page(auditor, action="grant.request")["entries"]
    assert request["labels"] == {"album": "summer"}


@pytest.mark.parametrize(
    "query", [{}, {"key_id": uuid4(), "sealed_digest": DIGEST}, {"sealed_digest": DIGEST, "perceptual_hash": HASH}]
)
def test_a_photo_is_named_in_one_way(auditor: Any, query: Any) -> None:
    assert ask(auditor, "photo", **query).status_code == 422


def test_a_search_is_on_record_once_whatever_its_pages(world: Any, alice: Any, auditor: Any) -> None:
    for _ in range(5):
        alice.create_key()
    before = len(world.leaves())
    found = page(auditor, actor="alice", limit=2)
    while found["next"] is not None:
        found = page(auditor, actor="alice", limit=2, cursor=found["next"])
    (search,) = world.entries(before)
    assert (search["event"], search["actor"]) == ("audit.search.allowed", "auditor")
    # By pseudonym: erasing whom the search was about erases it here as well.
    assert search["about"] == json.loads(world.leaves()[-2])["actor"]
    assert "alice" not in world.leaves()[-1]


def test_a_search_that_cannot_be_recorded_is_not_answered(
    world: Any, alice: Any, auditor: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    alice.create_key()

    def broken(*_: object) -> None:
        raise Unavailable("the log cannot be written")

    monkeypatch.setattr(audit, "append", broken)
    for path, query in (("entries", {}), ("photo", {"key_id": uuid4()})):
        answer = ask(auditor, path, **query)
        assert answer.status_code == 503
        assert "alice" not in answer.text


def test_pages_follow_one_another_while_entries_are_added(world: Any, alice: Any, auditor: Any) -> None:
    made = [str(alice.create_key()[0].id) for _ in range(7)]
    seen: list[str] = []
    cursor: dict[str, str] = {}
    while True:
        found = page(auditor, action="key.create", limit=2, **cursor)
        seen += [entry["key_ids"][0] for entry in found["entries"]]
        if found["next"] is None:
            break
        cursor = {"cursor": found["next"]}
        alice.create_key()
    assert seen == made[::-1]


def test_a_cursor_is_of_one_question_one_reader_and_one_tenant(world: Any, alice: Any, auditor: Any) -> None:
    for _ in range(3):
        alice.create_key()
    cursor = page(auditor, limit=1)["next"]
    colleague = world.person("colleague", "audit:read")
    stranger = world.person("auditor", "audit:read", tenant="other")
    photos = page(auditor, "photo", key_id=uuid4())
    assert photos["next"] is None
    assert ask(auditor, "entries", cursor=cursor, action="release").status_code == 422
    assert ask(auditor, "photo", cursor=cursor, key_id=uuid4()).status_code == 422
    for person in (colleague, stranger):
        assert ask(person, "entries", cursor=cursor).status_code == 422
    assert ask(auditor, "entries", cursor=cursor).status_code == 200


def test_a_tenants_auditor_sees_nothing_of_another_tenant(world: Any, alice: Any, bob: Any) -> None:
    key, _ = alice.create_key()
    grant_id, token = world.grant_token(alice, bob, key.id)
    stranger = world.person("alice", tenant="other")
    stranger.release(key.id, token)
    mine = page(stranger)["entries"]
    assert {json.loads(entry["leaf"])["tenant"] for entry in mine} == {"other"}
    assert events(page(stranger, key_id=key.id)) == [("release", "denied", "alice")]
    assert events(page(stranger, grant_id=grant_id)) == [("release", "denied", "alice")]
    # Nor is what the stranger tried shown to the tenant whose key it was.
    assert events(page(alice, key_id=key.id)) == [
        ("grant.request", "allowed", "alice"),
        ("key.create", "allowed", "alice"),
    ]


def test_a_person_of_another_tenant_is_looked_for_like_one_that_there_is_not(world: Any, alice: Any) -> None:
    alice.create_key()
    stranger = world.person("eve", tenant="other")
    page(stranger, actor="eve")
    statements: list[str] = []

    def note(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        statements.append(statement)

    asked = []
    event.listen(world.ports.database.engine, "before_cursor_execute", note)
    try:
        for name in ("alice", "nobody"):
            statements.clear()
            answer = ask(stranger, "entries", actor=name)
            asked.append((answer.status_code, answer.content, list(statements)))
    finally:
        event.remove(world.ports.database.engine, "before_cursor_execute", note)
    assert asked[0] == asked[1]
    assert asked[0][2]
    assert [entry.get("about") for entry in world.entries()[-2:]] == [None, None]


def test_an_index_that_was_altered_shows_nothing_of_another_tenant(world: Any, alice: Any) -> None:
    alice.create_key()
    stranger = world.person("alice", tenant="other")
    with world.ports.database.writing() as session:
        session.execute(update(IndexRow).values(tenant="other"))
    assert {json.loads(entry["leaf"])["tenant"] for entry in page(stranger)["entries"]} == {"other"}
    assert page(stranger, action="key.create")["entries"] == []


def test_a_page_of_the_longest_entries_stays_below_the_longest_answer(world: Any, auditor: Any) -> None:
    entry = Entry(
        at=world.clock.now,
        action=Action.REQUEST_GRANT,
        outcome=Outcome.ALLOWED,
        actor="\U0001f600" * 200,
        tenant="default",
        token_id="t",
        key_ids=tuple(uuid4() for _ in range(1000)),
        purpose='"' * 200,
        reference="\U0001f600" * 200,
    )
    with world.ports.database.writing() as session:
        audit.record_all(session, [entry] * 12)
    numbers: list[int] = []
    cursor: dict[str, str] = {}
    while True:
        answer = ask(auditor, "entries", action="grant.request", **cursor)
        assert len(answer.content) < MAX_RESPONSE_BYTES
        numbers += [entry["index"] for entry in answer.json()["entries"]]
        if answer.json()["next"] is None:
            break
        cursor = {"cursor": answer.json()["next"]}
    assert len(numbers) == 12
    assert numbers == sorted(numbers, reverse=True)


def test_thousands_of_entries_are_read_no_more_than_a_page_at_a_time(world: Any, alice: Any, auditor: Any) -> None:
    entry = Entry(at=1, action=Action.RELEASE, outcome=Outcome.DENIED, actor="alice", tenant="default", key_id=uuid4())
    with world.ports.database.writing() as session:
        audit.record_all(session, [entry] * 3000)
    assert len(page(auditor)["entries"]) == len(page(auditor, "photo", key_id=entry.key_id)["entries"]) == 100
    assert ask(auditor, "entries", limit=101).status_code == 422


def index_of(world: Any) -> tuple[list[Any], list[Any]]:
    with world.ports.database.reading() as session:
        rows = session.execute(select(IndexRow.__table__).order_by(IndexRow.entry_index)).all()
        keys = session.execute(select(IndexKeyRow.__table__)).all()
    return [tuple(row) for row in rows], sorted((str(row.key_id), row.entry_index) for row in keys)


def test_the_index_made_with_the_entries_is_the_one_made_of_the_leaves(
    world: Any, alice: Any, bob: Any, auditor: Any
) -> None:
    key, _ = alice.create_key()
    world.grant_token(alice, bob, key.id)
    bob.post("/v1/grants", {"labels": {"album": "summer"}, "purpose": "all of it"})
    page(auditor, "photo", key_id=key.id)
    first = index_of(world)
    assert len(first[0]) == len(world.leaves())
    steps = list(reindexing.reindex(world.ports, again=True, batch=3))
    assert steps[-1] == (len(world.leaves()), len(world.leaves()))
    assert len(steps) > 2
    assert index_of(world) == first


def test_making_the_index_again_goes_on_where_it_was_stopped_and_nobody_is_told_half(
    world: Any, alice: Any, auditor: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(5):
        alice.create_key()
    whole = index_of(world)
    next(reindexing.reindex(world.ports, again=True, batch=2))
    monkeypatch.setattr(audit_search, "MOST_TO_INDEX", 2)
    assert ask(auditor, "entries").status_code == 503
    alice.create_key()
    steps = [indexed for indexed, _ in reindexing.reindex(world.ports, again=False, batch=2)]
    assert steps[0] == 4
    rows, _ = index_of(world)
    assert rows[: len(whole[0])] == whole[0]
    assert ask(auditor, "entries").status_code == 200


def old_server_appends(world: Any) -> None:
    """As a server of the version before does it: the leaf, and nothing that is beside the tree."""
    entry = Entry(at=5, action=Action.READ_KEYS, outcome=Outcome.DENIED, actor="old alice", tenant="default")
    with world.ports.database.writing() as session:
        indexed = session.get_one(LogRow, 1).indexed
        (appended,) = audit.append_all(session, [replaced_person(entry)])
        session.execute(delete(IndexRow).where(IndexRow.entry_index == appended.index))
        session.execute(update(LogRow).values(indexed=indexed))


def replaced_person(entry: Entry) -> Entry:
    """One whose leaf has everything in the clear."""

    class InTheClear(Entry):
        person = None

    return InTheClear(**{name: getattr(entry, name) for name in Entry.__dataclass_fields__})


def test_what_servers_of_the_version_before_append_is_found_and_so_is_what_follows(
    world: Any, alice: Any, auditor: Any
) -> None:
    old_server_appends(world)
    alice.create_key()
    old_server_appends(world)
    assert events(page(auditor, actor="old alice")) == [("key.read", "denied", "old alice")] * 2
    (first, *_) = page(auditor, actor="old alice")["entries"]
    assert (first["personal"], first["pseudonym"]) == ("clear", None)
    assert events(page(auditor, actor="alice")) == [("key.create", "allowed", "alice")]
    with world.ports.database.reading() as session:
        assert session.get_one(LogRow, 1).indexed == len(world.leaves())
        assert len(session.scalars(select(IndexRow.entry_index)).all()) == len(world.leaves())


def test_without_the_root_nothing_is_read_and_everything_is_written(
    world: Any, alice: Any, auditor: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Silent:
        def wrap(self, *_: bytes) -> bytes:
            raise Unavailable("the root does not answer")

        unwrap = wrap

    root: Root = world.ports.root
    newcomer = world.person("newcomer")
    object.__setattr__(world.ports, "root", Silent())
    assert newcomer.get(f"/v1/keys/{uuid4()}").status_code == 404
    assert ask(newcomer, "entries", actor="newcomer").status_code == 503
    object.__setattr__(world.ports, "root", root)
    assert ("key.read", "denied", "newcomer") in events(page(auditor, actor="newcomer"))


def test_the_index_is_extended_under_the_lock_of_the_log(world: Any, alice: Any) -> None:
    old_server_appends(world)
    with world.ports.database.writing() as session:
        indexed, size = indexing.extend(session)
    assert indexed == size == len(world.leaves())
