"""Backups: consistent, encrypted, verified, and restored into an empty installation alone."""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt
from image_keys import add_keys, opened
from sqlalchemy import select

from keyserver import installation, recovery
from keyserver.backup import restoring, saving, stream
from keyserver.backup.stream import CHUNK_BYTES, SealedWriter, lines, opened_chunks
from keyserver.cli import main
from keyserver.errors import BackupBroken, SetupError
from keyserver.service.ports import Ports
from keyserver.settings import Settings
from keyserver.store import log
from keyserver.store.tables import Base, KeyRow

PASSPHRASE = "correct-horse-battery"
CHUNK = CHUNK_BYTES + 16


def silent(*_: object) -> None:
    """No progress is shown."""


@pytest.fixture(autouse=True)
def quick_scrypt(monkeypatch: pytest.MonkeyPatch) -> None:
    """The real cost is the same 128 MiB each time; the test of the command line pays it."""
    real = stream.Scrypt
    monkeypatch.setattr(stream, "Scrypt", lambda **cost: real(**{**cost, "n": 1 << 4}))


@pytest.fixture
def saved(world: Any, alice: Any, bob: Any, settings: Settings, tmp_path: Path) -> Path:
    """A backup of a server that was used."""
    key, _ = alice.create_key()
    _, token = world.grant_token(alice, bob, key.id)
    path = f"/v1/keys/{key.id}/release"
    headers = {**alice.headers(alice.proof("POST", path)), "Idempotency-Key": "one"}
    mine = {"grant": token, "recipient": "CQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"}
    assert world.client.post(path, headers=headers, json=mine).status_code == 200
    add_keys(world.ports, 1300)
    file = tmp_path / "backup"
    recovery.back_up(world.ports, settings, file, PASSPHRASE, silent)
    return file


@pytest.fixture
def empty(settings: Settings, tmp_path: Path) -> Settings:
    """An installation with the same key files, on SQLite, whose database holds nothing."""
    data = tmp_path / "fresh"
    data.mkdir()
    for path in settings.data.glob("*.key"):
        shutil.copy(path, data)
    return Settings(data=data)


def contents(ports: Ports) -> dict[str, list[tuple[Any, ...]]]:
    with ports.database.reading() as session:
        return {
            table.name: sorted((tuple(row) for row in session.execute(select(table))), key=repr)
            for table in Base.metadata.sorted_tables
        }


def test_a_restored_installation_is_the_same_and_goes_on(world: Any, saved: Path, empty: Settings) -> None:
    before, leaves = contents(world.ports), world.leaves()
    recovery.restore(empty, saved, PASSPHRASE, silent, 7)
    ports = installation.open_ports(empty)
    after = contents(ports)
    different = {name for name in before if before[name] != after[name]}
    assert different <= {"audit_log", "audit_entries", "audit_nodes", "audit_index", "rate_buckets", "dpop_proofs"}
    with ports.database.reading() as session:
        restored = list(log.leaves(session, 1 << 40))
        key_ids = session.scalars(select(KeyRow.id)).all()
    assert restored[:-1] == leaves
    assert json.loads(restored[-1])["event"] == "backup.restore.allowed"
    assert opened(ports, key_ids) == opened(world.ports, key_ids)
    ports.database.close()


def test_a_backup_holds_the_entry_that_it_was_made(world: Any, saved: Path) -> None:
    assert json.loads(world.leaves()[-1])["event"] == "backup.make.allowed"
    found = recovery.verify(saved, PASSPHRASE, silent, world.ports.signer.verifier_key.public)
    assert found.checkpoint.size == len(world.leaves())
    assert found.rows["image_keys"] == 1301


def test_a_backup_is_of_one_moment_while_the_server_goes_on(world: Any, alice: Any, settings: Settings) -> None:
    file, made = io.BytesIO(), []

    def meanwhile(*_: object) -> None:
        made.append(alice.create_key())

    saving.save(world.ports, file, PASSPHRASE, "file", meanwhile)
    assert made
    file.seek(0)
    found = restoring.verify(file, PASSPHRASE, silent)
    assert found.checkpoint.size == len(world.leaves()) - len(made)


def test_the_file_is_private_and_shows_nothing(world: Any, saved: Path) -> None:
    data = saved.read_bytes()
    assert saved.stat().st_mode & 0o777 == 0o600
    assert all(word not in data for word in (b"alice", b"court order", b"image_keys", b"default"))
    assert list(saved.parent.glob(".backup*")) == []


def test_an_existing_file_is_not_replaced(world: Any, saved: Path, settings: Settings) -> None:
    before = saved.read_bytes()
    with pytest.raises(SetupError, match="is there already"):
        recovery.back_up(world.ports, settings, saved, PASSPHRASE, silent)
    assert saved.read_bytes() == before


Damage = Callable[[bytes], bytes]
HEADER = len(stream.MAGIC) + 16 + 7


def swapped(data: bytes) -> bytes:
    first, second = data[HEADER : HEADER + CHUNK], data[HEADER + CHUNK : HEADER + 2 * CHUNK]
    return data[:HEADER] + second + first + data[HEADER + 2 * CHUNK :]


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data[: HEADER + CHUNK],
        lambda data: data[: HEADER + CHUNK + 100],
        lambda data: data[:-1],
        lambda data: data[:HEADER],
        lambda data: data[: HEADER - 1],
        lambda data: data[:0],
        swapped,
        lambda data: data[:HEADER] + data[HEADER + CHUNK :],
        lambda data: data[: HEADER + CHUNK] + data[HEADER:],
        lambda data: data + b"x",
        lambda data: data + data[HEADER : HEADER + CHUNK],
        lambda data: bytes([data[0] ^ 1]) + data[1:],
        lambda data: data[: HEADER - 1] + bytes([data[HEADER - 1] ^ 1]) + data[HEADER:],
        lambda data: data[:-1] + bytes([data[-1] ^ 1]),
        lambda data: data[: HEADER + 9] + bytes([data[HEADER + 9] ^ 1]) + data[HEADER + 10 :],
    ],
)
def test_a_file_that_was_cut_altered_or_reordered_is_refused_and_nothing_of_it_kept(
    saved: Path, empty: Settings, damage: Damage
) -> None:
    data = saved.read_bytes()
    assert len(data) > HEADER + 2 * CHUNK
    saved.write_bytes(damage(data))
    with pytest.raises(BackupBroken):
        recovery.verify(saved, PASSPHRASE, silent, None)
    with pytest.raises(BackupBroken):
        recovery.restore(empty, saved, PASSPHRASE, silent, 7)
    with pytest.raises(SetupError):
        installation.open_ports(empty)
    saved.write_bytes(data)
    recovery.restore(empty, saved, PASSPHRASE, silent, 7)


def test_chunks_of_two_backups_under_one_passphrase_do_not_mix(world: Any, saved: Path, settings: Settings) -> None:
    second = saved.with_name("second")
    recovery.back_up(world.ports, settings, second, PASSPHRASE, silent)
    one, other = saved.read_bytes(), second.read_bytes()
    saved.write_bytes(one[: HEADER + CHUNK] + other[HEADER + CHUNK :])
    with pytest.raises(BackupBroken):
        recovery.verify(saved, PASSPHRASE, silent, None)


def test_another_passphrase_opens_nothing(saved: Path) -> None:
    with pytest.raises(BackupBroken):
        recovery.verify(saved, PASSPHRASE + "x", silent, None)


def rewritten(path: Path, change: Callable[[list[bytes]], list[bytes]]) -> None:
    """What somebody with the passphrase can make of it."""
    with path.open("rb") as file:
        found = change(list(lines(opened_chunks(file, PASSPHRASE), 1 << 30)))
    with path.open("wb") as file:
        writer = SealedWriter(file, PASSPHRASE, os.urandom)
        writer.write(b"".join(line + b"\n" for line in found))
        writer.finish()


def with_digest(found: list[bytes]) -> list[bytes]:
    end = json.loads(found[-1])
    end["sha256"] = hashlib.sha256(b"".join(line + b"\n" for line in found[:-1])).hexdigest()
    return [*found[:-1], json.dumps(end).encode()]


@pytest.mark.parametrize(
    "change",
    [
        lambda found: found[:-1],
        lambda found: [*found, found[-1]],
        lambda found: [line.replace(b"court order 17", b"court order 18") for line in found],
        lambda found: with_digest([line.replace(b"grant.request.allowed", b"grant.request.denied") for line in found]),
        lambda found: with_digest([line.replace(b'"columns":["', b'"columns":["x') for line in found]),
        lambda found: with_digest([b"[1]", *found]),
        lambda found: with_digest([found[0], b"[1]", *found[1:]]),
        lambda found: with_digest([line for line in found if b"grant.request" not in line]),
        lambda found: with_digest([b"{broken", *found[1:]]),
        lambda found: with_digest([*found[:3], b"[[]]", *found[3:]]),
        lambda found: found[:0],
    ],
)
def test_what_does_not_fit_its_digest_or_the_signed_log_is_refused(
    saved: Path, change: Callable[[list[bytes]], list[bytes]]
) -> None:
    rewritten(saved, lambda found: found)
    recovery.verify(saved, PASSPHRASE, silent, None)
    rewritten(saved, change)
    with pytest.raises(BackupBroken):
        recovery.verify(saved, PASSPHRASE, silent, None)


def test_a_backup_of_another_log_is_refused(saved: Path) -> None:
    with pytest.raises(BackupBroken, match="another audit log"):
        recovery.verify(saved, PASSPHRASE, silent, bytes(32))


def test_an_installation_that_holds_anything_is_not_restored_into(world: Any, saved: Path, settings: Settings) -> None:
    before = world.leaves()
    with pytest.raises(SetupError, match="not empty"):
        recovery.restore(settings, saved, PASSPHRASE, silent, 7)
    assert world.leaves() == before


def test_another_root_is_refused_and_nothing_kept(saved: Path, empty: Settings) -> None:
    root = empty.root_key_file.read_bytes()
    empty.root_key_file.write_bytes(bytes(32))
    with pytest.raises(SetupError, match="does not open the key"):
        recovery.restore(empty, saved, PASSPHRASE, silent, 7)
    empty.root_key_file.write_bytes(root)
    recovery.restore(empty, saved, PASSPHRASE, silent, 7)


def test_the_kind_of_root_is_told(saved: Path, empty: Settings) -> None:
    with pytest.raises(SetupError, match="root of kind file"):
        recovery.restore(empty.model_copy(update={"root": installation.RootKind.AWS_KMS}), saved, PASSPHRASE, silent, 7)


def test_without_the_key_files_nothing_is_restored(saved: Path, empty: Settings) -> None:
    empty.log_key_file.unlink()
    with pytest.raises(SetupError, match=r"log\.key"):
        recovery.restore(empty, saved, PASSPHRASE, silent, 7)


def test_a_backup_goes_from_either_database_to_either(
    world: Any, saved: Path, empty: Settings, empty_database: Any
) -> None:
    url = empty_database.engine.url.render_as_string(hide_password=False)
    there = empty.model_copy(update={"database_url": installation.Settings(database_url=url).database_url})
    recovery.restore(there, saved, PASSPHRASE, silent, 7)
    ports = installation.open_ports(there)
    with ports.database.reading() as session:
        assert len(session.scalars(select(KeyRow)).all()) == 1301
    ports.database.close()


def test_memory_does_not_grow_with_the_database(world: Any, settings: Settings, tmp_path: Path) -> None:
    add_keys(world.ports, 12_000)
    path = tmp_path / "large"
    tracemalloc.start()
    try:
        recovery.back_up(world.ports, settings, path, PASSPHRASE, silent)
        recovery.verify(path, PASSPHRASE, silent, None)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert path.stat().st_size > 2_000_000
    assert most < 8_000_000


@pytest.fixture
def passphrase_file(tmp_path: Path) -> Path:
    path = tmp_path / "passphrase"
    path.write_text(f"{uuid4()}\n")
    path.chmod(0o600)
    return path


def test_on_the_command_line_from_backup_to_restore(
    world: Any,
    settings: Settings,
    empty: Settings,
    passphrase_file: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(stream, "Scrypt", Scrypt)
    world.person("alice").create_key()
    file = str(tmp_path / "made")
    secret = ["--passphrase-file", str(passphrase_file)]
    if settings.database_url is not None:
        monkeypatch.setenv("KEYSERVER_DATABASE_URL", settings.url)
    assert main(["backup", file, *secret, "--data", str(settings.data)]) == 0
    monkeypatch.delenv("KEYSERVER_DATABASE_URL", raising=False)
    assert main(["restore", file, *secret, "--check", "--key", str(world.ports.signer.verifier_key)]) == 0
    shown = capsys.readouterr()
    assert "not in it: the root (file)" in shown.out
    assert f"{len(world.leaves()):,} proved log entries" in shown.out
    assert "image_keys: 1 of 1 rows" in shown.err
    assert main(["restore", file, *secret, "--data", str(empty.data)]) == 0
    assert main(["restore", file, *secret, "--data", str(empty.data)]) == 2
    assert "not empty" in capsys.readouterr().err
    passphrase_file.chmod(0o644)
    assert main(["restore", file, *secret, "--check"]) == 2
