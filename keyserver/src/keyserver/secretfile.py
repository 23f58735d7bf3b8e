"""Files that hold one secret, 32 bytes or a line of text, readable by their owner alone."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from keyserver.errors import SetupError

SECRET_BYTES = 32
MAX_PASSWORD_BYTES = 1024


def create_secret(path: Path, secret: bytes) -> None:
    """Write a new file with mode 0600, durably.  Raises SetupError if one is there."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as cause:
        raise SetupError(f"cannot create {path}: {cause.strerror}") from None
    with os.fdopen(descriptor, "wb") as file:
        file.write(secret)
        file.flush()
        os.fsync(file.fileno())


def read_secret(path: Path) -> bytes:
    """The 32 bytes of the file.

    Raises SetupError if it is missing, readable by others than its owner, or of another length.
    """
    secret = _read_private(path, SECRET_BYTES)
    if len(secret) != SECRET_BYTES:
        raise SetupError(f"{path} does not hold exactly {SECRET_BYTES} bytes; restore it from its backup")
    return secret


def read_password(path: Path) -> str:
    """The file's one line of printable ASCII, such as a PIN or another server's token.

    Raises SetupError if it is missing, readable by others than its owner, or holds something else.
    """
    content = _read_private(path, MAX_PASSWORD_BYTES)
    line = content.removesuffix(b"\n")
    if not line or len(content) > MAX_PASSWORD_BYTES or not all(0x20 < byte < 0x7F for byte in line):
        raise SetupError(f"{path} does not hold one line of printable characters without spaces")
    return line.decode("ascii")


def _read_private(path: Path, limit: int) -> bytes:
    """At most one byte more than `limit`."""
    try:
        with path.open("rb") as file:
            # The mode of the open file, not of the path: nobody can swap it in between.
            mode = os.fstat(file.fileno()).st_mode
            secret = file.read(limit + 1)
    except OSError as cause:
        raise SetupError(f"cannot read {path}: {cause.strerror}") from None
    if not stat.S_ISREG(mode):
        raise SetupError(f"{path} is not a regular file")
    if mode & 0o077:
        raise SetupError(f"{path} is open to others than its owner; run: chmod 600 {path}")
    return secret
