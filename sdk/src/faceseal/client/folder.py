"""The user's own folder."""

from __future__ import annotations

import os
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
