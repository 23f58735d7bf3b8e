"""Whether a checkpoint is cosigned: the steps of https://c2sp.org/tlog-witness, in their order.

1. the request can be read, and the log is one that the witness was given: else 400, 404;
2. the checkpoint is signed by a key of this log: else 403;
3. the old size is not above the checkpoint's: else 400;
4. it is the size of the newest checkpoint that was cosigned: else 409, with that size;
5. at the same size the roots are equal, else 409; and the proof holds, else 422;
6. the new checkpoint is on disk;
7. only then is it cosigned, and the cosignature leaves.

Steps 4 to 7 of one log run one at a time, in one process (`memory.only_one`).
"""

from __future__ import annotations

import hmac
import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from faceseal.cosignature import cosign, text_of
from faceseal.errors import TransparencyError
from faceseal.translog import EMPTY_ROOT, Checkpoint, VerifierKey, open_checkpoint, verify_consistency
from keyserver.errors import SetupError
from keyserver.rates import Rate
from keyserver.witness import memory
from keyserver.witness.memory import Identity
from keyserver.witness.submission import SIZE_MEDIA_TYPE, Malformed, Submission

PLAIN = "text/plain; charset=utf-8"
PER_LOG = Rate(4)
"""Checkpoints of one log that are written to disk in a second; ten times as many at once."""
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Answer:
    """An HTTP answer: status, media type and body."""

    status: int
    body: str
    media_type: str = PLAIN


class Witness:
    """One witness for some logs."""

    def __init__(
        self,
        folder: Path,
        identity: Identity,
        keys: Sequence[VerifierKey],
        clock: Callable[[], float],
        ticks: Callable[[], float],
    ) -> None:
        """keys: of the logs; a log (origin) may have several.  clock: seconds since 1970; ticks: never goes back.

        Raises SetupError if what was remembered of a log cannot be read with its keys.
        """
        self._folder = folder
        self._identity = identity
        self._clock = clock
        origins = {key.name for key in keys}
        self._logs: Mapping[str, _Log] = {
            origin: _Log([key for key in keys if key.name == origin], _Pace(PER_LOG, ticks)) for origin in origins
        }
        for origin, known in self._logs.items():
            try:
                self._newest(origin, known)
            except (OSError, UnicodeDecodeError, TransparencyError):
                raise SetupError(
                    f"what was cosigned of {origin} cannot be read with the keys that were given"
                ) from None

    def add_checkpoint(self, body: bytes) -> Answer:
        """The answer to a request.  Raises OSError if nothing could be written; then nothing was cosigned."""
        try:
            submission = Submission.parse(body)
            text = text_of(submission.note)
        except (Malformed, TransparencyError) as cause:
            return Answer(400, f"{cause}\n")
        origin = text.partition("\n")[0]
        known = self._logs.get(origin)
        if known is None:
            return Answer(404, "this log is not known here\n")
        checkpoint = opened_by_any(submission.note, known.keys)
        if checkpoint is None or checkpoint.origin != origin:
            return Answer(403, "the checkpoint is not signed by a known key of its log\n")
        if submission.old_size > checkpoint.size:
            return Answer(400, "the old size is above the checkpoint's\n")
        with known.turn:
            return self._continued(known, checkpoint, submission, text)

    def _continued(self, known: _Log, checkpoint: Checkpoint, submission: Submission, text: str) -> Answer:
        before = self._newest(checkpoint.origin, known)
        if submission.old_size != before.size:
            return Answer(409, f"{before.size}\n", SIZE_MEDIA_TYPE)
        if checkpoint.size == before.size and not hmac.compare_digest(checkpoint.root, before.root):
            _log.error("two trees of %d entries, both signed by %s: it is forked", before.size, checkpoint.origin)
            return Answer(409, f"{before.size}\n", SIZE_MEDIA_TYPE)
        try:
            verify_consistency(before.size, checkpoint.size, submission.proof, before.root, checkpoint.root)
        except TransparencyError as cause:
            _log.warning("not cosigned: %s, %d to %d: %s", checkpoint.origin, before.size, checkpoint.size, cause)
            return Answer(422, "the proof does not hold\n")
        if checkpoint.size > before.size:
            if not known.pace.admits():
                return Answer(429, "too many checkpoints of this log\n")
            memory.remember(self._folder, checkpoint.origin, submission.note)
        return Answer(200, cosign(text, self._identity.private, self._identity.name, int(self._clock())))

    def _newest(self, origin: str, known: _Log) -> Checkpoint:
        note = memory.newest(self._folder, origin)
        if note is None:
            return Checkpoint(origin, 0, EMPTY_ROOT)
        found = opened_by_any(note, known.keys)
        if found is None or found.origin != origin:
            raise TransparencyError("what was cosigned before is not this log's")
        return found


def opened_by_any(note: str, keys: Sequence[VerifierKey]) -> Checkpoint | None:
    """The checkpoint, if it is well formed and one of the keys has signed it."""
    for key in keys:
        try:
            return open_checkpoint(note, key)
        except TransparencyError:
            continue
    return None


class _Log:
    def __init__(self, keys: Sequence[VerifierKey], pace: _Pace) -> None:
        self.keys = keys
        self.pace = pace
        self.turn = threading.Lock()


class _Pace:
    """A token bucket in memory, for callers who hold a lock."""

    def __init__(self, rate: Rate, ticks: Callable[[], float]) -> None:
        self._rate = rate
        self._ticks = ticks
        self._left = float(rate.capacity)
        self._at = ticks()

    def admits(self) -> bool:
        now = self._ticks()
        self._left = min(self._rate.capacity, self._left + (now - self._at) * self._rate.per_second)
        self._at = now
        if self._left < 1:
            return False
        self._left -= 1
        return True
