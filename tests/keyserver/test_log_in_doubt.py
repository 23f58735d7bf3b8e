"""What a doubt stops and what it does not, and what sinks may do without raising one."""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from publishing_world import DOUBT, Seconds, Witnesses, another_replica, problem_of, pushed, size_of

from faceseal.cosignature import Cosignature, cosignatures_of
from faceseal.translog import open_checkpoint
from faceseal.wire import GrantState
from keyserver import audit, metrics
from keyserver.errors import SetupError
from keyserver.service.publishing import Publisher
from keyserver.sinks.channel import RECHECK_SECONDS
from keyserver.sinks.file import FileSink
from keyserver.sinks.sink import Offer, SinkAhead, SinkFailed
from keyserver.store.tables import GrantRow, WitnessedRow

DATABASE_KINDS = ["sqlite"]
"""Nothing here depends on the database."""


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
    for _ in range(60):
        pushed(publisher, seconds, after=4)
        asked.append(sink.asked)
    assert 3 <= asked[-1] - asked[0] <= 12
    assert failures() == before + asked[-1]
    assert alice.ask("POST", granted.path, granted.body()).status_code == 200
    assert world.client.get("/readyz").json()["checks"]["witnesses"] == "ok"


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


def test_a_replica_that_no_longer_looks_stops_by_itself(
    world: Any, alice: Any, granted: Any, publisher_of: Any, witnesses: Witnesses
) -> None:
    publisher_of(witnesses.sinks()[0], keys=tuple(witnesses.keys[:1]), unwitnessed_seconds=60).begin()
    world.clock.now += 61
    assert problem_of(alice.ask("POST", granted.path, granted.body())) == (503, DOUBT)


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
    assert publisher._channels[0].is_asking
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
