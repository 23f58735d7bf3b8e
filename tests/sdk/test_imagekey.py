import hashlib
import hmac
import subprocess
import sys
from uuid import UUID

import pytest

from faceseal.imagekey import ImageKey

KEY_ID = UUID(int=7)
SECRET = bytes(range(32))


def test_neither_repr_nor_str_shows_the_secret():
    key = ImageKey(KEY_ID, SECRET)
    for text in (repr(key), str(key), f"{key}", f"{[key]}"):
        assert str(KEY_ID) in text
        assert repr(SECRET)[2:-1] not in text
        assert SECRET.hex() not in text


@pytest.mark.parametrize("secret", [b"", bytes(31), bytes(33), "x" * 32, bytearray(32)])
def test_a_secret_of_another_length_or_type_is_refused(secret):
    with pytest.raises(ValueError, match="exactly 32 bytes"):
        ImageKey(KEY_ID, secret)


def test_keys_are_equal_when_id_and_secret_are():
    key = ImageKey(KEY_ID, SECRET)
    assert key == ImageKey(KEY_ID, SECRET)
    assert hash(key) == hash(ImageKey(KEY_ID, SECRET))
    assert key != ImageKey(UUID(int=8), SECRET)
    assert key != ImageKey(KEY_ID, SECRET[:-1] + b"\x00")
    assert key != SECRET


def test_a_key_cannot_be_changed():
    with pytest.raises(AttributeError):
        ImageKey(KEY_ID, SECRET).secret = bytes(32)


def test_derive_is_hkdf_sha256():
    # RFC 5869 has no vector with 32 bytes of input, so this one is built from HMAC as its section 2 says.
    extracted = hmac.digest(b"salt", SECRET, hashlib.sha256)
    first = hmac.digest(extracted, b"use\x01", hashlib.sha256)
    second = hmac.digest(extracted, first + b"use\x02", hashlib.sha256)
    key = ImageKey(KEY_ID, SECRET)
    assert key.derive(b"use", salt=b"salt") == first
    assert key.derive(b"use", 44, b"salt") == (first + second)[:44]
    assert key.derive(b"use") != key.derive(b"another use")


@pytest.mark.parametrize("length", [0, 32 * 255 + 1])
def test_derive_refuses_a_length_that_hkdf_does_not_have(length):
    with pytest.raises(ValueError, match="can be derived"):
        ImageKey(KEY_ID, SECRET).derive(b"use", length)


def test_importing_the_image_key_loads_nothing_heavy():
    loaded = subprocess.run(
        [sys.executable, "-c", "import sys, faceseal.imagekey; print(*sys.modules)"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    assert "faceseal.imagekey" in loaded
    assert not {"torch", "numpy", "httpx", "pydantic"} & set(loaded)
