"""A PostgreSQL that stands still, and one that crashes, under two replicas at work."""

from __future__ import annotations

import time
from contextlib import ExitStack
from pathlib import Path

import pytest
from balancer import Balancer
from books import Told, violations
from customers import Customer, patient, run_under_kills
from database_trouble import DatabaseTrouble
from postgresql_server import postgresql_programs, running_server
from pydantic import SecretStr
from server_process import ServerProcess

from keyserver import installation
from keyserver.settings import Settings

CLIENTS = 3
STILL = 2.0
"""Seconds; a client's request outlasts them."""


def test_a_database_that_stops_and_one_that_crashes_under_load_cost_time_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    patient(monkeypatch)
    programs = postgresql_programs()
    assert programs is not None
    with running_server(programs, durable=False) as server, ExitStack() as stack:
        settings = Settings(data=tmp_path / "data", database_url=SecretStr(f"{server.url}/postgres"))
        ports = installation.initialise(settings, "default", int(time.time()))
        stack.callback(ports.database.close)
        replicas = [
            stack.enter_context(ServerProcess(settings.data, tmp_path / f"{number}.log", database_url=settings.url))
            for number in range(2)
        ]
        balancer = stack.enter_context(Balancer([replica.port for replica in replicas]))
        log_key = str(ports.signer.verifier_key)
        customers = [Customer(balancer.url, settings, number, log_key) for number in range(CLIENTS)]
        trouble = DatabaseTrouble(server, STILL)
        assert run_under_kills(customers, [trouble]) == []
        assert all(replica.process.poll() is None for replica in replicas)
        told = Told()
        for customer in customers:
            told.add(customer.told)
        assert len(told.given) > 0
        assert violations(ports, told, tmp_path / "log.jsonl") == []
