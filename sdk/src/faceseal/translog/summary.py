"""What the entries of a verified export say of themselves, in numbers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from faceseal.errors import TransparencyError
from faceseal.translog.canonical import canonical_object
from faceseal.translog.checkpoints import Checkpoint


@dataclass(frozen=True)
class Verified:
    """An export that was proved against its checkpoint, from entry `first` on.

    events: how many entries there are of each kind; earliest, latest: seconds since 1970, None if no entry has a
    time; since: the older checkpoint that it was proved to continue, if one was given.
    """

    checkpoint: Checkpoint
    first: int
    events: Mapping[str, int]
    earliest: int | None
    latest: int | None
    since: Checkpoint | None = None

    @property
    def size(self) -> int:
        """Entries of the log."""
        return self.checkpoint.size

    @property
    def origin(self) -> str:
        """The log's name."""
        return self.checkpoint.origin


class Account:
    """Takes the entries one after the other; checks that each is canonical JSON and calls itself what it is."""

    def __init__(self) -> None:
        self.events: Counter[str] = Counter()
        self.earliest: int | None = None
        self.latest: int | None = None

    def take(self, line: bytes, index: int) -> None:
        """Raises TransparencyError."""
        try:
            entry = canonical_object(line)
        except ValueError:
            raise TransparencyError(f"entry {index} is not canonical JSON") from None
        if (number := entry.get("index")) != index:
            raise TransparencyError(f"where entry {index} must be, the file has entry {number!r:.20}")
        event, at = entry.get("event"), entry.get("at")
        self.events[event if isinstance(event, str) else "(no event)"] += 1
        if isinstance(at, int):
            # Clocks of replicas differ: an entry may be older than the one before it.
            self.earliest = at if self.earliest is None or at < self.earliest else self.earliest
            self.latest = at if self.latest is None or at > self.latest else self.latest
