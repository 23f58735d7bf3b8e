"""What somebody with write access to the database can do, and where it shows: docs/threat-model.md says both."""

from __future__ import annotations

import json
from typing import Any
from uuid import UUID

from sqlalchemy import update

from faceseal.wire import GrantState
from keyserver.store.tables import GrantRow, KeyRow


def test_a_grant_that_was_approved_in_the_database_releases_and_the_log_lacks_its_approval(
    world: Any, alice: Any
) -> None:
    key, _ = alice.create_key()
    grant = alice.request_grant(key.id)
    with world.ports.database.writing() as session:
        approved = {"state": GrantState.APPROVED, "expires_at": world.clock.now + 600}
        session.execute(update(GrantRow).where(GrantRow.id == UUID(grant["id"])).values(approved))
    token = alice.get(f"/v1/grants/{grant['id']}").json()["token"]
    assert alice.release(key.id, token).status_code == 200
    entries = [entry for entry in map(json.loads, world.leaves()) if entry.get("grant") == grant["id"]]
    assert [entry["event"] for entry in entries] == ["grant.request.allowed", "release.allowed"]


def test_a_key_that_was_moved_to_another_tenant_in_the_database_does_not_open(world: Any, alice: Any, bob: Any) -> None:
    key, _ = alice.create_key()
    eve, fred = world.person("eve", tenant="other"), world.person("fred", tenant="other")
    with world.ports.database.writing() as session:
        session.execute(update(KeyRow).where(KeyRow.id == key.id).values(tenant="other"))
    _, token = world.grant_token(eve, fred, key.id)
    answer = eve.release(key.id, token)
    assert answer.status_code == 503
    assert world.last_entry()["event"] == "release.failed"
