"""What all sinks have in common, and what they can answer."""

from __future__ import annotations

import hmac
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from faceseal.cosignature import Cosignature
from faceseal.errors import TransparencyError
from faceseal.translog import Checkpoint, VerifierKey, open_checkpoint


class Offer(Protocol):
    """A checkpoint of the log as it is committed, and the log behind it.  Its methods raise StoreUnavailable."""

    note: str
    """The checkpoint, signed by the log."""
    keys: Sequence[VerifierKey]
    """Of the log: what one of them has signed is the log's own word."""

    @property
    def checkpoint(self) -> Checkpoint:
        """Unsigned."""
        ...

    def root_of(self, size: int) -> bytes:
        """Root of the first `size` entries, which there are."""
        ...

    def proof_from(self, size: int) -> list[bytes]:
        """Proof that the checkpoint continues the tree of the first `size` entries (RFC 6962, 2.1.2)."""
        ...


class Sink(Protocol):
    """Keeps the newest checkpoint that it was given.  Called by one thread at a time."""

    name: str
    """Where it is, without secrets; unique."""
    keeps_notes: bool
    """Whether it can be read, so that a checkpoint in it is the log's own word, and comes first."""

    def push(self, offer: Offer) -> Sequence[Cosignature]:
        """When it returns, the sink holds the checkpoint, durably, and what it held before is a prefix of it.

        Returns the cosignatures that came back.  Raises SinkAhead, SinkForked, SinkFailed, and
        what the offer raises.
        """
        ...


@runtime_checkable
class NoteSink(Sink, Protocol):
    """One that keeps notes."""

    def held(self) -> bytes | None:
        """What lies in it, whatever that is; None if nothing does.  Raises SinkFailed."""
        ...


class SinkFailed(Exception):
    """Nothing was learnt: the sink was not reached, or says nothing that counts.  The message has no secret."""


class SinkSpoiled(SinkFailed):
    """Something else lies in the sink than a checkpoint of this log.  It is left there."""


class SinkAhead(Exception):
    """The sink holds a checkpoint of more entries than the offer; it may be another replica's that is newer."""

    def __init__(self, size: int) -> None:
        super().__init__(f"it holds a checkpoint of {size} entries")
        self.size = size


class SinkForked(Exception):
    """The sink holds a checkpoint that the log does not continue: one of the two was rewritten."""

    def __init__(self, size: int) -> None:
        super().__init__(f"its checkpoint of {size} entries is of another tree")
        self.size = size


@dataclass(frozen=True)
class Held:
    """What a sink that keeps signed notes holds."""

    checkpoint: Checkpoint
    note: str


def read_held(content: bytes, offer: Offer) -> Held:
    """What lies in a sink.  Raises SinkSpoiled unless it is a checkpoint that this log has signed.

    Nothing else is ever overwritten: it may be all that is left of another log.
    """
    return signed_by_one(content, offer.keys, offer.checkpoint.origin)


def signed_by_one(content: bytes, keys: Sequence[VerifierKey], origin: str) -> Held:
    """What lies in a sink.  Raises SinkSpoiled unless it is a checkpoint of this origin, signed by one of the keys."""
    try:
        note = content.decode()
    except UnicodeDecodeError:
        note = ""
    for key in keys:
        try:
            found = open_checkpoint(note, key)
        except TransparencyError:
            continue
        if found.origin == origin:
            return Held(found, note)
    raise SinkSpoiled("what lies there is not a checkpoint signed by this log's key")


def require_continued(held: Checkpoint, offer: Offer) -> None:
    """Goes on if the offer continues what is held.  Raises SinkAhead, SinkForked."""
    if held.size > offer.checkpoint.size:
        raise SinkAhead(held.size)
    if not hmac.compare_digest(offer.root_of(held.size), held.root):
        raise SinkForked(held.size)
