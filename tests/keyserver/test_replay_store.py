"""Each DPoP proof counts once: on one replica, on several, and without the table growing for ever."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from threading import Barrier, Event

import pytest
from sqlalchemy import func, select

from keyserver.store import schema
from keyserver.store.database import Database
from keyserver.store.replay import KEEP_SECONDS, SWEEP, remember_proof, remember_proofs
from keyserver.store.tables import ProofRow

NOW = 1_800_000_000
JKT = "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"
THREADS = 6

Replica = Callable[[], Database]


@pytest.fixture
def replica(empty_database: Database) -> Iterator[Replica]:
    """Opens the same database once more, with connections of its own."""
    schema.upgrade(empty_database)
    with ExitStack() as opened:

        def another() -> Database:
            database = Database(empty_database.engine.url.render_as_string(hide_password=False))
            opened.callback(database.close)
            return database

        yield another


def remember(database: Database, jti: str, now: int = NOW, jkt: str = JKT) -> bool:
    with database.writing() as session:
        return remember_proof(session, jkt, jti, now)


def count(database: Database) -> int:
    with database.reading() as session:
        return session.scalars(select(func.count()).select_from(ProofRow)).one()


def test_a_proof_is_new_once(replica: Replica) -> None:
    one, other = replica(), replica()
    assert remember(one, "first")
    assert not remember(one, "first")
    assert not remember(other, "first")
    assert remember(other, "second")
    assert remember(one, "first", jkt="f" * 43)


def test_a_proof_is_remembered_for_as_long_as_any_replica_may_accept_it(replica: Replica) -> None:
    database = replica()
    assert remember(database, "first")
    # Made by a fast clock, accepted by it at once; then replayed to a replica whose clock is slow.
    assert not remember(database, "first", NOW + 65)
    assert not remember(database, "first", NOW - 120)
    assert not remember(database, "first", NOW + KEEP_SECONDS - 1)


def test_what_is_stored_tells_neither_key_nor_proof(replica: Replica) -> None:
    database = replica()
    remember(database, "first")
    with database.reading() as session:
        row = session.scalars(select(ProofRow)).one()
    assert len(row.digest) == 32
    assert b"first" not in row.digest
    assert row.expires_at == NOW + KEEP_SECONDS


def test_of_a_race_of_replicas_exactly_one_wins(replica: Replica) -> None:
    databases = [replica() for _ in range(THREADS)]
    start = Barrier(THREADS)

    def attempts(database: Database) -> list[bool]:
        outcomes = []
        for number in range(20):
            start.wait()
            outcomes.append(remember(database, f"proof {number}"))
        return outcomes

    with ThreadPoolExecutor(THREADS) as threads:
        outcomes = list(threads.map(attempts, databases))
    assert [sum(round_) for round_ in zip(*outcomes, strict=True)] == [1] * 20
    assert count(databases[0]) == 20


@pytest.mark.parametrize("committed", [True, False], ids=["committed", "undone"])
def test_the_second_of_two_waits_for_how_the_first_ends(replica: Replica, committed: bool) -> None:
    one, other = replica(), replica()
    trying = Event()

    def second() -> bool:
        trying.set()
        return remember(other, "proof")

    with ThreadPoolExecutor(1) as threads:

        class Undone(Exception):
            pass

        try:
            with one.writing() as session:
                assert remember_proof(session, JKT, "proof", NOW)
                answer = threads.submit(second)
                assert trying.wait(10)
                with pytest.raises(TimeoutError):
                    answer.result(0.2)
                if not committed:
                    raise Undone
        except Undone:
            pass
        assert answer.result(10) is not committed
    assert count(one) == 1


def test_of_many_proofs_at_once_each_is_new_once(replica: Replica) -> None:
    database = replica()
    assert remember(database, "a")
    with database.writing() as session:
        named = [(JKT, name) for name in ("c", "a", "b", "c", "b", "d")]
        assert remember_proofs(session, named, NOW) == [True, False, True, False, False, True]
        assert remember_proofs(session, [], NOW) == []
    assert not remember(database, "d")
    assert count(database) == 4


def test_replicas_with_the_same_proofs_in_another_order_share_them_without_a_deadlock(replica: Replica) -> None:
    one, other, third = replica(), replica(), replica()
    proofs = [(JKT, "a"), (JKT, "b"), (JKT, "c")]

    def remember_all(database: Database, in_order: list[tuple[str, str]]) -> dict[tuple[str, str], bool]:
        with database.writing() as session:
            return dict(zip(in_order, remember_proofs(session, in_order, NOW), strict=True))

    with ThreadPoolExecutor(2) as threads:
        # Both reach what a third holds, each with what the other needs next.
        with third.writing() as session:
            assert remember_proof(session, JKT, "b", NOW)
            answers = [threads.submit(remember_all, one, proofs), threads.submit(remember_all, other, proofs[::-1])]
            with pytest.raises(TimeoutError):
                answers[0].result(0.3)
            session.rollback()
        outcomes = [answer.result(10) for answer in answers]
    assert all(sorted(outcome[proof] for outcome in outcomes) == [False, True] for proof in proofs)
    assert count(one) == 3


def test_expired_rows_leave_a_few_at_a_time(replica: Replica) -> None:
    database = replica()
    with database.writing() as session:
        for number in range(3 * SWEEP):
            remember_proof(session, JKT, f"old {number}", NOW)
    later = NOW + KEEP_SECONDS
    assert remember(database, "new 1", later - 1)
    assert count(database) == 3 * SWEEP + 1
    assert remember(database, "new 2", later)
    assert count(database) == 2 * SWEEP + 2
    for number in range(3, 5):
        assert remember(database, f"new {number}", later)
    assert count(database) == 4


def test_the_table_stays_as_long_as_the_time_that_it_must_remember(replica: Replica) -> None:
    database = replica()
    seconds = 3 * KEEP_SECONDS
    with database.writing() as session:
        for second in range(seconds):
            assert remember_proof(session, JKT, f"proof {second}", NOW + second)
    assert count(database) == KEEP_SECONDS


def test_where_rows_are_locked_a_replica_that_clears_up_holds_up_no_other(replica: Replica) -> None:
    one, other = replica(), replica()
    with one.writing() as session:
        for number in range(SWEEP + 1):
            remember_proof(session, JKT, f"old {number}", NOW)
    with ThreadPoolExecutor(1) as threads:
        with one.writing() as session:
            assert remember_proof(session, JKT, "new 1", NOW + KEEP_SECONDS)
            answer = threads.submit(remember, other, "new 2", NOW + KEEP_SECONDS)
            # SQLite has one writer at a time, whatever it writes.
            if one.engine.dialect.name == "postgresql":
                assert answer.result(5)
        assert answer.result(10)
    assert count(one) == 2


def test_many_at_once_clear_more_than_they_leave(replica: Replica) -> None:
    database = replica()
    with database.writing() as session:
        for turn in range(4):
            remember_proofs(session, [(JKT, f"old {turn} {number}") for number in range(64)], NOW)
    with database.writing() as session:
        for turn in range(2):
            remember_proofs(session, [(JKT, f"new {turn} {number}") for number in range(64)], NOW + KEEP_SECONDS)
    assert count(database) == 2 * 64


def test_a_backlog_is_cleared_by_many_replicas_at_once_without_a_deadlock(replica: Replica) -> None:
    databases = [replica() for _ in range(THREADS)]
    with databases[0].writing() as session:
        for number in range(20 * SWEEP):
            remember_proof(session, JKT, f"old {number}", NOW)
    start = Barrier(THREADS)

    def attempts(worker: int) -> list[bool]:
        start.wait()
        return [
            remember(databases[worker], f"{worker if own else 'all'} {number}", NOW + KEEP_SECONDS)
            for number in range(20)
            for own in (True, False)
        ]

    with ThreadPoolExecutor(THREADS) as threads:
        outcomes = list(threads.map(attempts, range(THREADS)))
    assert sum(map(sum, outcomes)) == THREADS * 20 + 20
    assert count(databases[0]) == THREADS * 20 + 20
