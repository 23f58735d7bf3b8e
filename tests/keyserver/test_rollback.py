"""A real server, a real witness, and a database that is put back: nothing is released, running or started anew."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from older_copy import OlderCopy
from server_process import ServerProcess, token_of
from signed_proofs import fresh_proof
from witness_process import WitnessProcess

from faceseal.cosignature import cosignatures_of
from faceseal.translog import open_checkpoint
from keyserver.settings import Settings
from keyserver.store.database import Database

RECIPIENT = {"recipient": "CQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"}
DOUBT = "urn:faceseal:problem:log-in-doubt"
PUSH_SECONDS = "0.3"


def eventually(found: Callable[[], Any], seconds: float = 30) -> Any:
    """What `found` returns once it is true; it fails if it never is."""
    until = time.monotonic() + seconds
    while not (result := found()):
        assert time.monotonic() < until, "it never came"
        time.sleep(0.05)
    return result


@pytest.fixture
def database(settings: Settings) -> Iterator[Database]:
    opened = Database(settings.url)
    yield opened
    opened.close()


@pytest.fixture
def witness(world: Any, tmp_path: Path) -> Iterator[WitnessProcess]:
    with WitnessProcess(tmp_path / "witness", world.ports.signer.verifier_key) as running:
        yield running


@pytest.fixture
def environment(settings: Settings, witness: WitnessProcess, tmp_path: Path) -> dict[str, str]:
    chosen = {
        "checkpoint_sinks": json.dumps([witness.url, f"file://{tmp_path / 'kept'}"]),
        "checkpoint_witnesses": json.dumps([str(witness.key)]),
        "checkpoint_push_seconds": PUSH_SECONDS,
    }
    return chosen if settings.database_url is None else {**chosen, "database_url": settings.url}


class User:
    """Somebody of the real server, with a token and a key."""

    def __init__(self, server: ServerProcess, settings: Settings, subject: str) -> None:
        self._server, self._key = server, Ed25519PrivateKey.generate()
        self._token = token_of(settings, subject)
        self._nonce = ""

    def ask(self, method: str, path: str, body: object = None) -> httpx.Response:
        url = f"{self._server.url}{path}"
        for _ in range(2):
            proof = fresh_proof(self._key, method, url, self._token, int(time.time()), nonce=self._nonce)
            headers = {"Authorization": f"Bearer {self._token}", "DPoP": proof}
            answer = httpx.request(method, url, headers=headers, json=body, timeout=30)
            self._nonce = answer.headers.get("dpop-nonce", self._nonce)
            if answer.status_code != 401:
                break
        return answer


def released(user: User, path: str, token: str) -> httpx.Response:
    return user.ask("POST", path, {**RECIPIENT, "grant": token})


def test_a_backup_that_is_put_back_stops_the_running_server_and_every_new_one(
    settings: Settings, database: Database, witness: WitnessProcess, environment: dict[str, str], tmp_path: Path
) -> None:
    log = tmp_path / "server.log"
    with ServerProcess(settings.data, log, **environment) as server:
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
            return cosignatures_of(answer.json()["checkpoint"], [witness.key])

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
    alone = {**environment, "checkpoint_sinks": json.dumps([witness.url])}
    refused = ServerProcess(settings.data, tmp_path / "refused.log", **alone)
    with pytest.raises(AssertionError, match="was rewritten since the checkpoint"), refused:
        pass
    assert refused.process.wait(20) == 2


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
