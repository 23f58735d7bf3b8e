"""`keyserver kek` as the operator runs it: a real process, killed where it hurts, and his mistakes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
from image_keys import add_keys, opened

from keyserver.cli import main
from keyserver.service import keks
from keyserver.service.ports import Ports
from keyserver.settings import Settings
from keyserver.store import log
from keyserver.store.tables import KeyRow

KEYS = 1700


def environment(settings: Settings) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("KEYSERVER_")}
    url = {} if settings.database_url is None else {"KEYSERVER_DATABASE_URL": settings.url}
    return {**kept, **url, "KEYSERVER_DATA": str(settings.data)}


def moved(ports: Ports) -> int:
    return keks.list_keks(ports, "default")[-1].keys


def logged(world: Any) -> int:
    """How many keys the audit log says were moved."""
    entries = (json.loads(leaf) for leaf in world.leaves())
    return sum(entry["count"] for entry in entries if entry["event"] == "kek.rewrap.allowed")


def test_a_rewrap_that_is_killed_in_the_middle_loses_nothing_and_goes_on(world: Any, settings: Settings) -> None:
    ports: Ports = world.ports
    made = add_keys(ports, KEYS)
    keks.rotate(ports, "default")
    command = [sys.executable, "-m", "keyserver", "kek", "rewrap", "--tenant", "default"]

    process = subprocess.Popen(command, env=environment(settings), stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == f"default: 0 of {KEYS:,} keys moved to epoch 2\n"
    assert process.stdout.readline() == f"default: 500 of {KEYS:,} keys moved to epoch 2\n"
    # On PostgreSQL, whoever holds the log's head stops the process inside a batch, its rows
    # locked and changed: there it dies.  On SQLite it would have to get the one lock first.
    with ports.database.writing() if settings.database_url is not None else nullcontext() as session:
        if session is not None:
            log.head_for_append(session)
        assert process.poll() is None
        os.kill(process.pid, signal.SIGKILL)
        assert process.wait(10) == -signal.SIGKILL
    process.stdout.close()

    held_at = moved(ports)
    assert 500 <= held_at < KEYS
    assert logged(world) == held_at
    assert opened(ports, made) == made

    done = subprocess.run(command, env=environment(settings), capture_output=True, text=True, timeout=60, check=True)
    left = KEYS - held_at
    assert done.stdout.splitlines()[-1] == f"default: {left:,} of {left:,} keys moved to epoch 2"
    assert moved(ports) == logged(world) == KEYS
    assert opened(ports, made) == made


@pytest.fixture
def run(settings: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    for name in [name for name in os.environ if name.startswith("KEYSERVER_")]:
        monkeypatch.delenv(name)
    for name, value in environment(settings).items():
        monkeypatch.setenv(name, value)

    def ask(*arguments: str | Path) -> tuple[int, str, str]:
        code = main([str(argument) for argument in arguments])
        return code, *capsys.readouterr()

    return ask


def test_the_life_of_a_kek_in_commands(run: Any, world: Any, tmp_path: Path) -> None:
    made = add_keys(world.ports, 3)
    assert run("kek", "rotate", "--tenant", "default") == (0, "default: new keys are wrapped in epoch 2\n", "")
    code, _, error = run("kek", "destroy", "--tenant", "default", "--epoch", "1")
    assert (code, "3 keys that are not destroyed" in error) == (2, True)
    code, output, error = run("kek", "rewrap", "--tenant", "default")
    assert (code, output.splitlines()[-1], error) == (0, "default: 3 of 3 keys moved to epoch 2", "")
    code, output, _ = run("kek", "destroy", "--tenant", "default", "--epoch", "1")
    assert (code, output) == (0, "default: the KEK of epoch 1 is destroyed, and 0 destroyed keys with it\n")
    code, output, _ = run("kek", "list", "--tenant", "default")
    first, second = output.splitlines()
    assert first.startswith("default  epoch 1  destroyed  since 20")
    assert second.startswith("default  epoch 2  current  since 20")
    assert second.endswith("3 keys, 0 destroyed")
    assert len(run("kek", "list")[1].splitlines()) == 3
    assert opened(world.ports, made) == made


def test_the_root_moves_by_one_command_and_the_new_settings_serve(
    run: Any, world: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "new.env").write_text(f"KEYSERVER_ROOT_FILE={tmp_path / 'new.key'}\n")
    code, output, error = run("kek", "move-root", "--to", tmp_path / "new.env")
    assert (code, error) == (0, "")
    assert output.startswith("2 KEKs moved (file to file); now set what ")
    code, _, error = run("kek", "list")
    assert (code, "another root" in error) == (2, True)
    monkeypatch.setenv("KEYSERVER_ROOT_FILE", str(tmp_path / "new.key"))
    assert run("kek", "list")[0] == 0


def test_a_rewrap_with_keys_that_do_not_open_says_so_at_the_end(run: Any, world: Any) -> None:
    (key_id,) = add_keys(world.ports, 1)
    with world.ports.database.writing() as session:
        session.get_one(KeyRow, key_id).wrapped = bytes(60)
    run("kek", "rotate", "--tenant", "default")
    code, _, error = run("kek", "rewrap", "--tenant", "default")
    assert (code, error) == (2, "keyserver: 1 keys do not open and stay where they are; the audit log has the count\n")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["kek", "rotate", "--tenant", "nobody"], "there is no tenant nobody"),
        (["kek", "rewrap", "--tenant", "nobody"], "there is no tenant nobody"),
        (["kek", "list", "--tenant", "nobody"], "there is no tenant nobody"),
        (["kek", "destroy", "--tenant", "default", "--epoch", "1"], "rotate first"),
        (["kek", "destroy", "--tenant", "default", "--epoch", "7"], "no KEK of epoch 7"),
        (["kek", "destroy", "--tenant", "default", "--epoch", "0"], "Invalid value"),
        (["kek", "rotate"], "Missing option"),
        (["kek", "rewrap"], "Missing option"),
        (["kek", "destroy", "--epoch", "1"], "Missing option"),
        (["kek", "destroy", "--tenant", "default"], "Missing option"),
        (["kek", "move-root"], "Missing option"),
        (["kek", "move-root", "--to", "nowhere.env"], "cannot read nowhere.env"),
    ],
)
def test_a_mistake_is_one_line_and_changes_nothing(run: Any, world: Any, arguments: list[str], words: str) -> None:
    before = world.leaves()
    code, output, error = run(*arguments)
    assert (code, output, error.count("\n")) == (2, "", 1)
    assert words in error
    assert world.leaves() == before


@pytest.mark.parametrize(
    ("name", "value"),
    [("ROOT", "cloud"), ("ROOT_SECONDS", "0"), ("PKCS11_MECHANISM", "rot13"), ("VAULT_MOUNT", "../sys")],
)
def test_a_wrong_setting_of_a_root_is_named_but_not_quoted(
    run: Any, monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(f"KEYSERVER_{name}", value)
    assert run("kek", "list") == (2, "", f"keyserver: not usable: KEYSERVER_{name}\n")
