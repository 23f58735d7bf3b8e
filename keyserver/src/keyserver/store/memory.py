"""What a replica remembers of the log outside of the database, and how appends tell it.

An append compares what it finds with what is remembered; what it leads to is remembered once its
transaction has committed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from sqlalchemy.orm import Session

from faceseal.translog import Checkpoint

_MEMORY = "log memory"
_APPENDED = "log appended"


class LogMemory(Protocol):
    """Its methods may be called by any thread, and never wait."""

    def remembered(self) -> Checkpoint | None:
        """The newest checkpoint that was committed."""
        ...

    def compare(self, known: Checkpoint, size: int, root_of: Callable[[int], bytes | None]) -> bool:
        """Whether a log of `size` entries continues one that was remembered; if not, that is remembered as well.

        root_of: of that log's first so many entries, of which there are enough; None if its nodes are missing.
        """
        ...

    def remember(self, checkpoint: Checkpoint) -> None:
        """A checkpoint that is committed."""
        ...


def begin(session: Session, memory: LogMemory | None) -> None:
    """Whose memory the appends of this transaction are compared with."""
    session.info[_MEMORY] = memory


def memory_of(session: Session) -> LogMemory | None:
    """See `begin`."""
    found: LogMemory | None = session.info.get(_MEMORY)
    return found


def appended(session: Session) -> Checkpoint | None:
    """The checkpoint that the transaction leads to, as far as it continues what is remembered."""
    found: Checkpoint | None = session.info.get(_APPENDED)
    return found


def set_appended(session: Session, checkpoint: Checkpoint | None) -> None:
    """See `appended`."""
    session.info[_APPENDED] = checkpoint
