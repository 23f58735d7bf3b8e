"""What a witness remembers on disk: its key, and of each log the newest checkpoint that it has cosigned.

In the folder, mode 0700: `witness.key` (32 bytes, secret), `name`, `lock`, and in `logs/` one
file for each log, named by the digest of its origin, holding the signed note as it came.  A
folder that was put back from an older copy makes a witness that may cosign two histories: it
must get a new key instead.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from faceseal.cosignature import LONGEST_NOTE, WitnessKey, usable_name
from faceseal.durable import replace_file, sync_folder
from keyserver.errors import SetupError
from keyserver.secretfile import SECRET_BYTES, create_secret, read_secret

_MODE = 0o600
_UTF8 = 4
"""Bytes of a character, at most."""


@dataclass(frozen=True)
class Identity:
    """A witness's signing key and the name that it signs with."""

    private: Ed25519PrivateKey
    name: str

    @property
    def key(self) -> WitnessKey:
        """What others verify its cosignatures with."""
        return WitnessKey(self.name, self.private.public_key().public_bytes_raw())


def create(folder: Path, name: str) -> Identity:
    """Make a witness, durably; if there is one of this name already, that one.  Raises SetupError."""
    if not usable_name(name):
        raise SetupError("a witness's name has 1 to 100 printable characters, no space and no '+': witness.example/w1")
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if (folder / "witness.key").exists():
            found = open_identity(folder)
            if found.name != name:
                raise SetupError(f"{folder} holds the witness {found.name}")
            return found
        (folder / "logs").mkdir(mode=0o700, exist_ok=True)
        replace_file(folder / "name", name.encode(), _MODE)
        create_secret(folder / "witness.key", os.urandom(SECRET_BYTES))
        sync_folder(folder)
    except OSError as cause:
        raise SetupError(f"cannot make a witness in {folder}: {cause.strerror}") from None
    return open_identity(folder)


def open_identity(folder: Path) -> Identity:
    """The witness that was made in the folder.  Raises SetupError."""
    try:
        name = (folder / "name").read_text()
    except (OSError, UnicodeDecodeError):
        raise SetupError(f"there is no witness in {folder}; run: keyserver witness-init --data {folder}") from None
    if not usable_name(name) or not (folder / "logs").is_dir():
        # With the key and without what it has signed, it would begin again, and could sign another history.
        raise SetupError(f"the witness in {folder} has lost what it has signed; make a new one, with a new key")
    return Identity(Ed25519PrivateKey.from_private_bytes(read_secret(folder / "witness.key")), name)


@contextmanager
def only_one(folder: Path) -> Iterator[None]:
    """No second process works with the folder while the block runs.  Raises SetupError."""
    descriptor = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, _MODE)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise SetupError(f"another witness works with {folder}") from None
        yield
    finally:
        os.close(descriptor)


def newest(folder: Path, origin: str) -> str | None:
    """The newest checkpoint (signed note) of the log that was cosigned; None if none was.  Raises OSError."""
    try:
        with _file(folder, origin).open("rb") as file:
            return file.read(_UTF8 * LONGEST_NOTE).decode()
    except FileNotFoundError:
        return None


def remember(folder: Path, origin: str, note: str) -> None:
    """When it returns, this is the newest checkpoint, power cuts included.  Raises OSError."""
    replace_file(_file(folder, origin), note.encode(), _MODE)


def _file(folder: Path, origin: str) -> Path:
    return folder / "logs" / hashlib.sha256(origin.encode()).hexdigest()
