"""A database without room answers nothing but 503, and is worked with again as soon as there is room."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from small_disk import full, may_mount, small_disk
from sqlalchemy import event, text

from keyserver.audit.export import export_lines, verify_export
from keyserver.settings import Settings
from keyserver.store.database import Database

MOST_REQUESTS = 300
"""By then whatever was free inside the files is used up."""


@pytest.fixture
def disk() -> Iterator[Path]:
    """A small disk of its own if one can be mounted, else an ordinary folder."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        # PostgreSQL's processes are another user's.
        folder.chmod(0o755)
        if may_mount():
            with small_disk(folder, 4):
                yield folder
        else:
            yield folder


@pytest.fixture
def settings(settings: Settings, database_kind: str, disk: Path) -> Settings:
    """With SQLite, on the small disk."""
    if database_kind == "postgresql":
        return settings
    return settings.model_copy(update={"data": shutil.copytree(settings.data, disk / "data")})


@pytest.fixture
def no_room(world: Any, disk: Path) -> Iterator[partial[AbstractContextManager[None]]]:
    """Makes a block within which the log's table cannot grow."""
    database: Database = world.ports.database
    postgresql = database.engine.dialect.name == "postgresql"
    if not may_mount():
        yield partial(_refused if postgresql else _bounded, database)
    elif postgresql:
        with _moved(database, disk):
            yield partial(full, disk)
    else:
        yield partial(full, disk)


@contextmanager
def _moved(database: Database, disk: Path) -> Iterator[None]:
    """The log's entries lie on the small disk."""
    shutil.chown(disk, "nobody", "nogroup")
    with database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text(f"CREATE TABLESPACE small LOCATION '{disk}'"))
        try:
            connection.execute(text("ALTER TABLE audit_entries SET TABLESPACE small"))
            yield
        finally:
            connection.execute(text("ALTER TABLE audit_entries SET TABLESPACE pg_default"))
            connection.execute(text("DROP TABLESPACE small"))


@contextmanager
def _refused(database: Database) -> Iterator[None]:
    """Without a disk of its own, PostgreSQL is made to say what it says when there is no room."""
    body = "BEGIN RAISE EXCEPTION ''no room'' USING ERRCODE = ''53100''; END"
    with database.writing() as session:
        session.execute(text(f"CREATE FUNCTION no_room() RETURNS trigger LANGUAGE plpgsql AS '{body}'"))
        session.execute(text("CREATE TRIGGER no_room BEFORE INSERT ON audit_entries EXECUTE FUNCTION no_room()"))
    try:
        yield
    finally:
        with database.writing() as session:
            session.execute(text("DROP FUNCTION no_room CASCADE"))


@contextmanager
def _bounded(database: Database) -> Iterator[None]:
    """Without a disk of its own, SQLite's file is kept from growing."""

    def bound(connection: Any, *_: object) -> None:
        (pages,) = connection.execute("PRAGMA page_count").fetchone()
        connection.execute(f"PRAGMA max_page_count = {pages}")

    event.listen(database.engine, "connect", bound)
    database.engine.dispose()
    try:
        yield
    finally:
        event.remove(database.engine, "connect", bound)
        database.engine.dispose()


def test_without_room_nothing_is_answered_that_is_not_on_record_and_with_room_again_everything(
    world: Any, granted: Any, no_room: Any, tmp_path: Path
) -> None:
    eve = world.person("eve", scope="keys:create")

    def release() -> int:
        proof = granted.requester.proof("POST", granted.path)
        return int(granted.asked(granted.requester.headers(proof)).status_code)

    with no_room():
        before, refused = len(world.leaves()), 0
        for _ in range(MOST_REQUESTS):
            status = eve.get("/v1/audit/checkpoint").status_code
            if status == 503:
                break
            assert status == 403
            refused += 1
        assert status == 503
        assert [release() for _ in range(2)] == [503, 503]
        # Each refusal that was answered has its entry, and what was not answered has none.
        assert len(world.leaves()) == before + refused
        uses = granted.uses_left()
    assert uses == 5
    assert release() == 200
    assert eve.get("/v1/audit/checkpoint").status_code == 403
    assert granted.uses_left() == 4
    with world.ports.database.reading() as session, (tmp_path / "log.jsonl").open("wb") as file:
        file.writelines(export_lines(session, world.ports.signer))
    assert verify_export(tmp_path / "log.jsonl", world.ports.signer.verifier_key).size == before + refused + 2
