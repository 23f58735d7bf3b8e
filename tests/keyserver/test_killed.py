"""A server that is killed at any moment leaves every effect with its entry and its answer, or none of them."""

from __future__ import annotations

import json
import random
import threading
import time
from collections import Counter
from pathlib import Path
from uuid import UUID

import pytest
from server_process import ServerProcess, token_of
from sqlalchemy import select

from faceseal.client import KeyServer
from faceseal.errors import ServerUnavailable
from keyserver.installation import open_ports
from keyserver.settings import Settings
from keyserver.store import log
from keyserver.store.tables import GrantRow, KeyRow

KILLS = 12
CLIENTS = 4
USES = 1000


class Client(threading.Thread):
    """Creates and releases keys until it is told to stop; each call must succeed in the end."""

    def __init__(self, url: str, token: str, key_id: UUID, grant: str, log_key: str) -> None:
        super().__init__()
        self.server = KeyServer(url, token=token, log_key=log_key, timeout=60)
        self.key_id, self.grant = key_id, grant
        self.done: Counter[str] = Counter()
        self.failure: BaseException | None = None
        self.over = threading.Event()

    def run(self) -> None:
        try:
            while not self.over.is_set():
                self.server.create()
                self.done["key.create.allowed"] += 1
                self.server.release(self.key_id, self.grant)
                self.done["release.allowed"] += 1
        except BaseException as failure:
            self.failure = failure
        finally:
            self.server.close()


def test_nothing_is_lost_or_done_twice_when_the_server_is_killed_under_load(
    settings: Settings, tmp_path: Path, free_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    # More patient than usual: a start takes longer than the usual retries wait.
    monkeypatch.setattr("faceseal.client.connection.SEND_RETRIES", 200)
    monkeypatch.setattr("faceseal.client.connection.RETRY_PAUSE", 0.05)
    monkeypatch.setattr("faceseal.client.connection.LONGEST_PAUSE", 0.2)
    chosen = {} if settings.database_url is None else {"database_url": settings.url}
    dice = random.Random(5)
    ports = open_ports(settings)
    log_key = str(ports.signer.verifier_key)
    with ServerProcess(settings.data, tmp_path / "server.log", **chosen) as server:
        alice = KeyServer(server.url, token=token_of(settings, "alice"), log_key=log_key)
        bob = KeyServer(server.url, token=token_of(settings, "bob"))
        key = alice.create()
        grant = alice.request_grant([key.key_id], "court order 17", uses=USES)
        bob.approve_grant(grant.id)
        token = alice.grant(grant.id).token
        assert token is not None
        with ports.database.reading() as session:
            before = list(log.leaves(session, 1 << 40))
        clients = [Client(server.url, token_of(settings, "alice"), key.key_id, token, log_key) for _ in range(CLIENTS)]
        for client in clients:
            client.start()
        for _ in range(KILLS):
            time.sleep(dice.uniform(0, 0.3))
            server.process.kill()
            server.process.wait(20)
            server.start(server.port)
        for client in clients:
            client.over.set()
        for client in clients:
            client.join(60)
        assert [client.failure for client in clients] == [None] * CLIENTS
        alice.close()
        bob.close()

    done = sum((client.done for client in clients), Counter[str]())
    with ports.database.reading() as session:
        entries = [json.loads(leaf) for leaf in log.leaves(session, 1 << 40)][len(before) :]
        kept = session.scalars(select(KeyRow)).all()
        left = session.scalars(select(GrantRow.uses_left)).one()
    ports.database.close()
    assert done["release.allowed"] > 0
    assert Counter(entry["event"] for entry in entries) == done
    assert left == USES - done["release.allowed"]
    assert len(kept) == 1 + done["key.create.allowed"]


def test_a_client_does_not_try_for_ever(free_port: int) -> None:
    with KeyServer(f"http://127.0.0.1:{free_port}", token="x", timeout=5) as nobody, pytest.raises(ServerUnavailable):
        nobody.create()
