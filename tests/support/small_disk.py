"""A disk that can be filled: a file system of a few MiB in memory, where this process may mount one."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path


@cache
def may_mount() -> bool:
    """Whether `small_disk` works here."""
    if os.geteuid() != 0 or shutil.which("mount") is None:
        return False
    with tempfile.TemporaryDirectory() as folder:
        return _mounted(Path(folder), 1) and _unmounted(Path(folder))


@contextmanager
def small_disk(folder: Path, mebibytes: int) -> Iterator[Path]:
    """The folder, which is a disk of its own within the block."""
    assert _mounted(folder, mebibytes)
    try:
        yield folder
    finally:
        assert _unmounted(folder)


@contextmanager
def full(folder: Path) -> Iterator[None]:
    """Not a byte is free on the folder's disk within the block."""
    ballast = folder / "ballast"
    with ballast.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError as cause:
            if cause.errno != errno.ENOSPC:
                raise
    try:
        yield
    finally:
        ballast.unlink()


def _mounted(folder: Path, mebibytes: int) -> bool:
    command = ["mount", "-t", "tmpfs", "-o", f"size={mebibytes}m", "tmpfs", str(folder)]
    return subprocess.run(command, check=False, capture_output=True).returncode == 0


def _unmounted(folder: Path) -> bool:
    # Lazily: a connection that is about to close may still hold a file.
    return subprocess.run(["umount", "-l", str(folder)], check=False, capture_output=True).returncode == 0
