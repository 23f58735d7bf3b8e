"""/healthz and /readyz: each check by its word, in bounded time, whatever hangs."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from administrator import take_guard_away
from sqlalchemy import text

from keyserver.errors import Unavailable
from keyserver.service.readiness import Readiness, Word
from keyserver.store import log
from keyserver.store.tables import LogRow

FINE = {"database": Word.OK, "root": Word.OK, "audit": Word.OK, "witnesses": Word.OK}


class Roots:
    """A root that fails, lies or hangs as it is told."""

    def __init__(self, inner: Any) -> None:
        self.inner = inner
        self.asked = 0
        self.failure: Exception | None = None
        self.lies = False
        self.go = threading.Event()
        self.go.set()

    def wrap(self, kek: bytes, context: bytes) -> bytes:
        self.asked += 1
        self.go.wait(30)
        if self.failure is not None:
            raise self.failure
        return bytes(self.inner.wrap(kek, context))

    def unwrap(self, wrapped: bytes, context: bytes) -> bytes:
        return bytes(32) if self.lies else bytes(self.inner.unwrap(wrapped, context))


class Seconds:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def root(world: Any) -> Iterator[Roots]:
    made = Roots(world.ports.root)
    yield made
    made.go.set()


@pytest.fixture
def seconds() -> Seconds:
    return Seconds()


@pytest.fixture
def readiness(world: Any, root: Roots, seconds: Seconds) -> Iterator[Readiness]:
    made = Readiness(replace(world.ports, root=root), seconds, limit=0.2)
    yield made
    root.go.set()
    made.close()


def test_a_server_that_can_work_says_so_to_anybody(world: Any) -> None:
    answer = world.client.get("/readyz")
    assert (answer.status_code, answer.json()) == (
        200,
        {"status": "ready", "checks": {"database": "ok", "root": "ok", "audit": "ok", "witnesses": "ok"}},
    )
    assert world.client.get("/healthz").json() == {"status": "ok"}


def test_the_checks_leave_nothing_in_the_log(world: Any) -> None:
    before = world.leaves()
    world.client.get("/readyz")
    assert world.leaves() == before


def test_a_schema_of_another_version_is_not_ready(world: Any, readiness: Readiness) -> None:
    with world.ports.database.writing() as session:
        version = session.execute(text("SELECT version_num FROM alembic_version")).scalar_one()
        session.execute(text("UPDATE alembic_version SET version_num = 'other'"))
    try:
        assert readiness.check() == FINE | {"database": Word.FAILED}
    finally:
        with world.ports.database.writing() as session:
            session.execute(text("UPDATE alembic_version SET version_num = :it"), {"it": version})


@pytest.mark.parametrize("failure", [Unavailable("the root does not answer"), RuntimeError("inside")])
def test_a_root_that_fails_is_not_ready(readiness: Readiness, root: Roots, failure: Exception) -> None:
    root.failure = failure
    assert readiness.check() == FINE | {"root": Word.FAILED}


def test_a_root_that_opens_something_else_is_not_ready(readiness: Readiness, root: Roots) -> None:
    root.lies = True
    assert readiness.check() == FINE | {"root": Word.FAILED}


def test_a_root_that_hangs_is_given_up_and_not_asked_again_before_it_has_answered(
    readiness: Readiness, root: Roots, seconds: Seconds
) -> None:
    root.go.clear()
    for _ in range(5):
        assert readiness.check() == FINE | {"root": Word.TIMEOUT}
        seconds.now += 2
    assert root.asked == 1
    root.go.set()
    readiness._running["root"].result(10)
    assert readiness.check() == FINE
    assert root.asked == 2


def test_the_answer_is_kept_for_a_second(readiness: Readiness, root: Roots, seconds: Seconds) -> None:
    for _ in range(10):
        readiness.check()
    assert root.asked == 1
    seconds.now += 1
    readiness.check()
    assert root.asked == 2


def test_a_log_that_lost_entries_since_is_not_ready(
    world: Any, alice: Any, readiness: Readiness, seconds: Seconds
) -> None:
    alice.create_key()
    assert readiness.check() == FINE
    with world.ports.database.writing() as session:
        take_guard_away(session)
        session.get_one(LogRow, 1).size -= 1
    seconds.now += 1
    assert readiness.check() == FINE | {"audit": Word.FAILED}


def test_a_log_without_its_head_is_not_taken_for_a_busy_one(world: Any, readiness: Readiness) -> None:
    with world.ports.database.writing() as session:
        take_guard_away(session)
        session.delete(session.get_one(LogRow, 1))
    assert readiness.check()["audit"] is Word.FAILED


def test_a_log_that_somebody_appends_to_at_this_moment_is_ready_on_postgresql(world: Any, readiness: Readiness) -> None:
    if world.ports.database.engine.dialect.name == "sqlite":
        # There is one writer at a time, and the probe waits for its turn.
        assert readiness.check() == FINE
        return
    with world.ports.database.writing() as session:
        log.head_for_append(session)
        assert readiness.check() == FINE


def test_the_answer_tells_words_and_nothing_of_the_inside(world: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_: object) -> bool:
        raise RuntimeError("postgresql://user:password@host")

    monkeypatch.setattr("keyserver.store.schema.is_current", broken)
    answer = world.client.get("/readyz")
    assert answer.status_code == 503
    assert answer.json()["checks"] == {"database": "failed", "root": "ok", "audit": "ok", "witnesses": "ok"}
    assert "password" not in answer.text


def test_a_server_that_stops_says_so_and_takes_nothing_new(world: Any, alice: Any) -> None:
    world.client.app.state.admission.stop()
    assert (world.client.get("/readyz").status_code, world.client.get("/readyz").json()["status"]) == (503, "stopping")
    answer = alice.get("/v1/keys")
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    assert world.client.get("/healthz").status_code == 200
