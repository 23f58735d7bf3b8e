"""What is not put away, and what is left when it is broken off: nothing is ever lost."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from administrator import take_guard_away
from old_log import Killed, killed, killed_while_deleting, lowest, put, silent
from publishing_world import pushed
from sqlalchemy import update

from faceseal.errors import TransparencyError
from faceseal.translog import verify_export
from keyserver import audit, putting_away
from keyserver.audit.export import export_lines
from keyserver.errors import SetupError
from keyserver.putting_away import DAY, PutAway, Wanted, put_away
from keyserver.service.witnessed import log_keys, newest_witnessed
from keyserver.store.tables import EntryRow, LogRow


def exported(world: Any, path: Path, end: int | None = None) -> Path:
    with world.ports.database.reading() as session, path.open("wb") as file:
        file.writelines(export_lines(session, world.ports.signer, end=end))
    return path


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        (Wanted(365, until=1000), "is the newest one, or from the last 365 days"),
        (Wanted(365, before=1_800_000_000 + 3 * DAY), "of the last 365 days are kept"),
    ],
)
def test_nothing_young_is_put_away(world: Any, old: list[str], tmp_path: Path, wanted: Wanted, said: str) -> None:
    with pytest.raises(SetupError, match=said):
        put_away(world.ports, tmp_path / "file", wanted, silent)
    assert world.leaves()[: len(old)] == old
    assert not (tmp_path / "file").exists()


def test_the_newest_entry_stays_however_old_it_is(world: Any, old: list[str], tmp_path: Path) -> None:
    world.clock.now += 366 * DAY
    assert put(world, tmp_path / "old").end == len(old)
    assert len(world.leaves()) == 2


def test_an_entry_whose_clock_was_ahead_keeps_what_follows(world: Any, old: list[str], tmp_path: Path) -> None:
    world.clock.now -= 366 * DAY
    world.person("late").create_key()
    world.person("late").create_key()
    world.clock.now += 366 * DAY
    assert put(world, tmp_path / "old").end == len(old)


def test_with_a_time_only_what_is_older_goes_and_without_anything_old_no_file_is_written(
    world: Any, old: list[str], tmp_path: Path
) -> None:
    earliest = json.loads(old[0])["at"]
    assert put_away(world.ports, tmp_path / "file", Wanted(365, before=earliest), silent) is None
    assert list(tmp_path.glob("*file*")) == []
    assert put(world, tmp_path / "file", Wanted(365, before=earliest + 1)).end == len(old)


def test_a_file_that_is_there_is_never_written_over(world: Any, old: list[str], tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("my thesis")
    with pytest.raises(SetupError, match="is there already, and is no part of this log"):
        put(world, file)
    assert file.read_text() == "my thesis"
    assert world.leaves()[:-1] == old
    put(world, tmp_path / "one", Wanted(365, until=2))
    content = (tmp_path / "one").read_bytes()
    with pytest.raises(SetupError, match="does not hold what is to be put away"):
        put(world, tmp_path / "one")
    assert (tmp_path / "one").read_bytes() == content
    assert lowest(world)[0] == 2


def test_an_entry_that_was_altered_in_the_database_is_not_put_away(world: Any, old: list[str], tmp_path: Path) -> None:
    with world.ports.database.writing() as session:
        take_guard_away(session)
        altered = old[2].replace("tenant.create", "tenant.forget")
        assert altered != old[2]
        session.execute(update(EntryRow).where(EntryRow.entry_index == 2).values(leaf=altered))
    with pytest.raises(TransparencyError, match="entry 2 was altered"):
        put(world, tmp_path / "file")
    assert list(tmp_path.glob("*file*")) == []
    assert lowest(world)[0] == 0


def test_a_file_in_the_way_that_is_of_another_history_takes_nothing_out_of_this_one(
    world: Any, old: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As somebody who has the log's key, and had the log go on otherwise in a copy of the database."""
    file = exported(world, tmp_path / "file", end=3)
    honest = putting_away._verified(world.ports, file)
    forged = PutAway(honest.first, honest.end, b"x" * 32, honest.sha256)
    monkeypatch.setattr("keyserver.putting_away._verified", lambda *_: forged)
    with pytest.raises(SetupError, match="another history"):
        put(world, file)
    assert world.leaves()[:-1] == old


def test_a_file_in_the_way_that_lacks_entries_takes_nothing_out(world: Any, old: list[str], tmp_path: Path) -> None:
    with world.ports.database.reading() as session, (tmp_path / "file").open("wb") as file:
        file.writelines(export_lines(session, world.ports.signer, 2, end=4))
    with pytest.raises(SetupError, match="does not hold what is to be put away"):
        put(world, tmp_path / "file")
    # And one that has more than may go.
    with pytest.raises(SetupError, match="does not hold what is to be put away"):
        put(world, exported(world, tmp_path / "all"))
    assert world.leaves()[:-1] == old


@pytest.mark.parametrize("after", [0, 1, 2])
def test_killed_while_deleting_the_command_goes_on_when_it_is_called_again(
    world: Any, old: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after: int
) -> None:
    file = tmp_path / "file"
    killed_while_deleting(world, file, monkeypatch, after)
    content, size = file.read_bytes(), len(old) + 2
    assert lowest(world)[0] == 2 * after < len(old)
    assert verify_export(exported(world, tmp_path / "between"), world.ports.signer.verifier_key).first == len(old)
    found = put(world, file)
    assert (found.first, found.end) == (0, len(old))
    assert (lowest(world)[0], file.read_bytes()) == (len(old), content)
    # It is on record once.
    with world.ports.database.reading() as session:
        assert session.get_one(LogRow, 1).size == size


def test_killed_between_file_and_record_the_file_is_used(
    world: Any, old: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "file"
    with monkeypatch.context() as patched:
        patched.setattr("keyserver.putting_away._record", killed)
        with pytest.raises(Killed):
            put(world, file)
    assert world.leaves()[:-1] == old
    content = file.read_bytes()
    # Meanwhile more has become old enough; what the file has goes.
    world.person("bob").create_key()
    world.clock.now += 366 * DAY
    assert put(world, file).end == len(old)
    assert file.read_bytes() == content
    assert lowest(world)[0] == len(old)


def test_killed_while_writing_nothing_is_there(
    world: Any, old: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr("keyserver.putting_away._verified", killed)
        with pytest.raises(Killed):
            put(world, tmp_path / "file")
    assert not (tmp_path / "file").exists()
    assert world.leaves()[:-1] == old
    put(world, tmp_path / "file")


def test_of_two_that_put_away_at_once_one_has_its_file_on_record(
    world: Any, old: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = putting_away._record

    def overtaken(ports: Any, found: PutAway) -> None:
        with monkeypatch.context() as patched:
            patched.setattr("keyserver.putting_away._record", real)
            put(world, tmp_path / "quicker", Wanted(365, until=3))
        real(ports, found)

    monkeypatch.setattr("keyserver.putting_away._record", overtaken)
    with pytest.raises(SetupError, match="somebody else"):
        put(world, tmp_path / "slower")
    assert lowest(world)[0] == 3


def test_where_witnesses_count_nothing_is_put_away_that_they_have_not_cosigned(
    world: Any, old: list[str], witnesses: Any, publisher_of: Any, seconds: Any, tmp_path: Path
) -> None:
    publisher = publisher_of(*witnesses.sinks(), keys=tuple(witnesses.keys), quorum=2)
    with pytest.raises(SetupError, match="cosigned"):
        put(world, tmp_path / "file")
    assert world.leaves()[:-1] == old
    publisher.begin()
    assert put(world, tmp_path / "file").end == len(old)
    # And they go on with the log that is left.
    pushed(publisher, seconds)
    with world.ports.database.reading() as session:
        found = newest_witnessed(session, log_keys(world.ports), world.ports.trust.witnessing)
        assert found is not None
        assert found.checkpoint == audit.current_checkpoint(session)
    assert world.ports.trust.doubts() == {}


def test_what_was_answered_within_a_day_is_answered_again_whatever_was_put_away(
    world: Any, old: list[str], granted: Any, tmp_path: Path
) -> None:
    alice, body = granted.requester, granted.body()

    def release() -> Any:
        headers = {**alice.headers(alice.proof("POST", granted.path)), "Idempotency-Key": "one"}
        return world.client.post(granted.path, headers=headers, json=body)

    first = release()
    world.clock.now += DAY - 1
    put(world, tmp_path / "file", Wanted(keep_days=2))
    again = release()
    assert (first.status_code, again.status_code) == (200, 200)
    assert again.json() == first.json()


def test_a_server_that_runs_goes_on_while_entries_are_deleted(
    world: Any, old: list[str], alice: Any, bob: Any, tmp_path: Path
) -> None:
    made: list[int] = []

    def meanwhile(_done: int) -> None:
        key, _ = alice.create_key()
        _, token = world.grant_token(alice, bob, key.id)
        made.append(alice.release(key.id, token).status_code)

    assert put_away(world.ports, tmp_path / "file", Wanted(365), meanwhile) is not None
    assert made == [200]
    verified = verify_export(exported(world, tmp_path / "rest"), world.ports.signer.verifier_key)
    assert verified.first == len(old)


@pytest.mark.parametrize("after", [0, 1])
def test_what_a_killed_run_has_left_is_deleted_by_a_run_with_another_file(
    world: Any, old: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after: int
) -> None:
    killed_while_deleting(world, tmp_path / "first", monkeypatch, after)
    assert put_away(world.ports, tmp_path / "second", Wanted(365), silent) is None
    assert lowest(world)[0] == len(old)
    assert not (tmp_path / "second").exists()
