"""What sinks are offered: a checkpoint of the log, and answers to what they ask of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from keyserver import audit
from keyserver.errors import StoreUnavailable
from keyserver.service.ports import Ports
from keyserver.service.witnessed import log_keys

_Read = TypeVar("_Read")


class LogOffer:
    """See `Offer`: each question is a reading transaction of its own."""

    def __init__(self, ports: Ports, checkpoint: audit.LogHead) -> None:
        self.checkpoint = checkpoint
        self.note = ports.signer.sign(checkpoint)
        self.keys = log_keys(ports)
        self._ports = ports

    def root_of(self, size: int) -> bytes:
        """See `Offer`."""
        with self._ports.database.reading() as session:
            return _or_unavailable(lambda: audit.root_of(session, size))

    def proof_from(self, size: int) -> list[bytes]:
        """See `Offer`."""
        with self._ports.database.reading() as session:
            return _or_unavailable(lambda: audit.prove_consistency(session, size, self.checkpoint.size))


def _or_unavailable(read: Callable[[], _Read]) -> _Read:
    try:
        return read()
    except (KeyError, ValueError):
        raise StoreUnavailable("nodes of the audit log's tree are missing") from None
