"""The built-in issuer's keys on disk, beside each other in the data folder, each a file of mode 0600.

`issuer.key` signs.  A rotation leaves the key before it as ``issuer.<seconds since 1970>.key``,
named by when it stopped signing.  Deleting such a file ends what it signed at once.
"""

from __future__ import annotations

import fcntl
import logging
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from keyserver.errors import SetupError
from keyserver.secretfile import SECRET_BYTES, create_secret, read_secret
from keyserver.tokens.signingkeys import RetiredKey, SigningKeys, is_over, verification_key

_log = logging.getLogger(__name__)


class KeyFiles:
    """The keys, read again when the files have changed: a rotation needs no restart."""

    def __init__(self, path: Path) -> None:
        """`path` is that of the key that signs.  Raises SetupError."""
        self._path = path
        # Looked at before reading: a change while reading shows as one at the next call.
        self._seen = _state_of(path)
        self._keys = read_keys(path)

    def __call__(self) -> SigningKeys:
        """The present keys; those last read, if the files are not readable any more."""
        state = _state_of(self._path)
        if state != self._seen:
            self._seen = state
            try:
                self._keys = read_keys(self._path)
            except SetupError as cause:
                _log.error("the issuer's keys cannot be read again: %s", cause)
        return self._keys


def read_keys(path: Path) -> SigningKeys:
    """The key that signs, and those before it.  Raises SetupError."""
    private = _read_key(path)
    retired = [RetiredKey(verification_key(_read_key(old)), at) for old, at in _retired_files(path)]
    return SigningKeys(private, tuple(retired))


def rotate_keys(path: Path, now: int, random: bytes) -> SigningKeys:
    """Sign with a new key (`random`: 32 bytes) from now on; the one before verifies as long as its tokens live.

    Can be broken off at any moment: `path` always holds a key, and none that has signed is
    lost.  Files of keys whose tokens are all over are deleted.  Raises SetupError.
    """
    if len(random) != SECRET_BYTES:
        raise ValueError("a key is made of 32 bytes")
    fresh = path.with_suffix(".new")
    with _locked(path.parent) as folder:
        signed = read_keys(path)
        try:
            # Left behind by a rotation that was broken off, it has signed nothing yet.
            fresh.unlink(missing_ok=True)
            create_secret(fresh, random)
            os.link(path, _retired_path(path, now))
            fresh.replace(path)
            for old, retired_at in _retired_files(path):
                # A rotation that was broken off had noted another end for the key that went on signing.
                noted_before = retired_at != now and verification_key(_read_key(old)).kid == signed.kid
                if noted_before or is_over(retired_at, now):
                    old.unlink()
            os.fsync(folder)
        except FileExistsError:
            raise SetupError("the issuer's key was replaced within this second; try again") from None
        except OSError as cause:
            raise SetupError(f"cannot replace {path}: {cause.strerror}") from None
    return read_keys(path)


def _read_key(path: Path) -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(read_secret(path))


def _retired_path(path: Path, retired_at: int) -> Path:
    return path.with_suffix(f".{retired_at}{path.suffix}")


def _retired_files(path: Path) -> list[tuple[Path, int]]:
    """Files of keys before `path`, with when each stopped signing."""
    name = re.compile(rf"{re.escape(path.stem)}\.([0-9]{{1,12}}){re.escape(path.suffix)}")
    try:
        found = [(each, name.fullmatch(each.name)) for each in sorted(path.parent.iterdir())]
    except OSError as cause:
        raise SetupError(f"cannot read {path.parent}: {cause.strerror}") from None
    return [(each, int(match[1])) for each, match in found if match]


def _state_of(path: Path) -> tuple[int, ...]:
    """Differs once a key was added, replaced or deleted."""
    try:
        key, folder = path.stat(), path.parent.stat()
    except OSError:
        return ()
    return key.st_ino, key.st_mtime_ns, key.st_mode, folder.st_mtime_ns


@contextmanager
def _locked(folder: Path) -> Iterator[int]:
    """The folder's descriptor, while no other process rotates there."""
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as cause:
        raise SetupError(f"cannot open {folder}: {cause.strerror}") from None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield descriptor
    finally:
        os.close(descriptor)
