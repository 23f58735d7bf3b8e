"""Pushing the log's checkpoints to the sinks, in the background, and learning from what they answer.

Every few seconds one thread looks at the log; each sink is pushed to by a thread of its own,
so that one that hangs holds up neither the others nor a release.

1. the log as it is must continue what this replica has seen of it;
2. a sink that has something newer: the log is read again, for another replica may have pushed;
   if it is still shorter, it is behind;
3. a sink that has another tree: it was rewritten;
4. 1 to 3 stop releases (`LogTrust`) until the same comparison ends well; meanwhile only the
   sinks that doubt are asked, so that none takes what is in doubt;
5. a sink that fails is asked again, later each time, and stops nothing;
6. witnesses are all offered one checkpoint until it has its quorum (see `candidate`).
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial

from sqlalchemy.orm import Session

from faceseal.cosignature import Cosignature
from faceseal.translog import Checkpoint
from keyserver import audit, metrics
from keyserver.errors import SetupError, StoreUnavailable
from keyserver.service import logcheck
from keyserver.service.candidate import Candidate
from keyserver.service.gathering import Gathering
from keyserver.service.logtrust import MEMORY
from keyserver.service.offer import LogOffer
from keyserver.service.ports import Ports
from keyserver.service.witnessed import Uncovered, log_keys, newest_witnessed, unwitnessed_since
from keyserver.sinks.channel import Channel
from keyserver.sinks.sink import Sink, SinkAhead, SinkFailed, SinkForked, SinkSpoiled

BEGIN_SECONDS = 15.0
"""How long a start waits for the sinks."""
LAST_PUSH_SECONDS = 5.0
"""How long a replica that stops still pushes."""
_TRIES = 3
_log = logging.getLogger(__name__)


class Publisher:
    """Of one replica."""

    def __init__(
        self, ports: Ports, sinks: Sequence[Sink], seconds: float, ticks: Callable[[], float] = time.monotonic
    ) -> None:
        """seconds: between two looks at the log.  ticks: in seconds, never goes back."""
        self._ports = ports
        self._seconds = seconds
        self._ticks = ticks
        self._channels = [Channel(sink) for sink in sinks]
        self._gathering = Gathering(ports.database, ports.trust.witnessing)
        self._candidate = Candidate()
        self._witnessed = 0
        self._uncovered = Uncovered()
        self._looking = threading.Lock()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="publisher", daemon=True)

    def begin(self) -> None:
        """Compare the log with every sink that answers, and push to it; sinks that can be read come first.

        Raises SetupError if one of them holds what the log does not continue; StoreUnavailable.
        """
        for keeps_notes in (True, False):
            group = [each for each in self._channels if each.sink.keeps_notes is keeps_notes]
            self._push_to(group, self._look())
            self.wait(BEGIN_SECONDS, group)
            wrong = {**self._ports.trust.doubts(), **{each.sink.name: each.spoiled for each in group if each.spoiled}}
            if wrong:
                raise SetupError("; ".join(f"{source}: {why}" for source, why in wrong.items()))
        # Once more, for what the witnesses have cosigned by now.
        self._look()

    def start(self) -> None:
        """Go on in the background until `stop`."""
        self._thread.start()

    def stop(self, patience: float) -> None:
        """Push a last time, for so many seconds at most."""
        self._stopping.set()
        until = self._ticks() + patience
        if self._thread.is_alive():
            self._thread.join(patience)
        try:
            self.round(last=True)
        except StoreUnavailable:
            return
        self.wait(max(0.0, until - self._ticks()))

    def round(self, last: bool = False) -> None:
        """Look at the log, and begin to push to every sink whose turn it is.  Raises StoreUnavailable."""
        audit.forget_content_keys()
        self._push_to(self._channels, self._look(), last)

    def _push_to(self, channels: Sequence[Channel], checkpoint: audit.LogHead | None, last: bool = False) -> None:
        doubts, now = self._ports.trust.doubts(), self._ticks()
        if checkpoint is None:
            return
        asking = any(each.is_asking for each in self._channels if not each.sink.keeps_notes)
        # What is in doubt is compared as it is now, and the end has no time for what is not the newest.
        candidate = self._candidate.chosen(checkpoint, self._witnessed, hold=asking and not doubts and not last)
        for channel in channels:
            offered = checkpoint if channel.sink.keeps_notes else candidate
            wanted = channel.sink.name in doubts if doubts else channel.is_stale(offered.size, now)
            if (wanted and channel.is_due(now)) or (last and not doubts and channel.lacks(offered.size)):
                channel.begin(partial(self._push, channel, offered))

    def wait(self, seconds: float, channels: Sequence[Channel] | None = None) -> None:
        """Until what was begun has ended, or the time is over."""
        until = self._ticks() + seconds
        for channel in self._channels if channels is None else channels:
            channel.join(max(0.0, until - self._ticks()))

    def _run(self) -> None:
        while not self._stopping.wait(self._seconds):
            try:
                self.round()
            except StoreUnavailable as failure:
                _log.warning("the log cannot be looked at: %s", failure)
            except Exception as failure:
                # Whatever it is, the next round must come: without it, nobody compares.
                _log.error("a round of pushing failed: %s", type(failure).__name__)

    def _look(self) -> audit.LogHead | None:
        """The log's checkpoint, compared with what this replica has seen; None if there is none to be had."""
        with self._looking:
            # First what is remembered: the log is read after that, so that a right one cannot be behind it.
            remembered = self._ports.trust.remembered()
            with self._ports.database.reading() as session:
                return self._compared(session, remembered)

    def _compared(self, session: Session, remembered: Checkpoint | None) -> audit.LogHead | None:
        ports, trust = self._ports, self._ports.trust
        now = ports.clock()
        try:
            checkpoint = audit.current_checkpoint(session)
            witnessed = newest_witnessed(session, log_keys(ports), trust.witnessing)
            for known in (remembered, witnessed.checkpoint if witnessed else None):
                if known is not None and not trust.compare(known, checkpoint.size, partial(audit.root_of, session)):
                    return checkpoint
            if trust.witnessing.unwitnessed_seconds is not None:
                since = unwitnessed_since(session, checkpoint.size, witnessed, now, self._uncovered)
                trust.witnessed_until(since + trust.witnessing.unwitnessed_seconds)
        except (KeyError, SetupError):
            trust.doubt(MEMORY, "the log, or nodes of its tree, are missing")
            return None
        self._witnessed = witnessed.checkpoint.size if witnessed else 0
        trust.remember(checkpoint)
        trust.settle(MEMORY)
        return checkpoint

    def _push(self, channel: Channel, checkpoint: audit.LogHead) -> None:
        name, trust = channel.sink.name, self._ports.trust
        try:
            pushed, cosigned = self._pushed(channel.sink, LogOffer(self._ports, checkpoint))
            # Kept before the sink counts as done: if it fails, the sink is asked again.
            kept = self._gathering.add(pushed.checkpoint, pushed.note, pushed.keys, cosigned)
        except (_Behind, SinkForked) as doubt:
            trust.doubt(name, logcheck.rewritten(doubt.size) if isinstance(doubt, SinkForked) else str(doubt))
            channel.answered(self._ticks())
        except Exception as failure:
            self._failed(channel, failure)
        else:
            trust.settle(name)
            if not channel.sink.keeps_notes:
                self._candidate.at_least(pushed.checkpoint)
            channel.took(pushed.checkpoint.size, self._ticks())
            metrics.set_pushed(name, pushed.checkpoint.size, self._ports.clock())
            if kept and trust.witnessing.unwitnessed_seconds is not None:
                # Each look comes before its own pushes: without this one, their fruit would count a round later.
                with suppress(StoreUnavailable):
                    self._look()

    def _pushed(self, sink: Sink, offer: LogOffer) -> tuple[LogOffer, Sequence[Cosignature]]:
        """Raises _Behind only if the log, read after the sink has answered, is shorter than what the sink holds."""
        for _ in range(_TRIES):
            try:
                return offer, sink.push(offer)
            except SinkAhead as ahead:
                with self._ports.database.reading() as session:
                    offer = LogOffer(self._ports, audit.current_checkpoint(session))
                if offer.checkpoint.size < ahead.size:
                    raise _Behind(logcheck.behind(ahead.size, offer.checkpoint.size)) from None
        raise SinkFailed("other replicas push faster")

    def _failed(self, channel: Channel, failure: Exception) -> None:
        channel.spoiled = str(failure) if isinstance(failure, SinkSpoiled) else ""
        channel.failed(self._ticks(), self._seconds)
        metrics.count_push_failure(channel.sink.name)
        # Of what nobody expected the type alone: a message may quote what it choked on.
        why = str(failure) if isinstance(failure, SinkFailed | StoreUnavailable) else type(failure).__name__
        _log.warning("checkpoints do not get to %s: %s", channel.sink.name, why)


class _Behind(Exception):
    """The log is shorter than what a sink holds.  The message says how much."""
