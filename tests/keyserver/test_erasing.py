"""Erasing somebody who is busy meanwhile, has very many grants, or comes again; what a memory keeps."""

from __future__ import annotations

import threading
import weakref
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import event, insert, select

from faceseal.wire import PurposeCode
from keyserver import audit, installation
from keyserver.actions import Action
from keyserver.audit import Entry, Outcome, personal
from keyserver.audit.hiding import ContentKeys
from keyserver.audit.personal import Subject
from keyserver.service import people
from keyserver.service.grants import new_grant_row
from keyserver.settings import Settings
from keyserver.store import names
from keyserver.store.tables import ApprovalRow, GrantRow


def test_an_erasure_reaches_the_request_and_the_approval_that_were_under_way(
    settings: Settings, world: Any, alice: Any, bob: Any
) -> None:
    key, _ = alice.create_key()
    world.set_policy(quorum=2)
    approved = UUID(bob.request_grant(key.id)["id"])
    other = installation.open_ports(settings, world.clock)
    steps: list[people.Erasing] = []
    done = threading.Event()

    def erase_her() -> None:
        steps.extend(people.erase(other, "default", "alice"))
        done.set()

    now = world.clock.now
    requested = new_grant_row(world.ports.new_id(), alice.caller(), PurposeCode.OTHER, "court order 17", now)
    requested.valid_for, requested.quorum, requested.policy_version, requested.approvals_expire = 60, 2, 1, None
    thread = threading.Thread(target=erase_her)
    with world.ports.database.writing() as session:
        session.add(requested)
        session.add(ApprovalRow(grant_id=approved, approver="alice", at=now))
        session.flush()
        entry = Entry(at=now, action=Action.REQUEST_GRANT, outcome=Outcome.ALLOWED, actor="alice", tenant="default")
        audit.append(session, entry)
        requested_id = requested.id
        thread.start()
        assert not done.wait(0.5)
    thread.join(20)
    assert done.is_set()
    with world.ports.database.reading() as session:
        row = session.get_one(GrantRow, requested_id)
        assert (row.requested_by == "alice", row.purpose, row.jkt) == (False, "other", None)
        assert "alice" not in session.scalars(select(ApprovalRow.approver)).all()
    assert (steps[-1].grants, steps[-1].keys) == (2, 1)
    other.database.close()


def test_whoever_has_very_many_grants_is_erased_in_statements_of_few_values(world: Any, alice: Any) -> None:
    """PostgreSQL takes 65,535 in one: the number of somebody's grants must not be that of a statement's values."""
    number, now = 3 * names.BATCH, world.clock.now
    with world.ports.database.writing() as session:
        first = new_grant_row(world.ports.new_id(), alice.caller(), PurposeCode.OTHER, "court order 17", now)
        first.valid_for = 60
        session.add(first)
        session.flush()
        row = session.execute(select(GrantRow.__table__)).mappings().one()
        made = [{**row, "id": uuid4()} for _ in range(number - 1)]
        session.execute(insert(GrantRow), made)
        approvals = [{"grant_id": each["id"], "approver": "alice", "at": now} for each in made]
        session.execute(insert(ApprovalRow), approvals)
    most = 0

    def count(_conn: object, _cursor: object, _statement: str, values: Any, _context: object, many: bool) -> None:
        nonlocal most
        most = max(most, *(len(each) for each in (values if many else [values])))

    engine = world.ports.database.engine
    event.listen(engine, "before_cursor_execute", count)
    steps = list(people.erase(world.ports, "default", "alice"))
    event.remove(engine, "before_cursor_execute", count)
    assert steps[-1].grants == number
    assert most <= 2 * names.BATCH
    with world.ports.database.reading() as session:
        assert "alice" not in session.scalars(select(GrantRow.requested_by)).all()
        assert "alice" not in session.scalars(select(ApprovalRow.approver)).all()


def test_nobody_counts_twice_for_a_quorum_by_being_erased_in_between(world: Any, alice: Any, bob: Any) -> None:
    key, _ = alice.create_key()
    world.set_policy(quorum=2)
    decided, pending = (alice.request_grant(key.id)["id"] for _ in range(2))
    for grant_id in (decided, pending):
        assert bob.post(f"/v1/grants/{grant_id}/approve").status_code == 200
    assert world.person("carol").post(f"/v1/grants/{decided}/approve").json()["state"] == "approved"
    assert list(people.erase(world.ports, "default", "bob"))[-1].grants == 2

    again = bob.post(f"/v1/grants/{pending}/approve").json()
    assert (again["state"], [each["approver"] for each in again["approvals"]]) == ("pending", ["bob"])
    assert world.person("carol").post(f"/v1/grants/{pending}/approve").json()["state"] == "approved"
    # Of what is decided it stays on record that two people did.
    approvers = [each["approver"] for each in alice.get(f"/v1/grants/{decided}").json()["approvals"]]
    assert (len(approvers), "carol" in approvers, "bob" in approvers) == (2, True, False)


def test_a_replica_that_writes_nothing_more_drops_its_content_keys_at_the_next_look_at_the_log(
    world: Any, publisher_of: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]
    keys = ContentKeys(lambda: now[0], seconds=60)
    monkeypatch.setattr("keyserver.audit.hiding._CONTENT_KEYS", keys)
    dropped = weakref.ref(keys.of("t", Subject(uuid4(), personal.new_key()[1])))
    publisher = publisher_of()
    for now[0], kept in ((59.9, True), (60.0, False)):
        publisher.round()
        assert (dropped() is not None) is kept
