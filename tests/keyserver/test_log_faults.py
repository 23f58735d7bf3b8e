"""Whatever fails under the log: afterwards it is whole, has all that was acknowledged, and is gone on with."""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from log_leader import Replica
from sqlalchemy.orm import Session

from keyserver import audit, installation
from keyserver.actions import Action
from keyserver.audit import Entry, Outcome
from keyserver.audit.export import export_lines, verify_export
from keyserver.settings import Settings
from keyserver.store import log
from keyserver.store.tables import LogRow

ENTRY = Entry(at=1_800_000_000, action=Action.RELEASE, outcome=Outcome.ALLOWED, actor="alice")


def require_whole(world: Any, folder: Path) -> list[dict[str, Any]]:
    """The export proves itself; its entries."""
    path = folder / f"{uuid4()}.jsonl"
    with world.ports.database.reading() as session, path.open("wb") as file:
        file.writelines(export_lines(session, world.ports.signer))
    assert verify_export(path, world.ports.signer.verifier_key).size == len(world.leaves())
    return [json.loads(leaf) for leaf in world.leaves()]


def test_a_replica_that_is_killed_while_it_leads_and_one_that_waits_leave_the_log_to_the_others(
    world: Any, settings: Settings, granted: Any, tmp_path: Path
) -> None:
    key_id = granted.path.split("/")[3]

    def replica(kind: str) -> Replica:
        return Replica(kind, settings, granted.requester.caller(), key_id, granted.token, world.clock.now)

    leader, before = replica("lead"), len(world.leaves())
    assert [leader.says(), leader.says()] == ["asking", "appended"]
    dying, surviving = replica("ask"), replica("ask")
    assert [dying.says(), surviving.says()] == ["asking"] * 2
    # Long enough that both stand in line; if one did not yet, less is tried, and nothing else changes.
    time.sleep(0.5)
    assert len(world.leaves()) == before
    dying.kill()
    leader.kill()
    receipt = json.loads(surviving.says())
    assert receipt["index"] == before
    surviving.process.wait(20)
    entries = require_whole(world, tmp_path)
    assert [entry["uses_left"] for entry in entries[before:]] == [4]
    assert granted.uses_left() == 4
    assert granted.asked(granted.requester.headers(granted.requester.proof("POST", granted.path))).status_code == 200


def test_a_clock_that_is_set_back_leaves_the_log_whole_and_brings_no_use_and_no_proof_back(
    world: Any, granted: Any, settings: Settings, tmp_path: Path
) -> None:

    def fresh() -> dict[str, str]:
        headers: dict[str, str] = granted.requester.headers(granted.requester.proof("POST", granted.path))
        return headers

    # Not at the beginning of a nonce's minute.
    world.clock.now += 40
    used = fresh()
    assert granted.asked(used).status_code == 200
    world.clock.now -= 3
    assert granted.asked(used).status_code == 403
    assert world.last_entry()["reason"] == "proof_replayed"
    assert granted.asked(fresh()).status_code == 200
    world.clock.now -= 3600
    # From before the token, by this clock.
    assert granted.asked(fresh()).status_code == 401
    entries = require_whole(world, tmp_path)
    assert [entry["uses_left"] for entry in entries if entry["event"] == "release.allowed"] == [4, 3]
    assert [entry["index"] for entry in entries] == list(range(len(entries)))
    installation.open_ports(settings).database.close()


def test_of_two_leaders_who_read_the_same_head_the_second_fails_and_the_tree_stays_whole(
    world: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the lock keeps from happening: if it failed, the tables' keys would still let one of them in alone."""

    def without_lock(session: Session) -> LogRow:
        return session.get_one(LogRow, 1)

    monkeypatch.setattr(log, "head_for_append", without_lock)
    database, before = world.ports.database, len(world.leaves())
    # SQLite's writers begin with its lock: as readers they begin without.
    begin = database._reading if database.engine.dialect.name == "sqlite" else database._writing
    first, second = begin(), begin()
    assert without_lock(first).size == without_lock(second).size == before
    audit.append(first, ENTRY)
    failures: list[BaseException] = []

    def follow() -> None:
        try:
            audit.append_all(second, [ENTRY] * 3)
            second.commit()
        except BaseException as failure:
            failures.append(failure)

    follower = threading.Thread(target=follow)
    follower.start()
    time.sleep(0.3)
    first.commit()
    follower.join(20)
    for session in (first, second):
        session.close()
    assert len(failures) == 1
    monkeypatch.undo()
    assert len(world.leaves()) == before + 1
    with database.writing() as session:
        audit.append(session, ENTRY)
    require_whole(world, tmp_path)
