"""The log's key is replaced while the server runs: both sign, then one, and the log stays the same log."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from publishing_world import Seconds, another_replica, pushed

from faceseal.errors import TransparencyError
from faceseal.translog import VerifierKey, open_checkpoint
from keyserver import audit, installation, recovery
from keyserver.audit.export import export_lines, verify_export
from keyserver.audit.logkeys import MOST_KEYS
from keyserver.cli import main
from keyserver.errors import BackupBroken, SetupError, StoreUnavailable
from keyserver.logkey_rotation import retire_log_key, rotate_log_key
from keyserver.service.publishing import Publisher
from keyserver.settings import Settings
from keyserver.sinks.file import FileSink

NOW = 1_800_000_000
PASSPHRASE = "correct-horse-battery"


def signed(world: Any) -> str:
    with world.ports.database.reading() as session:
        head = audit.current_checkpoint(session)
    note: str = world.ports.signer.sign(head)
    return note


def opens(note: str, key: VerifierKey) -> bool:
    try:
        open_checkpoint(note, key)
    except TransparencyError:
        return False
    return True


def key_hash(key: VerifierKey) -> str:
    return key.key_hash.hex()


@pytest.fixture
def old(world: Any) -> VerifierKey:
    key: VerifierKey = world.ports.signer.verifier_key
    return key


@pytest.fixture
def new(world: Any, old: VerifierKey, settings: Settings) -> VerifierKey:
    return rotate_log_key(settings, NOW)


def test_a_server_that_runs_signs_with_both_keys_from_the_rotation_on(
    world: Any, old: VerifierKey, settings: Settings, granted: Any
) -> None:
    new = rotate_log_key(settings, NOW)
    assert new.name == old.name
    entry = world.last_entry()
    assert (entry["event"], entry["verifier_key"]) == ("log_key.rotate.allowed", str(new))
    answer = granted.requester.post(granted.path, granted.body())
    assert [opens(answer.json()["receipt"]["checkpoint"], key) for key in (old, new)] == [True, True]
    assert [opens(signed(world), key) for key in (old, new)] == [True, True]
    installation.open_ports(settings).database.close()


def test_the_log_verifies_offline_with_either_key(
    world: Any, old: VerifierKey, new: VerifierKey, tmp_path: Path
) -> None:
    with world.ports.database.reading() as session, (tmp_path / "log.jsonl").open("wb") as file:
        file.writelines(export_lines(session, world.ports.signer))
    assert [verify_export(tmp_path / "log.jsonl", key).size for key in (old, new)] == [len(world.leaves())] * 2


def test_a_retired_key_signs_no_more_and_whoever_knows_no_other_is_told_what_to_do(
    world: Any, old: VerifierKey, new: VerifierKey, settings: Settings
) -> None:
    assert retire_log_key(settings, key_hash(old), NOW) == old
    entry = world.last_entry()
    assert (entry["event"], entry["verifier_key"]) == ("log_key.retire.allowed", str(old))
    note = signed(world)
    open_checkpoint(note, new)
    with pytest.raises(TransparencyError, match=rf"{key_hash(old)} .* with {key_hash(new)}: .*[Aa]sk the server's op"):
        open_checkpoint(note, old)
    assert not settings.log_key_file.exists()
    for start in (installation.open_ports, lambda settings: installation.initialise(settings, "default", NOW)):
        ports = start(settings)
        assert ports.signer.verifier_keys == [new]
        ports.database.close()


def test_a_rotation_can_be_taken_back(world: Any, old: VerifierKey, new: VerifierKey, settings: Settings) -> None:
    retire_log_key(settings, key_hash(new), NOW)
    assert [opens(signed(world), key) for key in (old, new)] == [True, False]
    assert [each.name for each in settings.data.glob("log*.key")] == ["log.key"]


@pytest.fixture
def elsewhere(settings: Settings, tmp_path: Path) -> Settings:
    """A replica with a data folder of its own, from before any rotation."""
    data = shutil.copytree(settings.data, tmp_path / "elsewhere")
    if settings.database_url is None:
        for file in data.glob("keyserver.sqlite3*"):
            file.unlink()
            file.symlink_to(settings.data / file.name)
    return settings.model_copy(update={"data": data})


def test_a_replica_without_the_new_key_signs_with_the_old_until_it_is_retired_and_then_releases_nothing(
    elsewhere: Settings, world: Any, old: VerifierKey, settings: Settings, granted: Any, caplog: Any
) -> None:
    # The world stands for the replica whose folder is elsewhere: what it reads there is what the others had before.
    lacking = installation.open_ports(elsewhere, world.clock).signer
    new = rotate_log_key(settings, NOW)
    with world.ports.database.reading() as session:
        note = lacking.sign(audit.current_checkpoint(session))
    assert [opens(note, key) for key in (old, new)] == [True, False]
    assert "lack a signature" in caplog.text
    with pytest.raises(SetupError, match=f"log.{key_hash(new)}.key"):
        installation.open_ports(elsewhere)

    retire_log_key(settings, key_hash(old), NOW)
    world.ports.signer._path = lacking._path
    before = world.leaves()
    assert granted.requester.post(granted.path, granted.body()).status_code == 503
    assert world.leaves() == before
    assert granted.uses_left() == 5

    shutil.copy(settings.data / f"log.{key_hash(new)}.key", elsewhere.data)
    answer = granted.requester.post(granted.path, granted.body())
    open_checkpoint(answer.json()["receipt"]["checkpoint"], new)
    # With a key that nobody lists any more it does not start to sign again.
    assert (elsewhere.data / "log.key").exists()
    assert not opens(signed(world), old)


def test_a_rotation_that_was_broken_off_changes_nothing_and_can_be_done_again(
    world: Any, old: VerifierKey, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = world.leaves()
    with monkeypatch.context() as patched:
        patched.setattr(audit, "append", broken)
        with pytest.raises(StoreUnavailable):
            rotate_log_key(settings, NOW)
    # Its file is there, and counts for nothing.
    assert len(list(settings.data.glob("log.*.key"))) == 1
    assert world.leaves() == before
    ports = installation.open_ports(settings)
    assert ports.signer.verifier_keys == [old]
    ports.database.close()
    new = rotate_log_key(settings, NOW)
    assert opens(signed(world), new)


def broken(*_: object) -> None:
    raise StoreUnavailable("the disk is full")


def test_a_key_whose_file_is_lost_can_be_retired_though_nothing_starts_without_it(
    world: Any, old: VerifierKey, new: VerifierKey, settings: Settings
) -> None:
    settings.log_key_file.unlink()
    with pytest.raises(SetupError, match="cannot read"):
        installation.open_ports(settings)
    with pytest.raises(SetupError, match="cannot read"):
        retire_log_key(settings, key_hash(new), NOW)
    retire_log_key(settings, key_hash(old), NOW)
    installation.open_ports(settings).database.close()


def test_the_only_key_and_one_that_is_not_there_are_not_retired_and_not_too_many_sign(
    world: Any, old: VerifierKey, settings: Settings
) -> None:
    with pytest.raises(SetupError, match="only key"):
        retire_log_key(settings, key_hash(old), NOW)
    with pytest.raises(SetupError, match=f"those that do: {key_hash(old)}"):
        retire_log_key(settings, "00000000", NOW)
    keys = [old, *(rotate_log_key(settings, NOW) for _ in range(MOST_KEYS - 1))]
    with pytest.raises(SetupError, match="retire one"):
        rotate_log_key(settings, NOW)
    note = signed(world)
    assert all(opens(note, key) for key in keys)
    # What the SDK takes.
    assert len(note.encode()) <= 4096


def test_a_backup_with_several_keys_verifies_with_each_and_is_restored_with_them(
    world: Any, old: VerifierKey, new: VerifierKey, settings: Settings, tmp_path: Path
) -> None:
    file = tmp_path / "backup"
    recovery.back_up(world.ports, settings, file, PASSPHRASE, lambda *_: None)
    for key in (old, new):
        assert recovery.verify(file, PASSPHRASE, lambda *_: None, key.public).checkpoint.size == len(world.leaves())
    with pytest.raises(BackupBroken, match="another audit log"):
        recovery.verify(file, PASSPHRASE, lambda *_: None, bytes(32))
    fresh = Settings(data=tmp_path / "fresh")
    fresh.data.mkdir()
    for path in settings.data.glob("*.key"):
        shutil.copy(path, fresh.data)
    recovery.restore(fresh, file, PASSPHRASE, lambda *_: None, 7)
    ports = installation.open_ports(fresh)
    assert ports.signer.verifier_keys == [new, old]
    ports.database.close()


def test_a_checkpoint_that_was_kept_before_a_rotation_still_counts_at_the_start(
    world: Any, old: VerifierKey, settings: Settings, tmp_path: Path
) -> None:
    kept = settings.model_copy(update={"checkpoint_file": tmp_path / "checkpoint"})
    (tmp_path / "checkpoint").write_text(signed(world))
    rotate_log_key(settings, NOW)
    installation.open_ports(kept).database.close()
    (tmp_path / "checkpoint").write_text(signed(world))
    retire_log_key(settings, key_hash(old), NOW)
    installation.open_ports(kept).database.close()


def test_the_commands_rotate_show_and_retire(
    world: Any, settings: Settings, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    if settings.database_url is not None:
        monkeypatch.setenv("KEYSERVER_DATABASE_URL", settings.url)

    def said(*command: str) -> str:
        assert main(["audit", *command, "--data", str(settings.data)]) == 0
        return capsys.readouterr().out

    old = said("key")
    new = said("rotate-key")
    assert said("key") == new
    assert said("key", "--all") == new + old
    assert said("retire-key", old.split("+")[1]).startswith(old.strip())
    assert said("key", "--all") == new
    assert [json.loads(leaf)["event"] for leaf in world.leaves()][-2:] == [
        "log_key.rotate.allowed",
        "log_key.retire.allowed",
    ]


def test_a_key_is_not_retired_while_a_sink_holds_what_no_other_key_opens(
    world: Any,
    old: VerifierKey,
    settings: Settings,
    publisher_of: Any,
    file: FileSink,
    seconds: Seconds,
    tmp_path: Path,
) -> None:
    publisher = publisher_of(file)
    publisher.begin()
    rotate_log_key(settings, NOW)
    pushing = settings.model_copy(update={"checkpoint_sinks": (file.name, f"file://{tmp_path / 'empty'}")})
    before = world.leaves()
    with pytest.raises(SetupError, match=r"kept: no other key has signed.*--force"):
        retire_log_key(pushing, key_hash(old), NOW)
    away = settings.model_copy(update={"checkpoint_sinks": (f"file://{tmp_path}",)})
    with pytest.raises(SetupError, match="cannot be used"):
        retire_log_key(away, key_hash(old), NOW)
    # It refuses before anything is done.
    assert world.leaves() == before
    assert settings.log_key_file.exists()

    pushed(publisher, seconds)
    retire_log_key(pushing, key_hash(old), NOW)
    Publisher(another_replica(world), [file], 1).begin()


def test_a_key_is_retired_by_force_though_a_sink_is_away(
    world: Any, old: VerifierKey, new: VerifierKey, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if settings.database_url is not None:
        monkeypatch.setenv("KEYSERVER_DATABASE_URL", settings.url)
    monkeypatch.setenv("KEYSERVER_CHECKPOINT_SINKS", json.dumps([f"file://{tmp_path}"]))
    retire = ["audit", "retire-key", key_hash(old), "--data", str(settings.data)]
    assert main(retire) == 2
    assert settings.log_key_file.exists()
    assert main([*retire, "--force"]) == 0
    assert not settings.log_key_file.exists()
