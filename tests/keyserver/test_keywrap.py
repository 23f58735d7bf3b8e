"""Wrapping: what opens, and what must not."""

from __future__ import annotations

import os
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from keyserver import keywrap
from keyserver.errors import SetupError, WrapBroken
from keyserver.keywrap import SUITE, FileRoot, Kek
from keyserver.secretfile import create_secret, read_secret

KEY_ID = UUID("01890000-0000-7000-8000-000000000001")
IMAGE_KEY = bytes(range(32))
KEK = Kek(b"k" * 32, "default")


def root(key: bytes = b"r" * 32) -> FileRoot:
    return FileRoot(key, os.urandom)


def test_an_image_key_comes_back() -> None:
    assert KEK.unwrap(KEK.wrap(IMAGE_KEY, KEY_ID, SUITE, b"n" * 12), KEY_ID, SUITE) == IMAGE_KEY


def test_the_format_is_pinned() -> None:
    wrapped = KEK.wrap(IMAGE_KEY, KEY_ID, SUITE, b"n" * 12)
    assert wrapped.hex() == (
        "6e6e6e6e6e6e6e6e6e6e6e6e983ae5b315b183de442d014f8fa4a2db93fa"
        "cdaf04a438f325637955aed2073c248e798204bed7c5f486afb852c7371d"
    )


def test_no_two_wrappings_are_the_same() -> None:
    assert len({keywrap.wrap_image_key(KEK, IMAGE_KEY, KEY_ID, os.urandom) for _ in range(50)}) == 50


def test_every_altered_bit_is_noticed() -> None:
    wrapped = KEK.wrap(IMAGE_KEY, KEY_ID, SUITE, b"n" * 12)
    for bit in range(len(wrapped) * 8):
        altered = bytearray(wrapped)
        altered[bit // 8] ^= 1 << bit % 8
        with pytest.raises(WrapBroken):
            KEK.unwrap(bytes(altered), KEY_ID, SUITE)


@pytest.mark.parametrize("length", [0, 11, 12, 28, 59, 61, 1000])
def test_wrapped_bytes_of_another_length_do_not_open(length: int) -> None:
    wrapped = (KEK.wrap(IMAGE_KEY, KEY_ID, SUITE, b"n" * 12) + bytes(1000))[:length]
    with pytest.raises(WrapBroken):
        KEK.unwrap(wrapped, KEY_ID, SUITE)


@pytest.mark.parametrize(
    ("kek", "key_id", "suite"),
    [
        (Kek(b"k" * 32, "other"), KEY_ID, SUITE),
        (Kek(b"x" * 32, "default"), KEY_ID, SUITE),
        (KEK, uuid4(), SUITE),
        (KEK, KEY_ID, "A256GCM-SIV"),
    ],
    ids=["tenant", "kek", "key id", "suite"],
)
def test_an_image_key_opens_only_as_itself(kek: Kek, key_id: UUID, suite: str) -> None:
    wrapped = KEK.wrap(IMAGE_KEY, KEY_ID, SUITE, b"n" * 12)
    with pytest.raises(WrapBroken):
        kek.unwrap(wrapped, key_id, suite)


def test_an_image_key_does_not_depend_on_the_epoch_of_its_kek() -> None:
    same_kek = b"s" * 32
    first = root().wrap(same_kek, keywrap.kek_context("default", 1))
    second = root().wrap(same_kek, keywrap.kek_context("default", 2))
    wrapped = keywrap.open_kek(root(), first, "default", 1).wrap(IMAGE_KEY, KEY_ID, SUITE, b"n" * 12)
    assert keywrap.open_kek(root(), second, "default", 2).unwrap(wrapped, KEY_ID, SUITE) == IMAGE_KEY


@pytest.mark.parametrize(("tenant", "epoch"), [("other", 1), ("default", 2), ("", 1)])
def test_a_kek_opens_only_for_its_tenant_and_epoch(tenant: str, epoch: int) -> None:
    wrapped = keywrap.wrap_new_kek(root(), "default", 1, os.urandom)
    keywrap.open_kek(root(), wrapped, "default", 1)
    with pytest.raises(WrapBroken):
        keywrap.open_kek(root(), wrapped, tenant, epoch)


def test_another_root_does_not_open_a_kek() -> None:
    wrapped = keywrap.wrap_new_kek(root(), "default", 1, os.urandom)
    with pytest.raises(WrapBroken):
        keywrap.open_kek(root(b"x" * 32), wrapped, "default", 1)


def test_what_does_not_open_says_nothing_about_the_key() -> None:
    wrapped = KEK.wrap(IMAGE_KEY, KEY_ID, SUITE, b"n" * 12)
    with pytest.raises(WrapBroken) as failure:
        KEK.unwrap(wrapped, uuid4(), SUITE)
    assert str(failure.value) == "a wrapped key does not open"


def test_a_root_file_is_read_back(tmp_path: Path) -> None:
    create_secret(tmp_path / "root.key", b"r" * 32)
    assert (tmp_path / "root.key").stat().st_mode & 0o777 == 0o600
    wrapped = keywrap.wrap_new_kek(FileRoot.read(tmp_path / "root.key", os.urandom), "default", 1, os.urandom)
    keywrap.open_kek(root(), wrapped, "default", 1)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o602, 0o610, 0o601, 0o644, 0o666, 0o777])
def test_a_root_file_open_to_others_is_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "root.key"
    create_secret(path, b"r" * 32)
    path.chmod(mode)
    with pytest.raises(SetupError, match="chmod 600"):
        read_secret(path)


@pytest.mark.parametrize("length", [0, 31, 33, 64])
def test_a_root_file_of_another_length_is_refused(tmp_path: Path, length: int) -> None:
    path = tmp_path / "root.key"
    create_secret(path, b"r" * length)
    with pytest.raises(SetupError, match="exactly 32 bytes"):
        read_secret(path)


def test_a_missing_root_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    for path in (tmp_path / "missing", tmp_path):
        with pytest.raises(SetupError, match="cannot read"):
            read_secret(path)


def test_a_secret_is_never_written_over_another(tmp_path: Path) -> None:
    create_secret(tmp_path / "root.key", b"r" * 32)
    with pytest.raises(SetupError, match="cannot create"):
        create_secret(tmp_path / "root.key", b"x" * 32)
    assert read_secret(tmp_path / "root.key") == b"r" * 32


def test_neither_root_nor_kek_shows_its_key() -> None:
    assert "rrrr" not in repr(root())
    assert "kkkk" not in repr(KEK)
