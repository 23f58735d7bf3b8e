"""A checkpoint in a file, on a disk that whoever puts the database back does not put back with it."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from faceseal.cosignature import LONGEST_NOTE, Cosignature
from faceseal.durable import replace_file
from keyserver.sinks.sink import Offer, SinkFailed, read_held, require_continued

_MODE = 0o644
_PAUSE = 0.02
_MOST_BYTES = 4 * LONGEST_NOTE


class FileSink:
    """Replaced as a whole, one replica at a time, and never by an older checkpoint."""

    keeps_notes = True

    def __init__(self, path: Path, patience: float = 2.0) -> None:
        """patience: seconds to wait for other replicas' turns."""
        self._patience = patience
        self.name = f"file://{path}"
        self._path = path

    def push(self, offer: Offer) -> Sequence[Cosignature]:
        """See `Sink`."""
        try:
            with self._locked():
                self._push(offer)
        except OSError as cause:
            raise SinkFailed(f"the file cannot be used ({type(cause).__name__})") from None
        return ()

    def held(self) -> bytes | None:
        """See `NoteSink`.  Not locked: the file is only ever replaced as a whole."""
        try:
            return self._read()
        except OSError as cause:
            raise SinkFailed(f"the file cannot be used ({type(cause).__name__})") from None

    def _read(self) -> bytes | None:
        try:
            with self._path.open("rb") as file:
                return file.read(_MOST_BYTES)
        except FileNotFoundError:
            return None

    def _push(self, offer: Offer) -> None:
        content = self._read()
        if content is not None:
            held = read_held(content, offer)
            require_continued(held.checkpoint, offer)
            if held.checkpoint.size == offer.checkpoint.size:
                return
        replace_file(self._path, offer.note.encode(), _MODE)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Raises SinkFailed if other replicas are at it all the time."""
        descriptor = os.open(self._path.with_name(f".{self._path.name}.lock"), os.O_RDWR | os.O_CREAT, 0o600)
        try:
            self._lock(descriptor)
            yield
        finally:
            os.close(descriptor)

    def _lock(self, descriptor: int) -> None:
        until = time.monotonic() + self._patience
        while True:
            try:
                return fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                # Not waited for in the kernel, which would wait for ever.
                if time.monotonic() >= until:
                    raise SinkFailed("another replica is writing it all the time") from None
                time.sleep(_PAUSE)
