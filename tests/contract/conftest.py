"""A real key server: its own process, its own data folder, a free port on loopback."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import pytest
from own_folder import folder_of_the_clients_key  # noqa: F401 - a fixture

from faceseal.client import DpopKey, KeyServer
from faceseal.wire import Scope
from keyserver.installation import open_ports
from keyserver.settings import Settings
from keyserver.tokens import BuiltinIssuer


@dataclass(frozen=True)
class RunningServer:
    url: str
    data: Path
    log_key: str
    issuer: BuiltinIssuer

    def token(self, subject: str, *scopes: Scope, lifetime: int = 600, jkt: str | None = None) -> str:
        """An access token of the server's own issuer; all scopes if none is named."""
        return self.issuer.issue_access(
            subject, "default", frozenset(scopes or Scope), uuid4(), int(time.time()), lifetime, jkt=jkt
        )


def keyserver(*arguments: str | Path) -> str:
    command = [sys.executable, "-m", "keyserver", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout


@pytest.fixture(scope="session")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    data = tmp_path_factory.mktemp("keyserver") / "data"
    log_key = keyserver("init", "--data", data).strip().splitlines()[-1]
    command = [sys.executable, "-m", "keyserver", "serve", "--data", str(data), "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            yield RunningServer(line.split()[-1], data, log_key, open_ports(Settings(data=data)).issuer)
        finally:
            process.terminate()
            process.wait(timeout=20)


@pytest.fixture
def client(running: RunningServer) -> Iterator[Callable[..., KeyServer]]:
    """Opens the real client as some subject, with some scopes (by default: all)."""
    opened: list[KeyServer] = []

    def connect(subject: str, *scopes: Scope, client_key: DpopKey | None = None) -> KeyServer:
        token = running.token(subject, *scopes)
        server = KeyServer(running.url, token=token, log_key=running.log_key, client_key=client_key)
        opened.append(server)
        return server

    yield connect
    for server in opened:
        server.close()
