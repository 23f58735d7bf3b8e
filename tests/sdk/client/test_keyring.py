import json
import os
import stat
import subprocess
import sys
import time
from uuid import UUID, uuid4

import pytest

from faceseal.client import LocalKeyring
from faceseal.errors import KeyringError, UnknownKey
from faceseal.wire import decode_base64url, encode_base64url

PASSPHRASE = "correct horse"


@pytest.fixture
def path(tmp_path):
    return tmp_path / "photos.keyring"


@pytest.fixture
def keyring(path):
    return LocalKeyring(path, PASSPHRASE)


def edit(path, change):
    """Rewrite the file through its JSON."""
    document = json.loads(path.read_text())
    change(document)
    path.write_text(json.dumps(document))


def test_a_created_key_is_released_by_another_process_with_the_passphrase(keyring, path):
    key = keyring.create()
    assert LocalKeyring(path, PASSPHRASE).release(key.key_id) == key


def test_two_keys_differ(keyring):
    first, second = keyring.create(), keyring.create()
    assert first.key_id != second.key_id
    assert first.secret != second.secret


def test_the_file_is_for_its_owner_alone_and_holds_no_secret_in_the_clear(keyring, path):
    key = keyring.create()
    keyring.bind(key.key_id, bytes(32))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    text = path.read_text()
    assert str(key.key_id) in text
    for encoded in (encode_base64url(key.secret), key.secret.hex(), PASSPHRASE):
        assert encoded not in text


def test_a_wrong_passphrase_is_told_as_such(keyring, path):
    key = keyring.create()
    stranger = LocalKeyring(path, "wrong horse")
    for attempt in (
        stranger.create,
        stranger.list_keys,
        lambda: stranger.release(key.key_id),
        lambda: stranger.remove(key.key_id),
        lambda: stranger.bind(key.key_id, bytes(32)),
    ):
        with pytest.raises(KeyringError, match=f"wrong passphrase for {path}"):
            attempt()


def test_the_same_passphrase_typed_on_another_keyboard_opens_the_file(path):
    key = LocalKeyring(path, "caf\u00e9").create()
    assert LocalKeyring(path, "cafe\u0301").release(key.key_id) == key


def test_an_empty_passphrase_is_refused(path):
    with pytest.raises(KeyringError, match="not empty"):
        LocalKeyring(path, "")


def test_only_create_makes_a_file(keyring, path):
    for attempt in (
        keyring.list_keys,
        lambda: keyring.release(uuid4()),
        lambda: keyring.remove(uuid4()),
        lambda: keyring.bind(uuid4(), bytes(32)),
    ):
        with pytest.raises(KeyringError, match="there is no keyring"):
            attempt()
    assert not path.exists()


def test_a_missing_folder_is_not_made(tmp_path):
    with pytest.raises(KeyringError, match="no folder"):
        LocalKeyring(tmp_path / "missing" / "keyring", PASSPHRASE).create()
    assert not (tmp_path / "missing").exists()


def test_a_folder_in_the_files_place_is_an_error(tmp_path):
    with pytest.raises(KeyringError, match="cannot read"):
        LocalKeyring(tmp_path, PASSPHRASE).create()


def test_a_key_is_bound_to_one_photo_and_stays_releasable(keyring):
    key = keyring.create()
    keyring.bind(key.key_id, bytes([7]) * 32)
    keyring.bind(key.key_id, bytes([7]) * 32)
    with pytest.raises(KeyringError, match="another photo"):
        keyring.bind(key.key_id, bytes([8]) * 32)
    assert keyring.release(key.key_id) == key
    assert [entry.sealed_digest for entry in keyring.list_keys()] == [bytes([7]) * 32]


def test_a_grant_is_refused_rather_than_ignored(keyring):
    key = keyring.create()
    with pytest.raises(KeyringError, match="no grants"):
        keyring.release(key.key_id, "any grant")


def test_a_removed_key_is_gone_and_the_others_stay(keyring):
    kept, removed = keyring.create(), keyring.create()
    keyring.remove(removed.key_id)
    assert keyring.release(kept.key_id) == kept
    with pytest.raises(UnknownKey):
        keyring.release(removed.key_id)
    with pytest.raises(UnknownKey):
        keyring.remove(removed.key_id)


def test_an_unknown_key_is_told_by_its_id(keyring):
    keyring.create()
    stranger = UUID(int=5)
    with pytest.raises(UnknownKey, match=str(stranger)):
        keyring.release(stranger)


def test_keys_are_listed_oldest_first_with_the_time_they_were_made(keyring):
    before = int(time.time())
    keys = [keyring.create().key_id for _ in range(3)]
    entries = keyring.list_keys()
    assert [entry.id for entry in entries] == keys
    assert all(before <= entry.created_at <= time.time() for entry in entries)


@pytest.mark.parametrize(
    "damage",
    [
        lambda d: d.update(format="faceseal-keyring/2"),
        lambda d: d.update(extra=1),
        lambda d: d.pop("check"),
        lambda d: d["keys"].append(d["keys"][0]),
        lambda d: d["keys"][0].update(id="nobody"),
        lambda d: d["keys"][0].update(id=d["keys"][0]["id"].upper().replace("-", "")),
        lambda d: d["keys"][0].update(sealed="AAAA"),
        lambda d: d["keys"][0].update(sealed=d["keys"][0]["sealed"] + "="),
        lambda d: d["keys"][0].update(created_at="1"),
        lambda d: d["keys"][0].update(created_at=-1),
        lambda d: d["argon2id"].update(memory_kib=1 << 31),
        lambda d: d["argon2id"].update(memory_kib=8),
        lambda d: d["argon2id"].update(passes=10**9),
        lambda d: d["argon2id"].update(passes=1),
        lambda d: d["argon2id"].update(lanes=1000),
        lambda d: d["argon2id"].update(salt="AAAA"),
    ],
)
def test_a_malformed_or_hostile_file_is_refused_before_its_cost_is_paid(keyring, path, damage):
    key = keyring.create()
    edit(path, damage)
    started = time.process_time()
    with pytest.raises(KeyringError, match="not a keyring, or is damaged"):
        keyring.release(key.key_id)
    assert time.process_time() - started < 0.2


@pytest.mark.parametrize(
    "text", ["", "null", "{}", "[" * 100_000, '{"format":"faceseal-keyring/1","format":"faceseal-keyring/1"}', "\x00"]
)
def test_a_file_that_is_something_else_is_refused_and_left_alone(keyring, path, text):
    path.write_text(text)
    with pytest.raises(KeyringError, match="not a keyring"):
        keyring.create()
    assert path.read_text() == text


def test_a_member_named_twice_is_refused(keyring, path):
    keyring.create()
    path.write_text(path.read_text().replace('"keys"', '"keys":[],"keys"'))
    with pytest.raises(KeyringError, match="not a keyring"):
        keyring.list_keys()


def test_a_huge_file_is_refused(keyring, path):
    with path.open("wb") as file:
        file.truncate(1 << 30)
    with pytest.raises(KeyringError, match="not a keyring"):
        keyring.list_keys()


def test_an_entry_cannot_be_altered_or_moved_to_another_key_or_photo(keyring, path):
    first, second = keyring.create(), keyring.create()
    original = path.read_text()

    def flip(document):
        sealed = bytearray(decode_base64url(document["keys"][0]["sealed"]))
        sealed[20] ^= 1
        document["keys"][0]["sealed"] = encode_base64url(bytes(sealed))

    def swap(document):
        one, other = document["keys"]
        one["sealed"], other["sealed"] = other["sealed"], one["sealed"]

    def rebind(document):
        document["keys"][0]["sealed_digest"] = encode_base64url(bytes(32))

    for change in (flip, swap, rebind):
        path.write_text(original)
        edit(path, change)
        with pytest.raises(KeyringError, match="was altered"):
            keyring.release(first.key_id)
    path.write_text(original)
    assert keyring.release(second.key_id) == second


def test_a_link_to_the_keyring_stays_a_link(tmp_path, path):
    link = tmp_path / "link"
    link.symlink_to(path)
    key = LocalKeyring(link, PASSPHRASE).create()
    assert link.is_symlink()
    assert LocalKeyring(path, PASSPHRASE).release(key.key_id) == key


def test_a_failed_write_leaves_the_old_file_and_no_rubbish(keyring, path, monkeypatch):
    key = keyring.create()
    before = path.read_bytes()

    def fail(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(KeyringError, match="No space left"):
        keyring.create()
    monkeypatch.undo()
    assert path.read_bytes() == before
    assert {entry.name for entry in path.parent.iterdir()} <= {path.name, path.name + ".lock"}
    assert keyring.release(key.key_id) == key


WORKER = """
import sys
from faceseal.client import LocalKeyring
keyring = LocalKeyring(sys.argv[1], "correct horse")
for _ in range(int(sys.argv[2])):
    key = keyring.create()
    print(key.key_id, key.secret.hex(), flush=True)
"""


def test_processes_that_create_keys_at_once_lose_none(path):
    workers = [
        subprocess.Popen([sys.executable, "-c", WORKER, path, "8"], stdout=subprocess.PIPE, text=True) for _ in range(3)
    ]
    created = [line.split() for worker in workers for line in worker.communicate(timeout=50)[0].splitlines()]
    assert [worker.returncode for worker in workers] == [0, 0, 0]
    assert len(created) == 24
    keyring = LocalKeyring(path, PASSPHRASE)
    assert len(keyring.list_keys()) == 24
    for key_id, secret in created:
        assert keyring.release(UUID(key_id)).secret.hex() == secret


def test_the_repr_shows_the_path_and_not_the_passphrase(keyring, path):
    assert str(path) in repr(keyring)
    assert PASSPHRASE not in repr(keyring)
