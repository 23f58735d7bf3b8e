"""A real server, a real witness, and a database that is put back: nothing is released, running or started anew."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from older_copy import OlderCopy
from server_process import ServerProcess
from server_user import RECIPIENT, User, eventually, released
from witness_process import WitnessProcess

from faceseal.cosignature import cosignatures_of
from keyserver.settings import Settings
from keyserver.store.database import Database

DOUBT = "urn:faceseal:problem:log-in-doubt"


@pytest.fixture
def database(settings: Settings) -> Iterator[Database]:
    opened = Database(settings.url)
    yield opened
    opened.close()


def test_a_backup_that_is_put_back_stops_the_running_server_and_every_new_one(
    settings: Settings,
    database: Database,
    running_witness: WitnessProcess,
    witnessed_environment: dict[str, str],
    tmp_path: Path,
) -> None:
    log = tmp_path / "server.log"
    with ServerProcess(settings.data, log, **witnessed_environment) as server:
        rita, ben = User(server, settings, "rita"), User(server, settings, "ben")
        key_id = rita.ask("POST", "/v1/keys", RECIPIENT).json()["key"]["id"]
        grant = rita.ask("POST", "/v1/grants", {"key_ids": [key_id], "purpose": "test", "uses": 9}).json()["id"]
        assert ben.ask("POST", f"/v1/grants/{grant}/approve").status_code == 200
        token = rita.ask("GET", f"/v1/grants/{grant}").json()["token"]
        path = f"/v1/keys/{key_id}/release"
        older = OlderCopy(database)
        assert released(rita, path, token).status_code == 200

        def shown() -> Any:
            answer = rita.ask("GET", "/v1/audit/checkpoint")
            return cosignatures_of(answer.json()["checkpoint"], [running_witness.key])

        # In the background, the witness has cosigned what is there now.
        eventually(shown)
        older.put_back()
        # The use that was taken is there again, as far as the database knows.
        answer = released(rita, path, token)
        assert (answer.status_code, answer.json()["type"]) == (503, DOUBT)
        eventually(lambda: httpx.get(f"{server.url}/readyz").json()["checks"]["witnesses"] == "failed")
        # Whoever goes on writing makes a fork of it, which is found as well.
        for _ in range(4):
            rita.ask("POST", "/v1/keys", RECIPIENT)
        eventually(lambda: "rewritten" in server.log)
        answer = released(rita, path, token)
        assert (answer.status_code, answer.json()["type"]) == (503, DOUBT)
        assert "NO KEY IS RELEASED" in server.log
    # The witness alone is enough to know it by.
    alone = {**witnessed_environment, "checkpoint_sinks": json.dumps([running_witness.url])}
    refused = ServerProcess(settings.data, tmp_path / "refused.log", **alone)
    with pytest.raises(AssertionError, match="was rewritten since the checkpoint"), refused:
        pass
    assert refused.process.wait(20) == 2
