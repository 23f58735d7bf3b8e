"""SIGTERM under load: what runs is finished and answered, what is new is refused, and the process ends with 0."""

from __future__ import annotations

import json
import signal
import threading
from pathlib import Path
from typing import Any

import httpx
import pytest
from server_process import ServerProcess, token_of

from keyserver.settings import Settings

RECIPIENT = {"recipient": "CQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"}


@pytest.fixture
def server_settings(settings: Settings) -> dict[str, str]:
    return {} if settings.database_url is None else {"database_url": settings.url}


def test_a_server_that_is_told_to_stop_under_load_finishes_what_it_began(
    world: Any, settings: Settings, server_settings: dict[str, str], tmp_path: Path
) -> None:
    headers = {"Authorization": f"Bearer {token_of(settings, 'alice')}"}
    before, made, statuses, told = len(world.leaves()), [], set(), threading.Event()
    under_way = threading.Barrier(9)

    def load(server: ServerProcess) -> None:
        with httpx.Client(base_url=server.url, headers=headers, timeout=30) as client:
            client.get("/healthz")
            under_way.wait(30)
            while True:
                try:
                    answer = client.post("/v1/keys", json=RECIPIENT)
                except httpx.HTTPError:
                    # Refused, or the idle connection was closed: nothing was begun.
                    assert told.is_set()
                    return
                statuses.add(answer.status_code)
                if answer.status_code == 201:
                    made.append(answer.json()["key"]["id"])

    with ServerProcess(settings.data, tmp_path / "server.log", **server_settings) as server:
        threads = [threading.Thread(target=load, args=(server,)) for _ in range(8)]
        for thread in threads:
            thread.start()
        under_way.wait(30)
        while len(made) < 20:
            threading.Event().wait(0.01)
        told.set()
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(30) == 0
        for thread in threads:
            thread.join(30)
        written = server.log

    assert statuses <= {201, 503}
    entries = [json.loads(leaf) for leaf in world.leaves()[before:]]
    # No answer was lost on its way, and none was given without its entry.
    assert sorted(entry["key"] for entry in entries if entry["event"] == "key.create.allowed") == sorted(made)
    assert all(json.loads(line)["logger"] == "keyserver.requests" for line in written.splitlines())
