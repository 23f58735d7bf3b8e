"""A witness of its own: `keyserver witness` as a real process, which tests may kill and start again."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

import pytest

from faceseal.translog import VerifierKey
from keyserver.settings import Settings
from keyserver.witness import memory


class WitnessProcess:
    """Ended with the block, whatever happened to it."""

    def __init__(self, folder: Path, *logs: VerifierKey, name: str = "witness.example/w1", **environment: str) -> None:
        self.folder = folder
        self.key = memory.create(folder, name).key
        self._logs = logs
        self._environment = environment
        self._log = folder.with_name(f"{folder.name}.log")

    def __enter__(self) -> WitnessProcess:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()

    def start(self, port: int = 0, **environment: str) -> None:
        """Returns when requests are taken."""
        command = [sys.executable, "-m", "keyserver", "witness", "--data", str(self.folder), "--port", str(port)]
        for key in self._logs:
            command += ["--log", str(key)]
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(
                command,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env={**os.environ, **self._environment, **environment},
            )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, self._log.read_text()
        self.url = line.split()[-1]
        self.port = int(self.url.rpartition(":")[2])

    def kill(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(20)

    def started_again(self, **environment: str) -> None:
        """On the same port, after it was killed."""
        self.kill()
        self.start(self.port, **environment)


@pytest.fixture
def running_witness(world: Any, tmp_path: Path) -> Iterator[WitnessProcess]:
    """Of the world's log."""
    with WitnessProcess(tmp_path / "witness", world.ports.signer.verifier_key) as running:
        yield running


@pytest.fixture
def witnessed_environment(settings: Settings, running_witness: WitnessProcess, tmp_path: Path) -> dict[str, str]:
    """Settings of a server that pushes to that witness, and to a file."""
    chosen = {
        "checkpoint_sinks": json.dumps([running_witness.url, f"file://{tmp_path / 'kept'}"]),
        "checkpoint_witnesses": json.dumps([str(running_witness.key)]),
        "checkpoint_push_seconds": "0.3",
    }
    return chosen if settings.database_url is None else {**chosen, "database_url": settings.url}
