"""Replacing a file so that at any moment, power cuts included, there is the old one or the new one, whole."""

from __future__ import annotations

import errno
import os
import tempfile
from contextlib import suppress
from pathlib import Path

PRIVATE = 0o600
_NOTHING_TO_SYNC = frozenset({errno.EINVAL, errno.ENOTSUP})


def replace_file(path: Path, content: bytes, mode: int = PRIVATE) -> None:
    """Write, sync, rename, sync the folder; when it returns, the content is on disk.  Raises OSError."""
    # Under a name that nobody can guess.
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            if mode != PRIVATE:
                os.fchmod(file.fileno(), mode)
            os.fsync(file.fileno())
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Let what was created or renamed in the folder outlive a power cut.  Raises OSError.

    Nothing happens where folders cannot be opened (Windows), or their file system has nothing to sync.
    """
    with suppress(PermissionError, IsADirectoryError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        except OSError as cause:
            if cause.errno not in _NOTHING_TO_SYNC:
                raise
        finally:
            os.close(descriptor)
