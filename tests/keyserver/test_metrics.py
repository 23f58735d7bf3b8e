"""What Prometheus is told: counts by route template and reason, and nobody's ids."""

from __future__ import annotations

import urllib.request
from typing import Any
from uuid import uuid4

import pytest

from keyserver import metrics
from keyserver.errors import SetupError


def value(name: str, **labels: str) -> float:
    return metrics.REGISTRY.get_sample_value(name, labels) or 0.0


def test_requests_are_counted_by_the_route_s_template(world: Any, alice: Any) -> None:
    labels = {"method": "GET", "route": "/v1/keys/{key_id}", "status": "404"}
    before = value("keyserver_requests_total", **labels)
    for _ in range(3):
        alice.get(f"/v1/keys/{uuid4()}")
    assert value("keyserver_requests_total", **labels) == before + 3


def test_what_a_caller_makes_up_becomes_no_label(world: Any) -> None:
    world.client.get("/made-up-path")
    world.client.request("BREW", "/v1/keys")
    told = metrics.exposition().decode()
    assert "made-up-path" not in told
    assert "BREW" not in told


def test_releases_and_refusals_are_counted_by_reason(world: Any, alice: Any, bob: Any) -> None:
    key, _ = alice.create_key()
    _, token = world.grant_token(alice, bob, key.id)
    allowed = {"action": "release", "outcome": "allowed", "reason": ""}
    exhausted = {"action": "release", "outcome": "denied", "reason": "grant_exhausted"}
    before = [value("keyserver_decisions_total", **labels) for labels in (allowed, exhausted)]
    assert [alice.release(key.id, token).status_code for _ in range(3)] == [200, 403, 403]
    after = [value("keyserver_decisions_total", **labels) for labels in (allowed, exhausted)]
    assert after == [before[0] + 1, before[1] + 2]


def test_no_label_names_a_tenant_a_subject_a_key_or_a_grant(world: Any, bob: Any) -> None:
    mallory = world.person("mallory.9f1c")
    key, _ = mallory.create_key()
    grant_id, token = world.grant_token(mallory, bob, key.id)
    mallory.release(key.id, token)
    mallory.release(key.id, token)
    told = metrics.exposition().decode()
    assert all(name not in told for name in ("mallory.9f1c", str(key.id), grant_id, token))


def test_break_glass_has_a_counter_that_can_be_read() -> None:
    before = metrics.break_glass_count()
    metrics.count_break_glass()
    assert metrics.break_glass_count() == before + 1


def test_prometheus_is_answered_on_a_port_of_its_own_with_the_size_of_the_log(world: Any, free_port: int) -> None:
    stop = metrics.serve(f"127.0.0.1:{free_port}", world.ports.database)
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{free_port}/metrics", timeout=10) as answer:
            told = answer.read().decode()
        with pytest.raises(SetupError):
            metrics.serve(f"127.0.0.1:{free_port}", world.ports.database)
    finally:
        stop()
    assert f"keyserver_audit_entries {float(len(world.leaves()))}" in told
    assert "keyserver_database_connections 0.0" in told
    assert world.client.get("/metrics").status_code == 404


def test_a_database_that_is_gone_costs_its_sizes_and_nothing_else(world: Any) -> None:
    class Gone:
        def connections_in_use(self) -> int:
            return 3

        def reading(self) -> Any:
            raise metrics.StoreUnavailable("gone")

    found = list(metrics.InstallationCollector(Gone()).collect())  # type: ignore[arg-type]
    assert [family.name for family in found] == ["keyserver_database_connections"]
