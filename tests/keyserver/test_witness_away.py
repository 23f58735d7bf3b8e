"""A real server whose witness goes away and comes back, and which stops."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from server_process import ServerProcess
from server_user import RECIPIENT, User, eventually
from witness_process import WitnessProcess

from faceseal.translog import open_checkpoint
from keyserver.settings import Settings

DATABASE_KINDS = ["sqlite"]
"""Nothing here depends on the database."""


@pytest.fixture
def witness(world: Any, tmp_path: Path) -> Iterator[WitnessProcess]:
    with WitnessProcess(tmp_path / "witness", world.ports.signer.verifier_key) as running:
        yield running


@pytest.fixture
def environment(settings: Settings, witness: WitnessProcess, tmp_path: Path) -> dict[str, str]:
    chosen = {
        "checkpoint_sinks": json.dumps([witness.url, f"file://{tmp_path / 'kept'}"]),
        "checkpoint_witnesses": json.dumps([str(witness.key)]),
        "checkpoint_push_seconds": "0.3",
    }
    return chosen if settings.database_url is None else {**chosen, "database_url": settings.url}


def test_a_server_goes_on_without_its_witness_and_pushes_to_it_when_it_is_back_and_at_its_own_end(
    world: Any, settings: Settings, witness: WitnessProcess, environment: dict[str, str], tmp_path: Path
) -> None:
    with ServerProcess(settings.data, tmp_path / "server.log", **environment) as server:
        rita = User(server, settings, "rita")
        witness.kill()
        assert rita.ask("POST", "/v1/keys", RECIPIENT).status_code == 201
        eventually(lambda: "checkpoints do not get to" in server.log)
        assert httpx.get(f"{server.url}/readyz").status_code == 200
        witness.started_again()

        def witnessed() -> int:
            answer = rita.ask("GET", "/v1/audit/checkpoint?witnessed=true")
            if answer.status_code == 404:
                return 0
            return open_checkpoint(answer.json()["checkpoint"], world.ports.signer.verifier_key).size

        eventually(lambda: witnessed() == len(world.leaves()))
        rita.ask("POST", "/v1/keys", RECIPIENT)
        server.process.terminate()
        assert server.process.wait(30) == 0
    kept = (tmp_path / "kept").read_text()
    assert open_checkpoint(kept, world.ports.signer.verifier_key).size == len(world.leaves())
