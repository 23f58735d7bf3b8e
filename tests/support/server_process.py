"""A key server of its own: a real process on a free port, which tests may stop, kill and start again."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from uuid import uuid4

from faceseal.wire import Scope
from keyserver.installation import open_ports
from keyserver.settings import Settings


class ServerProcess:
    """`keyserver serve` on the data of an installation; ended with the block, whatever happened to it."""

    def __init__(self, data: Path, log: Path, **settings: str) -> None:
        """`settings` are added to the environment, without their prefix and in lower case."""
        self._data = data
        self._log = log
        self._environment = {f"KEYSERVER_{name.upper()}": value for name, value in settings.items()}

    def __enter__(self) -> ServerProcess:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(20)

    def start(self, port: int = 0) -> None:
        """Returns when requests are taken."""
        command = [sys.executable, "-m", "keyserver", "serve", "--data", str(self._data), "--port", str(port)]
        environment = {**os.environ, **self._environment}
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True, env=environment)
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, self._log.read_text()
        self.url = line.split()[-1]
        self.port = int(self.url.rpartition(":")[2])

    @property
    def log(self) -> str:
        """All that it has written so far."""
        return self._log.read_text()


def token_of(
    settings: Settings, subject: str, tenant: str = "default", lifetime: int = 600, jkt: str | None = None
) -> str:
    """An access token with every scope that counts for so many seconds by the real clock."""
    ports = open_ports(settings)
    now = int(time.time())
    token = ports.issuer.issue_access(subject, tenant, frozenset(Scope), uuid4(), now, lifetime, jkt=jkt)
    ports.database.close()
    return token
