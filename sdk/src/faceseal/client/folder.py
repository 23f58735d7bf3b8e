"""The user's own folder, and making what is written to folders durable."""

from __future__ import annotations

import os
import tempfile
from contextlib import suppress
from pathlib import Path

from faceseal.errors import ClientKeyError

FOLDER_VARIABLE = "FACESEAL_HOME"


def own_folder() -> Path:
    """The folder that FACESEAL_HOME names, else ``.faceseal`` in the user's home.  Raises ClientKeyError."""
    named = os.environ.get(FOLDER_VARIABLE)
    try:
        return Path(named) if named else Path.home() / ".faceseal"
    except RuntimeError:
        raise ClientKeyError(f"there is no home for the client's key; set {FOLDER_VARIABLE} to a folder") from None


def make_private(folder: Path, purpose: str) -> None:
    """Make the folder (mode 0700) if it is not there; `purpose` says what it is for.

    Raises ClientKeyError if that fails, or if others can write there.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        # Whoever can write here can put something of their own in the place of ours.
        if os.name == "posix" and folder.stat().st_mode & 0o022:
            raise ClientKeyError(f"{folder} can be written to by others than its owner; run: chmod go-w {folder}")
    except OSError as cause:
        raise ClientKeyError(
            f"cannot use {folder} for {purpose}: {cause.strerror}; set {FOLDER_VARIABLE} to another folder"
        ) from None


def replace_file(path: Path, data: bytes) -> None:
    """Write a file of mode 0600 that appears whole or not at all, and lasts.  Raises OSError."""
    # Under a name that nobody can guess.
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make a new name, or a renamed one, last through a crash, where folders can be synchronized (not on Windows)."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
