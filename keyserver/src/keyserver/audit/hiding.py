"""Sealing what entries say of people, with content keys that are kept for a moment.

To seal a content key to somebody takes as long as writing ten entries.  So a process uses one
for a minute, for whatever it writes of that person.  It names the person's key, which entries
are sealed to only while that person is there: an erasure makes no difference to it, but that a
replica's memory holds, until its first look at the log after that minute, what opens the
entries that it wrote last.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence

from keyserver.audit.entry import Entry, Hidden
from keyserver.audit.personal import ContentKey, Subject, new_content_key, seal_fields

SECONDS = 60.0
CAPACITY = 4096
_Said = tuple[object, ...]


class ContentKeys:
    """At most `capacity` content keys of a process, none used for longer than `seconds`; the oldest make room."""

    def __init__(self, clock: Callable[[], float], seconds: float = SECONDS, capacity: int = CAPACITY) -> None:
        """`clock` is in seconds and never goes back."""
        self._clock = clock
        self._seconds = seconds
        self._capacity = capacity
        self._lock = threading.Lock()
        # In the order of their making, which is that of their expiry.
        self._kept: dict[tuple[str, Subject], tuple[float, ContentKey]] = {}

    def of(self, tenant: str, subject: Subject) -> ContentKey:
        """The one to seal with now."""
        now = self._clock()
        with self._lock:
            self._forget(now, self._capacity - 1)
            kept = self._kept.get((tenant, subject))
        if kept is not None:
            return kept[1]
        # Two threads may make one each: both are good.
        made = new_content_key(tenant, subject)
        with self._lock:
            self._kept.pop((tenant, subject), None)
            self._kept[tenant, subject] = (now + self._seconds, made)
        return made

    def forget(self) -> None:
        """Drop those whose time is over; to be called now and then: who writes nothing more asks for none."""
        now = self._clock()
        with self._lock:
            self._forget(now, self._capacity)

    def _forget(self, now: float, most: int) -> None:
        while self._kept:
            oldest = next(iter(self._kept))
            if self._kept[oldest][0] > now and len(self._kept) <= most:
                return
            del self._kept[oldest]


_CONTENT_KEYS = ContentKeys(time.monotonic)


def forget_content_keys() -> None:
    """Drop those of this process that are older than a minute.  See `ContentKeys.forget`."""
    _CONTENT_KEYS.forget()


def hide(
    entries: Sequence[Entry], people: Mapping[tuple[str, str], Subject], content_keys: ContentKeys = _CONTENT_KEYS
) -> list[Hidden | None]:
    """Seals what the entries say of people, once for all that say the same; None where nothing is personal."""
    known: dict[_Said, Hidden] = {}
    return [_hidden(entry, people, content_keys, known) for entry in entries]


def _hidden(
    entry: Entry,
    people: Mapping[tuple[str, str], Subject],
    content_keys: ContentKeys,
    known: dict[_Said, Hidden],
) -> Hidden | None:
    person = entry.person
    if person is None:
        return None
    said = (
        *(person, entry.token_id, entry.jkt, entry.purpose, entry.reference, entry.action, entry.outcome, entry.at),
        *(entry.grant_id, None if entry.labels is None else tuple(entry.labels.items())),
    )
    if said not in known:
        subject = people[person]
        content_key, binding = content_keys.of(person[0], subject), entry.binding(subject.id)
        known[said] = Hidden(subject.id, seal_fields(entry.personal(), content_key, binding))
    return known[said]
