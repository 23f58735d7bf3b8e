"""This user's own client key: the file ``client.pem`` in the user's folder, made when it is first needed.

Grants that are requested from here are bound to it, so it is not to be lost, nor to be copied
to where somebody else could use it.
"""

from __future__ import annotations

from pathlib import Path

from faceseal.client.dpop import DpopKey
from faceseal.client.folder import make_private, own_folder
from faceseal.errors import ClientKeyError

FILE_NAME = "client.pem"


def own_key() -> DpopKey:
    """The key in the folder that FACESEAL_HOME names, else in ``.faceseal`` in the user's home.

    Raises ClientKeyError as `load_or_make` does.
    """
    return load_or_make(own_folder())


def load_or_make(folder: Path) -> DpopKey:
    """The folder's key; folder (mode 0700) and key (0600) are made if they are not there.

    Of several processes that make it at once, all get the same.  Raises ClientKeyError if the
    folder cannot be made or can be written to by others, and for what `DpopKey` refuses.
    """
    path = folder / FILE_NAME
    make_private(folder, "the client's key")
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
