"""Creating an installation, opening it again, and refusing one whose parts do not belong together."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from keyserver import installation, keywrap
from keyserver.errors import SetupError, StoreUnavailable
from keyserver.settings import Settings
from keyserver.store import log, queries, schema
from keyserver.store.database import Database
from keyserver.store.tables import KekRow

NOW = 1_800_000_000


def events(settings: Settings) -> list[str]:
    database = Database(settings.url)
    with database.reading() as session:
        leaves = [json.loads(leaf) for leaf in log.leaves(session, 1000)]
    database.close()
    return [leaf["event"] for leaf in leaves]


def test_initialising_again_changes_nothing_and_adds_tenants(settings: Settings) -> None:
    files = [settings.root_key_file, settings.issuer_key_file, settings.log_key_file, settings.nonce_key_file]
    before = [path.read_bytes() for path in files]
    first = installation.initialise(settings, "default", NOW)
    again = installation.initialise(settings, "third", NOW)
    assert first.signer.verifier_key == again.signer.verifier_key
    assert [path.read_bytes() for path in files] == before
    assert events(settings) == ["log.start.allowed", *["tenant.create.allowed"] * 3]
    for ports in (first, again):
        ports.database.close()


def test_everything_in_the_data_folder_is_its_owners_alone(tmp_path: Path) -> None:
    old_mask = os.umask(0)
    try:
        installation.initialise(Settings(data=tmp_path / "a" / "data"), "default", NOW)
    finally:
        os.umask(old_mask)
    folder = tmp_path / "a" / "data"
    assert folder.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o600}


def test_the_keys_differ_and_so_do_two_installations(tmp_path: Path) -> None:
    secrets, names = set(), set()
    for name in ("one", "two"):
        settings = Settings(data=tmp_path / name)
        ports = installation.initialise(settings, "default", NOW)
        names.add(ports.signer.verifier_key.name)
        secrets |= {path.read_bytes() for path in settings.data.glob("*.key")}
    assert (len(secrets), len(names)) == (8, 2)
    assert all(name.startswith("faceseal-keyserver/") and len(name) == len("faceseal-keyserver/") + 8 for name in names)


@pytest.mark.parametrize("name", ["root_key_file", "issuer_key_file", "log_key_file"])
def test_a_lost_key_file_is_never_replaced(settings: Settings, name: str) -> None:
    path: Path = getattr(settings, name)
    path.unlink()
    with pytest.raises(SetupError, match="cannot read"):
        installation.open_ports(settings)
    with pytest.raises(SetupError, match="cannot read"):
        installation.initialise(settings, "default", NOW)
    assert not path.exists()


def test_an_installation_from_before_there_were_nonces_gets_their_key_from_init(settings: Settings) -> None:
    settings.nonce_key_file.unlink()
    with pytest.raises(SetupError, match=r"nonce\.key; copy it from another replica, or make it: keyserver init"):
        installation.open_ports(settings)
    installation.initialise(settings, "default", NOW).database.close()
    assert len(settings.nonce_key_file.read_bytes()) == 32
    assert events(settings) == ["log.start.allowed", *["tenant.create.allowed"] * 2]


@pytest.mark.parametrize(
    ("name", "message"), [("root_key_file", "another root"), ("log_key_file", "not the key that this log")]
)
def test_a_key_file_of_another_installation_is_refused(settings: Settings, name: str, message: str) -> None:
    path: Path = getattr(settings, name)
    path.write_bytes(os.urandom(32))
    with pytest.raises(SetupError, match=message):
        installation.open_ports(settings)


@pytest.mark.parametrize("name", ["root_key_file", "issuer_key_file", "log_key_file", "nonce_key_file"])
def test_a_key_file_open_to_others_is_refused(settings: Settings, name: str) -> None:
    path: Path = getattr(settings, name)
    path.chmod(0o640)
    with pytest.raises(SetupError, match="chmod 600"):
        installation.open_ports(settings)


def test_keks_that_were_swapped_between_tenants_are_refused(settings: Settings) -> None:
    database = Database(settings.url)
    with database.writing() as session:
        mine, theirs = queries.current_kek(session, "default"), queries.current_kek(session, "other")
        assert mine is not None
        assert theirs is not None
        mine.wrapped, theirs.wrapped = theirs.wrapped, mine.wrapped
    database.close()
    with pytest.raises(SetupError, match="the database was altered"):
        installation.open_ports(settings)


def test_new_keys_use_the_newest_kek_and_old_ones_still_open(settings: Settings) -> None:
    ports = installation.open_ports(settings)
    with ports.database.writing() as session:
        wrapped = keywrap.wrap_new_kek(ports.root, "default", 2, os.urandom)
        session.add(KekRow(tenant="default", epoch=2, wrapped=wrapped, created_at=NOW))
    with ports.database.reading() as session:
        newest = queries.current_kek(session, "default")
        assert newest is not None
        assert newest.epoch == 2
    ports.database.close()
    installation.open_ports(settings).database.close()


def test_a_schema_that_is_behind_is_refused_and_init_brings_it_up(settings: Settings) -> None:
    database = Database(settings.url)
    schema.downgrade(database, "base")
    database.close()
    with pytest.raises(SetupError, match="schema"):
        installation.open_ports(settings)
    schema.upgrade(database)
    with pytest.raises(SetupError, match="no audit log"):
        installation.open_ports(settings)
    database.close()


def test_a_folder_without_a_key_server_is_left_alone(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match="there is no key server"):
        installation.open_ports(Settings(data=tmp_path / "nothing"))
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_no_database_is_reported(tmp_path: Path) -> None:
    settings = Settings(data=tmp_path)
    settings.database_file.write_bytes(b"not a database" * 100)
    with pytest.raises(StoreUnavailable):
        installation.open_ports(settings)
