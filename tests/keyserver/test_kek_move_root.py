"""Moving all KEKs to another root: whole or not at all, and what is left behind is worth nothing."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from image_keys import add_keys, opened

from keyserver import installation, keywrap
from keyserver.errors import Conflict, SetupError, Unavailable, WrapBroken
from keyserver.keywrap import FileRoot
from keyserver.secretfile import create_secret
from keyserver.service import keks
from keyserver.service.ports import Ports
from keyserver.settings import Settings
from keyserver.store import queries


@pytest.fixture
def ports(world: Any) -> Ports:
    found: Ports = world.ports
    return found


def new_root_lines(path: Path, **lines: object) -> Path:
    path.write_text("".join(f"KEYSERVER_{name}={value}\n" for name, value in lines.items()))
    return path


def test_moving_the_root_leaves_old_backups_useless_without_the_old_root(
    settings: Settings, world: Any, ports: Ports, tmp_path: Path
) -> None:
    made = add_keys(ports, 2) | add_keys(ports, 1, "other")
    keks.rotate(ports, "default")
    with ports.database.reading() as session:
        backup = {(row.tenant, row.epoch): row.wrapped for row in queries.all_keks(session)}
    lines = new_root_lines(tmp_path / "new.env", ROOT="file", ROOT_FILE=tmp_path / "new.key")

    assert installation.move_root(settings, lines) == ("file to file", 3)

    assert (tmp_path / "new.key").stat().st_mode & 0o777 == 0o600
    with pytest.raises(Unavailable):
        opened(ports, made)
    with pytest.raises(SetupError, match="another root"):
        installation.open_ports(settings)
    moved = settings.model_copy(update={"root_file": tmp_path / "new.key"})
    again = installation.open_ports(moved)
    assert opened(again, made) == made
    for (tenant, epoch), wrapped in backup.items():
        with pytest.raises(WrapBroken):
            keywrap.open_kek(again.root, wrapped, tenant, epoch)
    again.database.close()
    (entry,) = [entry for entry in map(json.loads, world.leaves()) if entry["event"] == "root.move.allowed"]
    assert (entry["count"], entry["reason"]) == (3, "file to file")


def test_a_root_move_that_fails_moves_nothing(settings: Settings, ports: Ports, tmp_path: Path) -> None:
    class HalfRoot:
        def __init__(self) -> None:
            self.wrapped = 0

        def wrap(self, kek: bytes, context: bytes) -> bytes:
            self.wrapped += 1
            if self.wrapped == 2:
                raise Unavailable("down")
            return FileRoot(b"n" * 32, os.urandom).wrap(kek, context)

        def unwrap(self, wrapped: bytes, context: bytes) -> bytes:
            return FileRoot(b"n" * 32, os.urandom).unwrap(wrapped, context)

    made = add_keys(ports, 2)
    with pytest.raises(Unavailable):
        keks.move_root(ports, HalfRoot(), "file to half")
    assert opened(ports, made) == made


def test_a_root_that_cannot_open_what_it_wrapped_is_found_out_before_anything_moves(ports: Ports) -> None:
    class Forgetful:
        def wrap(self, kek: bytes, context: bytes) -> bytes:
            return FileRoot(b"x" * 32, os.urandom).wrap(kek, context)

        def unwrap(self, wrapped: bytes, context: bytes) -> bytes:
            return FileRoot(b"n" * 32, os.urandom).unwrap(wrapped, context)

    made = add_keys(ports, 2)
    with pytest.raises(WrapBroken):
        keks.move_root(ports, Forgetful(), "file to nowhere")
    assert opened(ports, made) == made


def test_a_rotation_during_a_root_move_is_not_lost(ports: Ports) -> None:
    class Rotating:
        def __init__(self) -> None:
            self._root = FileRoot(b"n" * 32, os.urandom)

        def wrap(self, kek: bytes, context: bytes) -> bytes:
            keks.rotate(ports, "default")
            return self._root.wrap(kek, context)

        def unwrap(self, wrapped: bytes, context: bytes) -> bytes:
            return self._root.unwrap(wrapped, context)

    made = add_keys(ports, 2)
    with pytest.raises(Conflict, match="nothing was moved"):
        keks.move_root(ports, Rotating(), "file to file")
    assert opened(ports, made) == made


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("KEYSERVER_ROOT=cloud\n", "KEYSERVER_ROOT"),
        ("KEYSERVER_ROOT_SECONDS=0\n", "KEYSERVER_ROOT_SECONDS"),
        ("KEYSERVER_DATA=/elsewhere\n", "settings of a root only"),
        ("KEYSERVER_DATABASE_URL=sqlite://\n", "settings of a root only"),
        ("ROOT=file\n", "settings of a root only"),
        ("keyserver_root=file\n", "settings of a root only"),
        ("KEYSERVER_ROOT\n", "KEYSERVER_ROOT"),
    ],
)
def test_a_new_root_that_is_described_wrongly_is_refused(
    settings: Settings, world: Any, tmp_path: Path, content: str, words: str
) -> None:
    (tmp_path / "new.env").write_text(content)
    with pytest.raises(SetupError, match=words):
        installation.move_root(settings, tmp_path / "new.env")
    with pytest.raises(SetupError, match="cannot read"):
        installation.move_root(settings, tmp_path / "missing.env")


def test_the_file_wins_over_the_environment_that_the_old_root_is_set_in(
    settings: Settings, world: Any, ports: Ports, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KEYSERVER_ROOT_FILE", str(settings.root_key_file))
    create_secret(tmp_path / "new.key", b"n" * 32)
    lines = new_root_lines(tmp_path / "new.env", ROOT_FILE=tmp_path / "new.key")
    installation.move_root(settings, lines)
    with ports.database.reading() as session:
        row = queries.current_kek(session, "default")
    assert row is not None
    keywrap.open_kek(FileRoot(b"n" * 32, os.urandom), row.wrapped, "default", 1)


def test_a_tenant_is_not_added_under_another_root_than_the_others(settings: Settings, ports: Ports) -> None:
    create_secret(settings.data / "other.key", os.urandom(32))
    strange = settings.model_copy(update={"root_file": settings.data / "other.key"})
    with pytest.raises(SetupError, match="another root"):
        installation.initialise(strange, f"t{uuid4().hex}", 1)
    assert {kek.tenant for kek in keks.list_keks(ports)} == {"default", "other"}


def test_sqlites_files_no_longer_hold_a_kek_that_was_destroyed_or_moved(sqlite_template: Path, tmp_path: Path) -> None:
    settings = Settings(data=shutil.copytree(sqlite_template, tmp_path / "data"))
    ports = installation.open_ports(settings)
    keks.rotate(ports, "default")

    def wrapped() -> dict[tuple[str, int], bytes]:
        with ports.database.reading() as session:
            return {(row.tenant, row.epoch): row.wrapped for row in queries.openable_keks(session)}

    def on_disk() -> bytes:
        return b"".join(path.read_bytes() for path in sorted(settings.data.glob("keyserver.sqlite3*")))

    before = wrapped()
    assert all(each in on_disk() for each in before.values())
    keks.destroy(ports, "default", 1)
    assert before["default", 1] not in on_disk()
    keks.move_root(ports, FileRoot(b"n" * 32, os.urandom), "file to file")
    assert not any(each in on_disk() for each in before.values())
    assert all(each in on_disk() for each in wrapped().values())
    ports.database.close()
