"""A replica remembers what it has itself committed: a database that is put back undoes nothing unnoticed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
from older_copy import OlderCopy
from publishing_world import DOUBT, Seconds, problem_of, pushed, size_of

from keyserver import audit
from keyserver.actions import Action
from keyserver.audit import Entry, Outcome
from keyserver.audit.entry import OPERATOR
from keyserver.service.logtrust import MEMORY
from keyserver.settings import Settings
from keyserver.store.database import Database
from keyserver.store.joined import JoinedDatabase

ENTRY = Entry(at=1_700_000_000, action=Action.ROTATE_ISSUER, outcome=Outcome.ALLOWED, actor=OPERATOR)


@pytest.fixture
def elsewhere(settings: Settings, world: Any) -> Iterator[Database]:
    """The same database, as another process has it."""
    opened = Database(settings.url)
    yield opened
    opened.close()


def released(alice: Any, granted: Any) -> Any:
    return alice.ask("POST", granted.path, granted.body())


@pytest.mark.parametrize("change", ["release", "revocation", "key"])
def test_a_change_since_the_last_look_that_is_put_back_stops_the_next_release_until_it_is_put_right(
    world: Any, alice: Any, bob: Any, granted: Any, publisher_of: Any, seconds: Seconds, change: str
) -> None:
    publisher = publisher_of()
    publisher.begin()
    older = OlderCopy(world.ports.database)
    if change == "release":
        assert released(alice, granted).status_code == 200
    elif change == "revocation":
        assert bob.post(f"/v1/grants/{granted.grant_id}/revoke").status_code == 200
    else:
        alice.create_key()
    newer = OlderCopy(world.ports.database)
    older.put_back()
    before = world.leaves()
    assert problem_of(released(alice, granted)) == (503, DOUBT)
    assert world.leaves() == before
    # A look finds the same, and takes nothing back.
    pushed(publisher, seconds)
    assert [*world.ports.trust.doubts()] == [MEMORY]
    assert problem_of(released(alice, granted)) == (503, DOUBT)
    newer.put_back()
    pushed(publisher, seconds)
    assert world.ports.trust.doubts() == {}


@pytest.mark.parametrize("by", ["itself", "another replica"])
def test_a_log_that_went_on_from_the_older_copy_is_noticed_by_an_append_and_never_trusted_again(
    world: Any, alice: Any, granted: Any, publisher_of: Any, seconds: Seconds, elsewhere: Database, by: str
) -> None:
    publisher = publisher_of()
    publisher.begin()
    older = OlderCopy(world.ports.database)
    assert released(alice, granted).status_code == 200
    older.put_back()
    for _ in range(3):
        if by == "itself":
            alice.create_key()
            continue
        with elsewhere.writing() as session:
            audit.append(session, ENTRY)
    assert problem_of(released(alice, granted)) == (503, DOUBT)
    for _ in range(2):
        pushed(publisher, seconds)
        assert [*world.ports.trust.doubts()] == [MEMORY]
        alice.create_key()


def test_what_other_replicas_append_in_between_raises_no_doubt(
    world: Any, alice: Any, granted: Any, publisher_of: Any, seconds: Seconds, elsewhere: Database
) -> None:
    publisher = publisher_of()
    publisher.begin()
    for count in range(4):
        with elsewhere.writing() as session:
            audit.append_all(session, [ENTRY] * (2 * count + 1))
        assert released(alice, granted).status_code == 200
        assert world.ports.trust.remembered().size == size_of(world)
    pushed(publisher, seconds)
    assert world.ports.trust.doubts() == {}


def test_what_was_undone_is_not_remembered_whether_alone_or_with_all(world: Any, alice: Any, granted: Any) -> None:
    database, size = world.ports.database, size_of(world)
    with suppress(RuntimeError), database.writing() as session:
        audit.append_all(session, [ENTRY] * 5)
        raise RuntimeError
    with database.writing() as session:
        part = JoinedDatabase(database, session)
        with part.writing() as inner:
            audit.append(inner, ENTRY)
        with suppress(RuntimeError), part.writing() as inner:
            audit.append_all(inner, [ENTRY] * 5)
            raise RuntimeError
        assert world.ports.trust.remembered().size == size
    assert world.ports.trust.remembered().size == size + 1
    assert released(alice, granted).status_code == 200
