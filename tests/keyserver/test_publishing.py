"""Checkpoints that are pushed, and what a replica does once somebody outside knows better than its database."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest
from older_copy import OlderCopy
from publishing_world import DOUBT, NAMES, Seconds, Witnesses, another_replica, problem_of, pushed, size_of
from starlette.testclient import TestClient

from faceseal.cosignature import cosignatures_of
from faceseal.translog import open_checkpoint
from keyserver import audit, metrics
from keyserver.actions import Action
from keyserver.app import create_app
from keyserver.audit import Entry, Outcome
from keyserver.audit.entry import OPERATOR
from keyserver.errors import SetupError
from keyserver.service.logtrust import MEMORY
from keyserver.service.publishing import Publisher
from keyserver.sinks.file import FileSink
from keyserver.store.tables import WitnessedRow


def test_a_start_pushes_to_all_sinks_and_shows_the_cosignatures(
    world: Any, alice: Any, publisher_of: Any, file: FileSink, witnesses: Witnesses
) -> None:
    publisher_of(file, *witnesses.sinks(), keys=tuple(witnesses.keys), quorum=2).begin()
    note = alice.get("/v1/audit/checkpoint").json()["checkpoint"]
    assert {one.witness.name for one in cosignatures_of(note, witnesses.keys)} == set(NAMES)
    assert open_checkpoint(note, world.ports.signer.verifier_key).size == size_of(world)
    assert (
        Path(file.name.removeprefix("file://")).read_text()
        == "".join(note.partition("\n\n")[:2]) + (note.partition("\n\n")[2].splitlines(keepends=True)[0])
    )
    # The log goes on; the newest one has no cosignature yet, and the witnessed one is still to be had.
    alice.create_key()
    newest = alice.get("/v1/audit/checkpoint").json()["checkpoint"]
    assert cosignatures_of(newest, witnesses.keys) == []
    assert alice.get("/v1/audit/checkpoint?witnessed=true").json()["checkpoint"] == note


def test_a_database_that_is_put_back_under_a_running_server_releases_nothing_and_writes_nothing(
    world: Any, alice: Any, granted: Any, publisher_of: Any, file: FileSink, seconds: Seconds
) -> None:
    older = OlderCopy(world.ports.database)
    publisher = publisher_of(file)
    publisher.begin()
    assert alice.ask("POST", granted.path, granted.body()).status_code == 200
    alice.create_key()
    pushed(publisher, seconds)
    newer = OlderCopy(world.ports.database)
    older.put_back()
    before = world.leaves()
    # Nobody has looked since: the release itself notices.
    answer = alice.ask("POST", granted.path, granted.body())
    assert problem_of(answer) == (503, DOUBT)
    assert "retry-after" in answer.headers
    assert (world.leaves(), granted.uses_left()) == (before, 5)
    pushed(publisher, seconds)
    assert problem_of(alice.ask("POST", granted.path, granted.body())) == (503, DOUBT)
    ready = world.client.get("/readyz")
    assert (ready.status_code, ready.json()["checks"]["witnesses"]) == (503, "failed")
    assert metrics.REGISTRY.get_sample_value("keyserver_log_in_doubt") == 1
    # Put right, it goes on by itself.
    newer.put_back()
    pushed(publisher, seconds)
    assert world.ports.trust.doubts() == {}
    assert alice.ask("POST", granted.path, granted.body()).status_code == 200
    assert metrics.REGISTRY.get_sample_value("keyserver_log_in_doubt") == 0


@pytest.mark.parametrize("kind", ["file", "witness"])
@pytest.mark.parametrize("grown", [False, True], ids=["behind", "forked"])
def test_no_replica_starts_on_an_older_copy_even_after_it_has_grown(
    world: Any,
    alice: Any,
    publisher_of: Any,
    file: FileSink,
    witnesses: Witnesses,
    kind: str,
    grown: bool,
) -> None:
    sinks = [file] if kind == "file" else witnesses.sinks()[:1]
    older = OlderCopy(world.ports.database)
    alice.create_key()
    publisher_of(*sinks, keys=tuple(witnesses.keys[:1])).begin()
    older.put_back()
    for _ in range(3 if grown else 0):
        alice.create_key()
    ports = another_replica(world)
    again = [FileSink(Path(file.name.removeprefix("file://")))] if kind == "file" else witnesses.sinks()[:1]
    with pytest.raises(SetupError, match="rewritten" if grown else "is behind"):
        Publisher(ports, again, 1).begin()


def test_a_log_of_the_same_size_with_another_root_is_refused(
    world: Any, alice: Any, publisher_of: Any, file: FileSink, witnesses: Witnesses
) -> None:
    older = OlderCopy(world.ports.database)
    alice.create_key()
    publisher_of(file, *witnesses.sinks(), keys=tuple(witnesses.keys)).begin()
    older.put_back()
    alice.create_key()
    for sinks in ([file], witnesses.sinks()):
        with pytest.raises(SetupError, match="rewritten"):
            Publisher(another_replica(world), sinks, 1).begin()


def test_a_replica_that_runs_on_an_older_copy_learns_it_from_a_witness_and_tells_no_other_sink(
    world: Any, alice: Any, granted: Any, publisher_of: Any, witnesses: Witnesses, file: FileSink
) -> None:
    older = OlderCopy(world.ports.database)
    alice.create_key()
    publisher_of(witnesses.sinks()[0], keys=tuple(witnesses.keys)).begin()
    older.put_back()
    ports, now = another_replica(world), Seconds()
    running = Publisher(ports, [witnesses.sinks()[0], file], 1, now)
    with TestClient(create_app(ports, 16384), raise_server_exceptions=False) as client:
        pushed(running, now)
        told = Path(file.name.removeprefix("file://")).read_text()
        alice.create_key()
        pushed(running, now)
        answer = granted.asked(alice.headers(alice.proof("POST", granted.path)), client)
        assert problem_of(answer) == (503, DOUBT)
        assert client.get("/readyz").status_code == 503
    (why,) = ports.trust.doubts().values()
    assert "behind" in why or "rewritten" in why
    assert Path(file.name.removeprefix("file://")).read_text() == told


def test_everything_but_releases_goes_on_while_witnesses_are_late_and_releases_when_they_come_back(
    world: Any, alice: Any, granted: Any, publisher_of: Any, witnesses: Witnesses, seconds: Seconds
) -> None:
    publisher = publisher_of(witnesses.sinks()[0], keys=tuple(witnesses.keys[:1]), unwitnessed_seconds=60)
    publisher.begin()
    witnesses.gone(0)
    world.clock.now += 1000
    # Nothing was written since: nothing lacks a witness.
    pushed(publisher, seconds)
    assert alice.ask("POST", granted.path, granted.body()).status_code == 200
    world.clock.now += 60
    pushed(publisher, seconds)
    assert alice.ask("POST", granted.path, granted.body()).status_code == 200
    world.clock.now += 1
    pushed(publisher, seconds)
    assert problem_of(alice.ask("POST", granted.path, granted.body())) == (503, DOUBT)
    ready = world.client.get("/readyz")
    assert (ready.status_code, ready.json()["checks"]["witnesses"]) == (200, "late")
    alice.create_key()
    # A new replica finds it so as well.
    late = another_replica(world)
    Publisher(late, witnesses.sinks()[:1], 1).begin()
    assert late.trust.late(world.clock.now)
    witnesses.back(0)
    pushed(publisher, seconds)
    assert alice.ask("POST", granted.path, granted.body()).status_code == 200


def test_a_push_that_witnesses_cosign_lets_releases_go_on_before_the_next_look(
    world: Any, alice: Any, granted: Any, publisher_of: Any, witnesses: Witnesses, seconds: Seconds
) -> None:
    publisher = publisher_of(witnesses.sinks()[0], keys=tuple(witnesses.keys[:1]), unwitnessed_seconds=60)
    publisher.begin()
    alice.create_key()
    world.clock.now += 61
    # This very look finds that it is late, and its push that it is not.
    pushed(publisher, seconds)
    assert alice.ask("POST", granted.path, granted.body()).status_code == 200


def altered_note(world: Any, note: str) -> str:
    """What was there before."""
    with world.ports.database.writing() as session:
        row = session.get_one(WitnessedRow, 1)
        before: str = row.note
        row.note = note
    return before


@pytest.mark.parametrize("ahead", [0, 3600, 10**9])
def test_an_entry_of_a_clock_that_is_ahead_is_late_no_later_than_others(
    world: Any, alice: Any, granted: Any, publisher_of: Any, witnesses: Witnesses, seconds: Seconds, ahead: int
) -> None:
    publisher = publisher_of(witnesses.sinks()[0], keys=tuple(witnesses.keys[:1]), unwitnessed_seconds=60)
    publisher.begin()
    witnesses.gone(0)
    world.clock.now += ahead
    with world.ports.database.writing() as session:
        entry = Entry(at=world.clock.now, action=Action.ROTATE_ISSUER, outcome=Outcome.ALLOWED, actor=OPERATOR)
        audit.append(session, entry)
    world.clock.now -= ahead
    pushed(publisher, seconds)
    # What is altered in the database, and put right, does not begin the time anew.
    world.clock.now += 30
    kept = altered_note(world, "")
    pushed(publisher, seconds)
    altered_note(world, kept)
    for more, late in [(30, False), (1, True)]:
        world.clock.now += more
        pushed(publisher, seconds)
        assert world.ports.trust.late(world.clock.now) is late
    # Once it is covered, the next has its own time.
    witnesses.back(0)
    pushed(publisher, seconds)
    assert alice.ask("POST", granted.path, granted.body()).status_code == 200


def test_two_replicas_that_push_at_once_are_fine_and_the_newest_stays(
    world: Any, alice: Any, publisher_of: Any, witnesses: Witnesses, file: FileSink, seconds: Seconds
) -> None:
    first = publisher_of(file, *witnesses.sinks(), keys=tuple(witnesses.keys), quorum=2)
    other = another_replica(world)
    same_file = FileSink(Path(file.name.removeprefix("file://")))
    second = Publisher(other, [same_file, *witnesses.sinks()], 1, seconds)
    for publisher in (first, second):
        publisher.begin()
    stop = threading.Event()

    def keep_pushing(publisher: Publisher) -> None:
        while not stop.is_set():
            publisher.round()
            publisher.wait(20)

    threads = [threading.Thread(target=keep_pushing, args=(publisher,)) for publisher in (first, second)]
    for thread in threads:
        thread.start()
    for _ in range(15):
        alice.create_key()
    stop.set()
    for thread in threads:
        thread.join(30)
    pushed(first, seconds)
    pushed(second, seconds)
    assert (world.ports.trust.doubts(), other.trust.doubts()) == ({}, {})
    kept = Path(file.name.removeprefix("file://")).read_text()
    assert open_checkpoint(kept, world.ports.signer.verifier_key).size == size_of(world)
    shown = alice.get("/v1/audit/checkpoint?witnessed=true").json()["checkpoint"]
    assert open_checkpoint(shown, world.ports.signer.verifier_key).size == size_of(world)


def test_a_witnessed_checkpoint_that_is_newer_than_the_log_shows_that_the_log_was_put_back(
    world: Any, alice: Any, publisher_of: Any, witnesses: Witnesses
) -> None:
    older = OlderCopy(world.ports.database)
    alice.create_key()
    publisher_of(witnesses.sinks()[0], keys=tuple(witnesses.keys[:1])).begin()
    with world.ports.database.reading() as session:
        row = session.get_one(WitnessedRow, 1)
        size, note = row.size, row.note
    older.put_back()
    with world.ports.database.writing() as session:
        session.add(WitnessedRow(id=1, size=size, note=note))
    ports = another_replica(world)
    with pytest.raises(SetupError, match="is behind"):
        Publisher(ports, [], 1).begin()
    assert [*ports.trust.doubts()] == [MEMORY]
