"""The newest checkpoint of a log that this user's clients have verified: a signed note in a file of its own.

It may be given to ``faceseal audit verify --since`` as it is.  The files are in the folder
``checkpoints`` of the user's own, 0600, and are replaced whole.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from faceseal import translog, wire
from faceseal.client.folder import make_private
from faceseal.durable import replace_file
from faceseal.errors import ClientKeyError, TransparencyError

LOCK_SECONDS = 30.0
"""Whoever holds the lock reads one small file and writes another."""
_LONGEST_NOTE = 16 * 1024


@dataclass(frozen=True)
class Seen:
    """A checkpoint, and the note that it was read from."""

    note: str
    checkpoint: translog.Checkpoint


class Remembered:
    """The file of one log, as its key names it."""

    def __init__(self, key: translog.VerifierKey, folder: Path) -> None:
        # Another log of the same name has another key, and another file.
        name = re.sub(r"[^A-Za-z0-9._-]", "_", key.name)[:60].lstrip(".")
        self._key = key
        self.path = folder / "checkpoints" / f"{name}-{hashlib.sha256(str(key).encode()).hexdigest()[:16]}.txt"

    def prepare(self) -> None:
        """To be called before anything is asked for that must be remembered.  Raises ClientKeyError."""
        make_private(self.path.parent, "the checkpoints of audit logs")

    def newest(self) -> Seen | None:
        """None if there is none.  Raises TransparencyError if the file was altered, ClientKeyError if it is closed."""
        try:
            with self.path.open("rb") as file:
                note = file.read(_LONGEST_NOTE).decode()
            return Seen(note, translog.open_checkpoint(note, self._key))
        except FileNotFoundError:
            return None
        except OSError as cause:
            raise ClientKeyError(f"cannot read {self.path}: {cause.strerror}") from None
        except (UnicodeDecodeError, TransparencyError):
            raise TransparencyError(
                f"{self.path} is not the checkpoint that was remembered there; put it back from a copy, "
                "or remove it to begin anew"
            ) from None

    def replace(self, expected: Seen | None, newer: Seen) -> bool:
        """Remember `newer` if `expected` is still what is remembered; whether that was so.  Raises as `newest`."""
        with self._locked():
            if self.newest() != expected:
                return False
            self._write(self.path, newer.note.encode())
            return True

    def keep_evidence(self, remembered: Seen, received: str, receipt: wire.Receipt) -> Path:
        """Write both notes and the receipt to a file beside, for whoever looks into it; the same ones but once."""
        evidence = {
            "remembered": remembered.note,
            "received": received,
            "receipt": json.loads(receipt.model_dump_json()),
        }
        data = json.dumps(evidence, indent=1, ensure_ascii=False).encode() + b"\n"
        path = self.path.with_suffix(f".conflict-{hashlib.sha256(data).hexdigest()[:16]}.json")
        self._write(path, data)
        return path

    def _write(self, path: Path, data: bytes) -> None:
        try:
            replace_file(path, data)
        except OSError as cause:
            raise ClientKeyError(f"cannot write {path}: {cause.strerror}") from None

    @contextmanager
    def _locked(self) -> Iterator[None]:
        lock = FileLock(f"{self.path}.lock", timeout=LOCK_SECONDS, mode=0o600)
        try:
            lock.acquire()
        except Timeout:
            raise ClientKeyError(f"another program has held {self.path} for {LOCK_SECONDS:g} seconds") from None
        except OSError as cause:
            raise ClientKeyError(f"cannot lock {self.path}: {cause.strerror}") from None
        try:
            yield
        finally:
            lock.release()
