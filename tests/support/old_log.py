"""A log whose entries are all a year old but the newest, and putting them away."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select

from keyserver.audit.retention import delete_put_away
from keyserver.putting_away import DAY, PutAway, Wanted, put_away
from keyserver.store.tables import EntryRow, IndexKeyRow, IndexRow

YEAR = Wanted(keep_days=365)


def silent(*_: object) -> None:
    """No progress is shown."""


@pytest.fixture
def old(world: Any, alice: Any, bob: Any) -> list[str]:
    """The leaves that are a year old; the last is of a release.  One that is new follows them."""
    key, _ = alice.create_key()
    _, token = world.grant_token(alice, bob, key.id, uses=5)
    assert alice.release(key.id, token).status_code == 200
    leaves: list[str] = world.leaves()
    world.clock.now += 366 * DAY
    # Their tokens are from then.
    alice.token, bob.token = world.person("alice").token, world.person("bob").token
    alice.create_key()
    return leaves


def put(world: Any, path: Path, wanted: Wanted = YEAR) -> PutAway:
    """Put away what there is."""
    found = put_away(world.ports, path, wanted, silent)
    assert found is not None
    return found


def lowest(world: Any) -> list[int]:
    """The lowest numbers of entry, index and index of keys that are there."""
    with world.ports.database.reading() as session:
        columns = (EntryRow.entry_index, IndexRow.entry_index, IndexKeyRow.entry_index)
        return [session.scalars(select(func.min(column))).one() for column in columns]


class Killed(BaseException):
    """The process has ended here."""


def killed(*_: object) -> None:
    """In the place of a step that is not reached."""
    raise Killed


def killed_while_deleting(world: Any, path: Path, monkeypatch: pytest.MonkeyPatch, after: int) -> None:
    """Broken off when so many batches, of two entries, are deleted."""
    done: list[int] = []

    def delete(session: Any) -> int:
        deleted = delete_put_away(session, 2)
        done.extend([deleted] if deleted else [])
        if len(done) > after:
            # Its transaction is undone.
            raise Killed
        return deleted

    with monkeypatch.context() as patched:
        patched.setattr("keyserver.audit.retention.delete_put_away", delete)
        with pytest.raises(Killed):
            put(world, path)
