"""Grants for whatever keys carry certain labels when the grant is approved."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import insert, select

from faceseal.wire import MAX_KEYS_IN_GRANT, MAX_RESPONSE_BYTES, KeyState
from keyserver.audit.export import MAX_LINE_BYTES
from keyserver.store.tables import KeyLabelRow, KeyRow


def ask(person: Any, **labels: str) -> Any:
    answer = person.post("/v1/grants", {"labels": labels, "purpose": "x", "uses": 5})
    assert answer.status_code == 201, answer.text
    return answer.json()


def approve(person: Any, grant: Any) -> Any:
    return person.post(f"/v1/grants/{grant['id']}/approve")


def last_entry(world: Any) -> dict[str, Any]:
    entry: dict[str, Any] = world.last_entry()
    return entry


def test_labels_are_resolved_at_the_approval_and_no_later(world: Any, alice: Any, bob: Any) -> None:
    first = alice.create_key(case="17", side="left")[0].id
    grant = ask(alice, case="17")
    assert (grant["key_ids"], grant["labels"]) == ([], {"case": "17"})
    second = alice.create_key(case="17")[0].id
    approved = approve(bob, grant).json()

    assert approved["key_ids"] == [str(first), str(second)]
    assert last_entry(world)["keys"] == [str(first), str(second)]
    late = alice.create_key(case="17")[0].id
    token = alice.get(f"/v1/grants/{grant['id']}").json()["token"]
    assert [alice.release(key, token).status_code for key in (first, second, late)] == [200, 200, 403]
    assert last_entry(world)["reason"] == "key_not_in_grant"


def test_every_label_must_match_by_name_and_by_value(world: Any, alice: Any, bob: Any) -> None:
    both = alice.create_key(case="17", side="left")[0].id
    for other in ({"case": "17"}, {"case": "18", "side": "left"}, {"side": "17", "case": "left"}, {"Case": "17"}):
        alice.create_key(**other)
    assert approve(bob, ask(alice, case="17", side="left")).json()["key_ids"] == [str(both)]


@pytest.mark.parametrize("name", ["a.b", "a/b:c", "a b", "-", "0", "a_b", "$", "[0]"])
def test_label_names_are_names_and_no_paths(world: Any, alice: Any, bob: Any, name: str) -> None:
    plain = all(character.isalnum() or character in "._:/ -" for character in name)
    if not plain:
        assert alice.post("/v1/grants", {"labels": {name: "x"}, "purpose": "x"}).status_code == 422
        return
    key = alice.create_key(**{name: "x"})[0].id
    alice.create_key(a="x", b="x")
    assert approve(bob, ask(alice, **{name: "x"})).json()["key_ids"] == [str(key)]


def test_another_tenants_keys_are_never_found(world: Any, alice: Any, bob: Any) -> None:
    world.person("alice", tenant="other").create_key(case="17")
    grant = ask(alice, case="17")
    refused = approve(bob, grant)
    assert (refused.status_code, "label keys first" in refused.json()["detail"]) == (409, True)
    assert last_entry(world)["reason"] == "labels_fit_no_key"


def test_an_approval_that_finds_no_key_counts_for_nothing_and_can_be_given_again(
    world: Any, alice: Any, bob: Any
) -> None:
    grant = ask(alice, case="17")
    assert approve(bob, grant).status_code == 409
    assert bob.get(f"/v1/grants/{grant['id']}").json()["approvals"] == []
    key = alice.create_key(case="17")[0].id
    assert approve(bob, grant).json()["key_ids"] == [str(key)]


def test_destroyed_keys_are_left_out(world: Any, alice: Any, bob: Any) -> None:
    gone, kept = alice.create_key(case="17")[0].id, alice.create_key(case="17")[0].id
    with world.ports.database.writing() as session:
        session.get_one(KeyRow, gone).state = KeyState.DESTROYED
    assert approve(bob, ask(alice, case="17")).json()["key_ids"] == [str(kept)]


def copies(world: Any, key_id: Any, count: int) -> None:
    with world.ports.database.writing() as session:
        row = session.execute(select(KeyRow.__table__).where(KeyRow.id == key_id)).mappings().one()
        made = [dict(row) | {"id": uuid4()} for _ in range(count)]
        session.execute(insert(KeyRow), made)
        labels = session.execute(select(KeyLabelRow.__table__).where(KeyLabelRow.key_id == key_id)).mappings().all()
        session.execute(insert(KeyLabelRow), [dict(one) | {"key_id": key["id"]} for one in labels for key in made])


def test_a_thousand_keys_are_granted_and_one_more_is_too_many(world: Any, alice: Any, bob: Any) -> None:
    key = alice.create_key(case="17")[0].id
    copies(world, key, MAX_KEYS_IN_GRANT - 1)
    granted = approve(bob, ask(alice, case="17")).json()
    assert len(set(granted["key_ids"])) == MAX_KEYS_IN_GRANT
    assert len(world.leaves()[-1].encode()) < MAX_LINE_BYTES
    copies(world, key, 1)
    refused = approve(bob, ask(alice, case="17"))
    assert (refused.status_code, "narrower" in refused.json()["detail"]) == (409, True)
    assert last_entry(world)["reason"] == "labels_fit_too_many"


def test_a_page_of_large_grants_is_cut_before_it_is_too_long(world: Any, alice: Any, bob: Any) -> None:
    copies(world, alice.create_key(case="17")[0].id, MAX_KEYS_IN_GRANT - 1)
    large = [approve(bob, ask(alice, case="17")).json()["id"] for _ in range(7)]
    page = alice.get("/v1/grants")
    assert len(page.content) < MAX_RESPONSE_BYTES
    found, cursor = [grant["id"] for grant in page.json()["grants"]], page.json()["next"]
    assert len(found) == 5
    rest = alice.get(f"/v1/grants?cursor={cursor}").json()
    assert [*found, *(grant["id"] for grant in rest["grants"])] == large[::-1]
    assert rest["next"] is None


def test_with_a_quorum_of_none_labels_are_resolved_with_the_request(world: Any, alice: Any) -> None:
    world.set_policy(quorum=0)
    request = {"labels": {"case": "17"}, "purpose": "x"}
    assert alice.post("/v1/grants", request).status_code == 409
    key = alice.create_key(case="17")[0].id
    assert alice.post("/v1/grants", request).json()["key_ids"] == [str(key)]
    assert last_entry(world)["labels"] == {"case": "17"}
