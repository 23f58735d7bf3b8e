"""Checkpoints that are pushed, and what a replica does once somebody outside knows better than its database."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from lying_witness import LyingWitness, running_lying_witness
from older_copy import OlderCopy
from starlette.testclient import TestClient

from faceseal.cosignature import Cosignature, WitnessKey, cosignatures_of
from faceseal.translog import open_checkpoint
from faceseal.wire import GrantState
from keyserver import audit, metrics
from keyserver.app import create_app
from keyserver.errors import SetupError
from keyserver.service.logtrust import MEMORY, LogTrust, Witnessing
from keyserver.service.publishing import RECHECK_SECONDS, Publisher
from keyserver.sinks.file import FileSink
from keyserver.sinks.http_witness import HttpWitness
from keyserver.sinks.sink import Offer, Sink, SinkAhead, SinkFailed
from keyserver.store.tables import GrantRow, WitnessedRow
from keyserver.witness import memory
from keyserver.witness.cosigning import Witness

DOUBT = "urn:faceseal:problem:log-in-doubt"
NAMES = ("witness.example/w1", "witness.example/w2")


class Seconds:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def seconds() -> Seconds:
    return Seconds()


class Witnesses:
    """Two true witnesses on loopback, each of which can be taken away."""

    def __init__(self, world: Any, folder: Path, peers: Sequence[LyingWitness]) -> None:
        self.peers = peers
        self.keys: list[WitnessKey] = []
        self._true: list[Callable[[bytes], Any]] = []
        for name in NAMES:
            place = folder / name.rpartition("/")[2]
            identity = memory.create(place, name)
            self.keys.append(identity.key)
            witness = Witness(place, identity, [world.ports.signer.verifier_key], world.clock, lambda: 0.0)
            self._true.append(lambda body, witness=witness: _told(witness, body))
        for number in range(len(peers)):
            self.back(number)

    def back(self, number: int) -> None:
        self.peers[number].answer = self._true[number]

    def gone(self, number: int) -> None:
        self.peers[number].says(503)

    def sinks(self) -> list[Sink]:
        return [HttpWitness(peer.url, self.keys, 5) for peer in self.peers]


def _told(witness: Witness, body: bytes) -> tuple[int, dict[str, str], bytes]:
    answer = witness.add_checkpoint(body)
    return answer.status, {"Content-Type": answer.media_type}, answer.body.encode()


@pytest.fixture
def witnesses(world: Any, tmp_path: Path) -> Iterator[Witnesses]:
    with running_lying_witness() as first, running_lying_witness() as second:
        yield Witnesses(world, tmp_path, [first, second])


@pytest.fixture
def file(tmp_path: Path) -> FileSink:
    return FileSink(tmp_path / "kept")


@pytest.fixture
def publisher_of(world: Any, seconds: Seconds) -> Callable[..., Publisher]:
    def made(*sinks: Sink, **witnessing: Any) -> Publisher:
        world.ports.trust.witnessing = Witnessing(**witnessing)
        return Publisher(world.ports, sinks, 1, seconds)

    return made


def pushed(publisher: Publisher, seconds: Seconds, after: float = 120) -> None:
    """One round, when everything is due again, to its end."""
    seconds.now += after
    publisher.round()
    publisher.wait(20)


def size_of(world: Any) -> int:
    return len(world.leaves())


def problem_of(answer: Any) -> tuple[int, str]:
    return answer.status_code, answer.json().get("type", "")


def another_replica(world: Any) -> Any:
    """Ports of a replica that has seen nothing yet."""
    return replace(world.ports, trust=LogTrust(world.ports.trust.witnessing))


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


def test_without_enough_witnesses_there_is_no_witnessed_checkpoint(
    alice: Any, publisher_of: Any, witnesses: Witnesses, seconds: Seconds
) -> None:
    witnesses.gone(1)
    publisher = publisher_of(*witnesses.sinks(), keys=tuple(witnesses.keys), quorum=2)
    publisher.begin()
    assert alice.get("/v1/audit/checkpoint?witnessed=true").status_code == 404
    # The other one adds its own to the same checkpoint.
    witnesses.back(1)
    pushed(publisher, seconds)
    note = alice.get("/v1/audit/checkpoint?witnessed=true").json()["checkpoint"]
    assert len(cosignatures_of(note, witnesses.keys)) == 2


def test_sinks_that_fail_stop_nothing_are_counted_and_asked_ever_later(
    alice: Any, bob: Any, world: Any, publisher_of: Any, seconds: Seconds, granted: Any
) -> None:
    class Failing:
        name, keeps_notes, asked = "file:///failing", True, 0

        def push(self, _: Offer) -> Sequence[Cosignature]:
            self.asked += 1
            raise SinkFailed("no")

    def failures() -> float:
        return metrics.REGISTRY.get_sample_value("keyserver_sink_failures_total", {"sink": Failing.name}) or 0

    sink, before = Failing(), failures()
    publisher = publisher_of(sink)
    publisher.begin()
    asked = []
    for _ in range(200):
        pushed(publisher, seconds, after=1)
        asked.append(sink.asked)
    assert 3 <= asked[-1] - asked[0] <= 12
    assert failures() == before + asked[-1]
    assert alice.ask("POST", granted.path, granted.body()).status_code == 200
    assert world.client.get("/readyz").json()["checks"]["witnesses"] == "ok"


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


def test_the_glass_is_not_broken_either_and_no_grant_is_made(world: Any, alice: Any) -> None:
    world.set_policy(break_glass_role="emergency")
    key, _ = alice.create_key()
    nurse, alarms = world.person("nurse", roles="emergency"), metrics.break_glass_count()
    world.ports.trust.doubt("test", "behind")
    body = {"recipient": granted_recipient(), "purpose_code": "medical_treatment", "reference": "ward 3"}
    before = size_of(world)
    assert problem_of(nurse.post(f"/v1/keys/{key.id}/break-glass", body)) == (503, DOUBT)
    assert (size_of(world), metrics.break_glass_count()) == (before, alarms)
    with world.ports.database.reading() as session:
        assert session.query(GrantRow).filter(GrantRow.state == GrantState.APPROVED).count() == 0


def granted_recipient() -> str:
    return "CQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"


def test_an_answer_that_was_kept_is_not_given_again_while_in_doubt(world: Any, alice: Any, granted: Any) -> None:
    body, path = granted.body(), granted.path

    def asked() -> Any:
        headers = {**alice.headers(alice.proof("POST", path)), "Idempotency-Key": '"once"'}
        return world.client.post(path, headers=headers, json=body)

    first = asked()
    assert first.status_code == 200
    world.ports.trust.doubt("test", "behind")
    assert problem_of(asked()) == (503, DOUBT)
    world.ports.trust.settle("test")
    assert asked().json() == first.json()


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
    pushed(publisher, seconds)
    assert alice.ask("POST", granted.path, granted.body()).status_code == 200


def test_a_replica_that_no_longer_looks_stops_by_itself(
    world: Any, alice: Any, granted: Any, publisher_of: Any, witnesses: Witnesses
) -> None:
    publisher_of(witnesses.sinks()[0], keys=tuple(witnesses.keys[:1]), unwitnessed_seconds=60).begin()
    world.clock.now += 61
    assert problem_of(alice.ask("POST", granted.path, granted.body())) == (503, DOUBT)


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


def altered(world: Any, **changes: Any) -> None:
    with world.ports.database.writing() as session:
        row = session.get_one(WitnessedRow, 1)
        for name, value in changes.items():
            setattr(row, name, value)


@pytest.mark.parametrize("note", ["", "garbage", "a\n1\nb\n\n— c d\n"])
def test_a_witnessed_checkpoint_that_was_altered_in_the_database_is_neither_shown_nor_believed(
    world: Any, alice: Any, granted: Any, publisher_of: Any, witnesses: Witnesses, seconds: Seconds, note: str
) -> None:
    publisher = publisher_of(witnesses.sinks()[0], keys=tuple(witnesses.keys[:1]), unwitnessed_seconds=60)
    publisher.begin()
    witnesses.gone(0)
    altered(world, note=note, size=10**6)
    assert alice.get("/v1/audit/checkpoint?witnessed=true").status_code == 404
    world.clock.now += 61
    pushed(publisher, seconds)
    assert problem_of(alice.ask("POST", granted.path, granted.body())) == (503, DOUBT)
    # And it is put right by the next that is cosigned.
    witnesses.back(0)
    pushed(publisher, seconds)
    assert alice.get("/v1/audit/checkpoint?witnessed=true").status_code == 200


def test_cosignatures_that_nobody_gave_do_not_count(
    world: Any, alice: Any, publisher_of: Any, witnesses: Witnesses
) -> None:
    """The log's own signature alone, which an administrator of the database finds in every receipt."""
    publisher_of(witnesses.sinks()[0], keys=tuple(witnesses.keys[:1])).begin()
    alice.create_key()
    with world.ports.database.reading() as session:
        altered(world, note=world.ports.signer.sign(audit.current_checkpoint(session)))
    assert alice.get("/v1/audit/checkpoint?witnessed=true").status_code == 404


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


def test_a_witness_s_bare_word_stops_releases_and_its_next_one_lets_them_go_on(
    world: Any, alice: Any, granted: Any, publisher_of: Any, witnesses: Witnesses, seconds: Seconds
) -> None:
    publisher = publisher_of(witnesses.sinks()[0], keys=tuple(witnesses.keys[:1]))
    publisher.begin()
    witnesses.peers[0].names(10**9)
    alice.create_key()
    pushed(publisher, seconds)
    assert problem_of(alice.ask("POST", granted.path, granted.body())) == (503, DOUBT)
    witnesses.back(0)
    pushed(publisher, seconds, after=1)
    assert alice.ask("POST", granted.path, granted.body()).status_code == 200


def test_a_sink_that_hangs_holds_up_no_other_no_release_and_not_the_end(
    world: Any, alice: Any, granted: Any, publisher_of: Any, file: FileSink, seconds: Seconds
) -> None:
    class Hanging:
        name, keeps_notes, asked = "file:///hanging", False, 0
        go = threading.Event()

        def push(self, _: Offer) -> Sequence[Cosignature]:
            self.asked += 1
            self.go.wait(30)
            return ()

    hanging = Hanging()
    publisher = publisher_of(hanging, file)
    publisher.round()
    publisher._channels[1].join(20)
    for _ in range(3):
        alice.create_key()
        seconds.now += RECHECK_SECONDS
        publisher.round()
        publisher._channels[1].join(20)
        kept = Path(file.name.removeprefix("file://")).read_text()
        assert open_checkpoint(kept, world.ports.signer.verifier_key).size == size_of(world)
    assert hanging.asked == 1
    assert alice.ask("POST", granted.path, granted.body()).status_code == 200
    publisher.stop(0.2)
    assert publisher._channels[0]._thread.is_alive()
    hanging.go.set()


def test_what_grew_since_the_last_push_is_pushed_at_the_end(
    world: Any, alice: Any, publisher_of: Any, file: FileSink
) -> None:
    publisher = publisher_of(file)
    publisher.begin()
    publisher.start()
    alice.create_key()
    publisher.stop(20)
    kept = Path(file.name.removeprefix("file://")).read_text()
    assert open_checkpoint(kept, world.ports.signer.verifier_key).size == size_of(world)


def test_a_sink_that_holds_something_else_stops_a_start_and_not_a_running_server(
    world: Any, alice: Any, granted: Any, publisher_of: Any, file: FileSink, seconds: Seconds
) -> None:
    path = Path(file.name.removeprefix("file://"))
    publisher = publisher_of(file)
    publisher.begin()
    path.write_text("something else")
    with pytest.raises(SetupError, match="not a checkpoint signed by this log's key"):
        Publisher(another_replica(world), [FileSink(path)], 1).begin()
    alice.create_key()
    pushed(publisher, seconds)
    assert alice.ask("POST", granted.path, granted.body()).status_code == 200
    assert path.read_text() == "something else"


def test_a_sink_that_is_ahead_because_another_replica_pushed_meanwhile_is_none_to_doubt(
    world: Any, alice: Any, publisher_of: Any
) -> None:
    class Overtaken:
        name, keeps_notes, asked = "file:///overtaken", True, 0

        def push(self, offer: Offer) -> Sequence[Cosignature]:
            self.asked += 1
            if self.asked == 1:
                alice.create_key()
                raise SinkAhead(offer.checkpoint.size + 1)
            assert offer.checkpoint.size == size_of(world)
            return ()

    sink = Overtaken()
    publisher_of(sink).begin()
    assert (sink.asked, world.ports.trust.doubts()) == (2, {})


def test_refusals_are_recorded_while_in_doubt_and_nothing_tells_why(
    world: Any, alice: Any, granted: Any, caplog: pytest.LogCaptureFixture
) -> None:
    world.ports.trust.doubt("https://witness.example", "the log is behind")
    eve = world.person("eve", "keys:create")
    assert eve.get("/v1/policy").status_code == 403
    assert world.last_entry()["event"] == "policy.read.denied"
    answer = alice.ask("POST", granted.path, granted.body())
    assert "witness.example" not in json.dumps(answer.json())
    assert any("NO KEY IS RELEASED" in record.message for record in caplog.records)
