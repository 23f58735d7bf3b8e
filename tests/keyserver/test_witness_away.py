"""A real server whose witness goes away and comes back, and which stops."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
from server_process import ServerProcess
from server_user import RECIPIENT, User, eventually
from witness_process import WitnessProcess

from faceseal.translog import open_checkpoint
from keyserver.settings import Settings

DATABASE_KINDS = ["sqlite"]
"""Nothing here depends on the database."""


def test_a_server_goes_on_without_its_witness_and_pushes_to_it_when_it_is_back_and_at_its_own_end(
    world: Any,
    settings: Settings,
    running_witness: WitnessProcess,
    witnessed_environment: dict[str, str],
    tmp_path: Path,
) -> None:
    with ServerProcess(settings.data, tmp_path / "server.log", **witnessed_environment) as server:
        rita = User(server, settings, "rita")
        running_witness.kill()
        assert rita.ask("POST", "/v1/keys", RECIPIENT).status_code == 201
        eventually(lambda: "checkpoints do not get to" in server.log)
        assert httpx.get(f"{server.url}/readyz").status_code == 200
        running_witness.started_again()

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
