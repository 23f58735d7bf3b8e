"""Replicas that are killed at any moment leave every effect with its entry and its answer, or none of them."""

from __future__ import annotations

from pathlib import Path

import pytest
from balancer import Balancer
from books import Told, violations
from customers import Customer, Killer, patient, run_under_kills
from server_process import ServerProcess
from sqlalchemy import update

from faceseal.client import KeyServer
from faceseal.errors import ServerUnavailable
from keyserver.installation import open_ports
from keyserver.settings import Settings
from keyserver.store.tables import GrantRow

KILLS = 6
"""Of each replica."""
CLIENTS = 3
MORE_THAN_ANY = 99


def test_nothing_is_lost_or_done_twice_when_two_replicas_are_killed_under_load(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    patient(monkeypatch)
    chosen = {} if settings.database_url is None else {"database_url": settings.url}
    ports = open_ports(settings)
    log_key = str(ports.signer.verifier_key)
    with (
        ServerProcess(settings.data, tmp_path / "one.log", **chosen) as one,
        ServerProcess(settings.data, tmp_path / "two.log", **chosen) as two,
        Balancer([one.port, two.port]) as balancer,
    ):
        customers = [Customer(balancer.url, settings, number, log_key) for number in range(CLIENTS)]
        killers = [Killer(replica, KILLS, seed, 0.6) for seed, replica in enumerate((one, two))]
        assert run_under_kills(customers, killers) == []

    told = Told()
    for customer in customers:
        told.add(customer.told)
    assert len(told.given) > 0
    assert violations(ports, told, tmp_path / "log.jsonl") == []

    # The books would show it: a use that was taken without an entry, and a key that nobody was told of.
    lost = told.given[0].grant_id
    told.created.popitem()
    with ports.database.writing() as session:
        session.execute(update(GrantRow).where(GrantRow.id == lost).values(uses_left=MORE_THAN_ANY))
    found = violations(ports, told, tmp_path / "again.jsonl")
    assert [str(lost) in line for line in found].count(True) == 1
    assert any("new keys" in line for line in found)
    ports.database.close()


def test_a_client_does_not_try_for_ever(free_port: int) -> None:
    with KeyServer(f"http://127.0.0.1:{free_port}", token="x", timeout=5) as nobody, pytest.raises(ServerUnavailable):
        nobody.create()
