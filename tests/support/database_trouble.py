"""A PostgreSQL that stops doing anything for a while, and then crashes and comes back, while clients are at work."""

from __future__ import annotations

import threading
import time

from postgresql_server import Server

BETWEEN = 1.0
"""Seconds in which nothing is wrong: before, between and after."""


class DatabaseTrouble(threading.Thread):
    """Both troubles, one after the other."""

    def __init__(self, server: Server, seconds: float) -> None:
        """`seconds`: how long the database stands still."""
        super().__init__(name="database trouble")
        self._server, self._seconds = server, seconds
        self.failure: BaseException | None = None

    def run(self) -> None:
        try:
            time.sleep(BETWEEN)
            with self._server.stopped():
                time.sleep(self._seconds)
            time.sleep(BETWEEN)
            self._server.restart_at_once()
            time.sleep(BETWEEN)
        except BaseException as failure:
            self.failure = failure
