"""Whether a key server's log is still the one that was seen before: each receipt's checkpoint must continue it.

Rules:
1. a server that can prove it (it answers `known_size`) must, from its first receipt on;
2. what is remembered only grows, and only by what was proved to continue it;
3. an answer that is older than what another process has seen meanwhile is fine if it is proved to
   be a part of it;
4. a server of an older version proves nothing, and nothing of it is remembered but in this process:
   then only a log that has shrunk, or changed at one size, is noticed.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from faceseal import translog, wire
from faceseal.client.remembered import Remembered, Seen
from faceseal.errors import ClientKeyError, KeySourceError, RequestNotUnderstood, ServerUnavailable, TransparencyError

Proving = Callable[[int, int], list[bytes]]
"""Asks the server for a consistency proof from one size to another; raises KeySourceError."""


Answer = TypeVar("Answer", wire.Released, wire.GlassBroken)


class NothingKnown:
    """For clients that were not given the log's key: no receipt is checked, and nothing remembered."""

    def before(self) -> Seen | None:
        """Nothing."""
        return None

    def asking(self, ask: Callable[[int | None], Answer], seen: Seen | None) -> Answer:  # noqa: ARG002
        """The answer to a release."""
        return ask(None)

    def take(
        self, receipt: wire.Receipt, checkpoint: translog.Checkpoint, asked: Seen | None, proving: Proving
    ) -> None:
        """Nothing is kept."""


class Continuing:
    """What one client knows of one log; `folder` gives the user's own folder."""

    def __init__(self, key: translog.VerifierKey, folder: Callable[[], Path]) -> None:
        self._key = key
        self._folder = folder
        self._server_is_older = False
        self._in_this_process: translog.Checkpoint | None = None

    @property
    def _remembered(self) -> Remembered:
        return Remembered(self._key, self._folder())

    def before(self) -> Seen | None:
        """What is remembered; to be called before a release, so that what is wrong here costs no use."""
        self._remembered.prepare()
        return self._remembered.newest()

    def asking(self, ask: Callable[[int | None], Answer], seen: Seen | None) -> Answer:
        """The answer to a release that names the size which the client has seen (see `before`).

        A server of an older version refuses such a request as a whole, before anything happens, and is asked again
        without; but not if it has proved something before, and so must understand.
        """
        if seen is not None:
            return ask(seen.checkpoint.size)
        if not self._server_is_older:
            with suppress(RequestNotUnderstood):
                return ask(0)
        answer = ask(None)
        self._server_is_older = True
        return answer

    def take(
        self, receipt: wire.Receipt, checkpoint: translog.Checkpoint, asked: Seen | None, proving: Proving
    ) -> None:
        """Require that a receipt's checkpoint, which is signed, continues what is remembered, and remember it.

        asked: what `before` gave, and the receipt was asked to continue.  Raises TransparencyError, ServerUnavailable
        if the server does not answer with a proof that is needed, and ClientKeyError.
        """
        received = Seen(receipt.checkpoint, checkpoint)
        while True:
            kept = self._remembered.newest()
            if kept is None and receipt.consistency_proof is None:
                self._require_not_shrunk(checkpoint)
                return
            if kept is not None:
                given = receipt.consistency_proof if kept == asked else None
                self._require_one_log(kept, received, receipt, given, proving)
                if checkpoint.size <= kept.checkpoint.size:
                    return
            if self._remembered.replace(kept, received):
                return
            # Another process was faster.  What is remembered grows, so this ends.

    def _require_one_log(
        self, kept: Seen, received: Seen, receipt: wire.Receipt, given: list[bytes] | None, proving: Proving
    ) -> None:
        older, newer = sorted((kept.checkpoint, received.checkpoint), key=lambda one: one.size)
        try:
            if older.size == newer.size:
                proof: list[bytes] = []
            elif given is not None and older is kept.checkpoint:
                proof = given
            else:
                proof = proving(older.size, newer.size)
            translog.verify_consistency(older.size, newer.size, proof, older.root, newer.root)
        except ServerUnavailable:
            raise
        except (KeySourceError, TransparencyError):
            raise TransparencyError(
                f"the key server's audit log does not continue what was seen of it: remembered is {kept.checkpoint} "
                f"(in {self._remembered.path}), received was {received.checkpoint}; the key is not used.  "
                f"{self._evidence(kept, received, receipt)}; if its operator can explain it, remove what is remembered"
            ) from None

    def _evidence(self, kept: Seen, received: Seen, receipt: wire.Receipt) -> str:
        try:
            path = self._remembered.keep_evidence(kept, received.note, receipt)
        except ClientKeyError as failure:
            # Nothing may hide that the log is another one.
            return f"Tell whoever audits the server (the evidence could not be kept: {failure})"
        return f"Show {path} to whoever audits the server"

    def _require_not_shrunk(self, newer: translog.Checkpoint) -> None:
        older = self._in_this_process
        if older is not None and (newer.size < older.size or (newer.size == older.size and newer.root != older.root)):
            raise TransparencyError(
                f"the key server's audit log does not continue what was seen of it: first {older}, then {newer}"
            )
        self._in_this_process = newer
