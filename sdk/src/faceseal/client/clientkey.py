"""This user's own client key: the file ``client.pem`` in the user's folder, made when it is first needed.

Grants that are requested from here are bound to it, so it is not to be lost, nor to be copied
to where somebody else could use it.
"""

from __future__ import annotations

import os
from pathlib import Path

from faceseal.client.dpop import DpopKey
from faceseal.errors import ClientKeyError

FOLDER_VARIABLE = "FACESEAL_HOME"
FILE_NAME = "client.pem"


def own_key() -> DpopKey:
    """The key in the folder that FACESEAL_HOME names, else in ``.faceseal`` in the user's home.

    Raises ClientKeyError as `load_or_make` does.
    """
    named = os.environ.get(FOLDER_VARIABLE)
    try:
        folder = Path(named) if named else Path.home() / ".faceseal"
    except RuntimeError:
        raise ClientKeyError(f"there is no home for the client's key; set {FOLDER_VARIABLE} to a folder") from None
    return load_or_make(folder)


def load_or_make(folder: Path) -> DpopKey:
    """The folder's key; folder (mode 0700) and key (0600) are made if they are not there.

    Of several processes that make it at once, all get the same.  Raises ClientKeyError if the
    folder cannot be made or can be written to by others, and for what `DpopKey` refuses.
    """
    path = folder / FILE_NAME
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        # Whoever can write here can put their own key in the place of ours, and have our grants bound to it.
        if os.name == "posix" and folder.stat().st_mode & 0o022:
            raise ClientKeyError(f"{folder} can be written to by others than its owner; run: chmod go-w {folder}")
    except OSError as cause:
        raise ClientKeyError(
            f"cannot use {folder} for the client's key: {cause.strerror}; set {FOLDER_VARIABLE} to another folder"
        ) from None
    if not path.exists():
        key = DpopKey.generate()
        try:
            key.save(path)
        except ClientKeyError:
            # Somebody else was faster, or it cannot be written.
            if not path.exists():
                raise
        else:
            return key
    return DpopKey.load(path)
