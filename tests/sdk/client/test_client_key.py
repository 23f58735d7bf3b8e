"""The user's own client key: made once, for its owner alone, and never replaced."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from faceseal.client.clientkey import load_or_make, own_key
from faceseal.errors import ClientKeyError


def test_the_key_is_made_at_first_need_and_stays_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "a" / "faceseal"
    monkeypatch.setenv("FACESEAL_HOME", str(folder))
    assert not folder.exists()
    assert own_key().thumbprint == own_key().thumbprint
    assert [path.name for path in folder.iterdir()] == ["client.pem"]
    assert folder.stat().st_mode & 0o777 == 0o700
    assert (folder / "client.pem").stat().st_mode & 0o777 == 0o600


def test_without_the_variable_it_is_in_the_users_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FACESEAL_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    own_key()
    assert (tmp_path / ".faceseal" / "client.pem").is_file()


def test_whoever_makes_it_at_the_same_time_gets_the_same(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as threads:
        keys = list(threads.map(lambda _: load_or_make(tmp_path / "new"), range(32)))
    assert len({key.thumbprint for key in keys}) == 1
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["client.pem"]


@pytest.mark.parametrize("mode", [0o720, 0o702, 0o777])
def test_a_folder_in_which_others_could_replace_the_key_is_refused(tmp_path: Path, mode: int) -> None:
    load_or_make(tmp_path)
    tmp_path.chmod(mode)
    with pytest.raises(ClientKeyError, match="chmod go-w"):
        load_or_make(tmp_path)
    tmp_path.chmod(0o755)
    load_or_make(tmp_path)


def test_a_key_that_others_can_read_or_that_is_damaged_is_refused_and_kept(tmp_path: Path) -> None:
    load_or_make(tmp_path)
    path = tmp_path / "client.pem"
    path.chmod(0o644)
    with pytest.raises(ClientKeyError, match="chmod 600"):
        load_or_make(tmp_path)
    path.chmod(0o600)
    path.write_bytes(b"damaged")
    with pytest.raises(ClientKeyError, match="does not hold"):
        load_or_make(tmp_path)
    assert path.read_bytes() == b"damaged"


def test_where_it_cannot_be_kept_the_error_names_the_way_out(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(ClientKeyError, match="set FACESEAL_HOME to another folder"):
        load_or_make(tmp_path / "file" / "faceseal")
    (tmp_path / "link").mkdir(mode=0o700)
    (tmp_path / "link" / "client.pem").symlink_to(tmp_path / "nowhere")
    with pytest.raises(ClientKeyError, match="there already"):
        load_or_make(tmp_path / "link")


def test_neither_importing_nor_opening_a_connection_makes_a_key(tmp_path: Path) -> None:
    program = "import faceseal; faceseal.KeyServer('https://keys.example', token='t').close()"
    environment = {**os.environ, "FACESEAL_HOME": str(tmp_path / "faceseal")}
    subprocess.run([sys.executable, "-c", program], check=True, env=environment)
    assert not (tmp_path / "faceseal").exists()
