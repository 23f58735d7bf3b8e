"""Old entries of the log are put away into files that prove themselves, and everything else goes on."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from administrator import take_guard_away
from old_log import killed_while_deleting, lowest, put, silent
from sqlalchemy import delete, func, select

from faceseal.errors import TransparencyError
from faceseal.translog import (
    RightEdge,
    leaf_hash,
    open_checkpoint,
    verify_consistency,
    verify_export,
    verify_inclusion,
)
from faceseal.translog.exportformat import Header
from keyserver import audit, installation, recovery
from keyserver.actions import Action
from keyserver.audit import Entry, Outcome
from keyserver.audit.export import export_lines
from keyserver.backup import saving, stream
from keyserver.cli import main
from keyserver.errors import BackupBroken, SetupError
from keyserver.putting_away import DAY, Wanted, put_away
from keyserver.service import people, reindexing
from keyserver.settings import Settings
from keyserver.store import log
from keyserver.store.tables import EntryRow, NodeRow

PASSPHRASE = "correct-horse-battery"


@pytest.fixture(autouse=True)
def quick_scrypt(monkeypatch: pytest.MonkeyPatch) -> None:
    """The real cost is the same 128 MiB each time; the test of the command `backup` pays it."""
    real = stream.Scrypt
    monkeypatch.setattr(stream, "Scrypt", lambda **cost: real(**{**cost, "n": 1 << 4}))


def exported(world: Any, path: Path) -> Path:
    with world.ports.database.reading() as session, path.open("wb") as file:
        file.writelines(export_lines(session, world.ports.signer))
    return path


def ask(person: Any, path: str, **query: object) -> dict[str, Any]:
    headers = person.headers(person.proof("GET", f"/v1/audit/{path}"))
    answer = person.client.get(f"/v1/audit/{path}?{urlencode(query)}", headers=headers)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def entry_lines(path: Path) -> list[str]:
    return [line for line in path.read_text().splitlines()[1:] if not line.startswith('{"hashes":')]


def test_what_is_old_moves_into_a_file_that_is_verified_alone_and_on_record(
    world: Any, old: list[str], tmp_path: Path
) -> None:
    kept = world.leaves()[len(old) :]
    file = tmp_path / "2027"
    found = put(world, file)
    assert (found.first, found.end) == (0, len(old))
    verified = verify_export(file, world.ports.signer.verifier_key)
    assert (verified.first, verified.size) == (0, len(old))
    assert entry_lines(file) == old
    assert file.stat().st_mode & 0o777 == 0o600
    assert list(tmp_path.glob(".2027*")) == []
    leaves = world.leaves()
    assert leaves[:-1] == kept
    entry = json.loads(leaves[-1])
    assert entry["event"] == "audit.put_away.allowed"
    assert entry["actor"] == "(operator)"
    assert (entry["first"], entry["end"], entry["count"]) == (0, len(old), len(old))
    assert entry["file_sha256"] == hashlib.sha256(file.read_bytes()).hexdigest()
    assert lowest(world) == [len(old)] * 3


def test_parts_and_rest_are_proved_to_be_one_log(world: Any, alice: Any, old: list[str], tmp_path: Path) -> None:
    first = put(world, tmp_path / "first", Wanted(365, until=2))
    second = put(world, tmp_path / "second", Wanted(365, until=len(old)))
    alice.create_key()
    rest = exported(world, tmp_path / "rest")
    key = world.ports.signer.verifier_key
    assert (second.first, verify_export(rest, key).first) == (first.end, second.end)
    older = []
    for name in ("first", "second"):
        header = Header.parse((tmp_path / name).read_bytes().split(b"\n")[0])
        older.append(open_checkpoint(header.checkpoint, key))
    assert verify_export(tmp_path / "second", key, older[0]).since == older[0]
    assert verify_export(rest, key, older[1]).since == older[1]
    # A reader who believes none of it hashes all entries anew.
    edge = RightEdge()
    for name in ("first", "second", "rest"):
        for line in entry_lines(tmp_path / name):
            edge.append(leaf_hash(line.encode()))
    assert edge.root() == verify_export(rest, key).checkpoint.root
    together = [line for name in ("first", "second", "rest") for line in entry_lines(tmp_path / name)]
    assert [json.loads(line)["index"] for line in together] == [*range(verify_export(rest, key).size)]
    # A part of before cannot stand in for a later one.
    with pytest.raises(TransparencyError, match="fewer entries than the older checkpoint"):
        verify_export(tmp_path / "first", key, older[1])


def test_old_entries_are_still_proved_and_the_log_still_proved_to_continue(
    world: Any, old: list[str], tmp_path: Path
) -> None:
    with world.ports.database.reading() as session:
        before = audit.current_checkpoint(session)
    put(world, tmp_path / "old")
    with world.ports.database.reading() as session:
        now = audit.current_checkpoint(session)
        for index, leaf in enumerate(old):
            proof = audit.prove_inclusion(session, index, now.size)
            verify_inclusion(index, now.size, leaf.encode(), proof, now.root)
        proof = audit.prove_consistency(session, before.size, now.size)
        verify_consistency(before.size, now.size, proof, before.root, now.root)
        assert session.scalar(select(func.count()).select_from(NodeRow).where(NodeRow.level == 0)) == now.size


def test_parts_of_any_length_are_verified_and_continue_each_other(world: Any, tmp_path: Path) -> None:
    entry = Entry(at=world.clock.now, action=Action.RELEASE, outcome=Outcome.ALLOWED, actor="(operator)")
    with world.ports.database.writing() as session:
        audit.record_all(session, [entry] * 1400)
    world.clock.now += 366 * DAY
    key, since = world.ports.signer.verifier_key, None
    for end in (1, 2, 255, 256, 257, 511, 768, 1024, 1030, 1400):
        part = tmp_path / str(end)
        put(world, part, Wanted(365, until=end))
        since = verify_export(part, key, since).checkpoint
        assert since.size == end
        verify_export(exported(world, tmp_path / "rest"), key, since)
    assert lowest(world)[:2] == [1400, 1400]


def test_a_server_starts_and_releases_on_what_is_kept(
    world: Any, alice: Any, bob: Any, old: list[str], settings: Settings, tmp_path: Path
) -> None:
    put(world, tmp_path / "old")
    installation.open_ports(settings).database.close()
    key, _ = alice.create_key()
    _, token = world.grant_token(alice, bob, key.id)
    assert alice.release(key.id, token).status_code == 200


def test_a_server_does_not_start_if_more_is_gone_than_was_put_away(
    world: Any, alice: Any, old: list[str], settings: Settings, tmp_path: Path
) -> None:
    put(world, tmp_path / "old", Wanted(365, until=2))
    with world.ports.database.writing() as session:
        take_guard_away(session)
        session.execute(delete(EntryRow).where(EntryRow.entry_index == 2))
    with pytest.raises(SetupError, match="lacks the oldest entry"):
        installation.open_ports(settings)


def test_searches_say_that_older_entries_were_put_away(world: Any, alice: Any, old: list[str], tmp_path: Path) -> None:
    key_id = next(json.loads(leaf)["key"] for leaf in old if '"key"' in leaf)
    assert ask(alice, "photo", key_id=key_id)["first_kept"] == 0
    put(world, tmp_path / "old", Wanted(365, until=len(old) - 1))
    history = ask(alice, "photo", key_id=key_id)
    assert history["first_kept"] == len(old) - 1
    assert [entry["action"] for entry in history["entries"]] == ["release"]
    assert ask(alice, "entries", action="grant.request") == {
        "entries": [],
        "next": None,
        "first_kept": len(old) - 1,
    }


def test_the_index_is_made_again_of_what_is_kept(world: Any, alice: Any, old: list[str], tmp_path: Path) -> None:
    put(world, tmp_path / "old")
    alice.create_key()
    before = ask(alice, "entries")["entries"]
    steps = list(reindexing.reindex(world.ports, again=True))
    assert len(steps) == 1
    assert [entry["leaf"] for entry in ask(alice, "entries")["entries"][1:]] == [entry["leaf"] for entry in before]
    assert lowest(world)[:2] == [len(old)] * 2


def test_somebody_is_erased_though_the_entries_are_away(world: Any, old: list[str], tmp_path: Path) -> None:
    put(world, tmp_path / "old")
    list(people.erase(world.ports, "default", "alice"))
    assert b"alice" not in (tmp_path / "old").read_bytes()
    assert world.last_entry()["event"] == "subject.erase.allowed"


def fresh(settings: Settings, tmp_path: Path) -> Settings:
    data = tmp_path / "fresh"
    data.mkdir()
    for path in settings.data.glob("*.key"):
        shutil.copy(path, data)
    return Settings(data=data)


@pytest.mark.parametrize("halfway", [False, True])
def test_a_restored_database_proves_what_was_put_away_before_the_backup(
    world: Any, alice: Any, old: list[str], settings: Settings, tmp_path: Path, halfway: bool, monkeypatch: Any
) -> None:
    if halfway:
        killed_while_deleting(world, tmp_path / "old", monkeypatch, after=0)
    else:
        put(world, tmp_path / "old")
    alice.create_key()
    recovery.back_up(world.ports, settings, tmp_path / "backup", PASSPHRASE, silent)
    checked = recovery.verify(tmp_path / "backup", PASSPHRASE, silent, world.ports.signer.verifier_key.public)
    kept = checked.checkpoint.size - len(old)
    assert (checked.rows["audit_nodes"], checked.rows["audit_entries"]) == (len(old), kept)
    into = fresh(settings, tmp_path)
    recovery.restore(into, tmp_path / "backup", PASSPHRASE, silent, world.clock.now)
    ports = installation.open_ports(into)
    with world.ports.database.reading() as ours, ports.database.reading() as theirs:
        assert log.first_kept(theirs) == len(old)
        assert theirs.scalar(select(func.min(EntryRow.entry_index))) == len(old)
        size = audit.current_checkpoint(ours).size
        for index in range(size):
            assert audit.prove_inclusion(theirs, index, size) == audit.prove_inclusion(ours, index, size)
    ports.database.close()


def test_after_an_older_backup_was_restored_the_same_file_is_put_away_again(
    world: Any, old: list[str], settings: Settings, tmp_path: Path
) -> None:
    recovery.back_up(world.ports, settings, tmp_path / "backup", PASSPHRASE, silent)
    found = put(world, tmp_path / "old")
    into = fresh(settings, tmp_path)
    recovery.restore(into, tmp_path / "backup", PASSPHRASE, silent, world.clock.now)
    ports = installation.open_ports(into, world.clock)
    assert put_away(ports, tmp_path / "old", Wanted(365), silent) == found
    ports.database.close()


def test_a_backup_without_entries_that_were_not_put_away_is_refused(
    world: Any, old: list[str], settings: Settings, tmp_path: Path, monkeypatch: Any
) -> None:
    """As somebody who has the passphrase, and hides entries behind their hashes."""
    monkeypatch.setattr(saving.log, "first_kept", lambda _: 3)
    recovery.back_up(world.ports, settings, tmp_path / "backup", PASSPHRASE, silent)
    with pytest.raises(BackupBroken, match="that were not put away"):
        recovery.verify(tmp_path / "backup", PASSPHRASE, silent, None)


def test_the_command_puts_away_and_says_what(
    world: Any, old: list[str], settings: Settings, tmp_path: Path, monkeypatch: Any, capsys: Any
) -> None:
    monkeypatch.setenv("KEYSERVER_DATABASE_URL", settings.url)
    file = str(tmp_path / "file")
    command = ["audit", "put-away", "--data", str(settings.data), "--output", file]
    # The entries say a time that is to come, for who looks at the machine's clock.
    assert main(command) == 0
    assert "no entry is old enough" in capsys.readouterr().out
    monkeypatch.setattr("time.time", lambda: float(world.clock.now))
    assert main([*command, "--until", "2", "--before", "2020-01-01"]) == 2
    assert main([*command, "--until", "99"]) == 2
    capsys.readouterr()
    assert main([*command, "--until", "3"]) == 0
    assert f"entries 0 to 2 are put away; SHA-256 {hashlib.sha256(Path(file).read_bytes()).hexdigest()}" in (
        capsys.readouterr().out
    )
    assert main(["audit", "verify", file, "--key", str(world.ports.signer.verifier_key)]) == 0
