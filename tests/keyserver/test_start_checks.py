"""A server does not start on a schema or an audit log that is behind, ahead or altered."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from administrator import take_guard_away
from sqlalchemy import delete, text

from keyserver import audit, installation
from keyserver.cli import main
from keyserver.errors import SetupError
from keyserver.settings import Settings
from keyserver.store.tables import EntryRow, LogRow, NodeRow


@pytest.fixture
def used(world: Any, alice: Any) -> Any:
    """A server whose log has entries."""
    for _ in range(5):
        alice.create_key()
    return world


def start(settings: Settings) -> None:
    installation.open_ports(settings).database.close()


def test_an_untouched_installation_starts(used: Any, settings: Settings) -> None:
    start(settings)


@pytest.mark.parametrize("version", ["0001", "9999"], ids=["behind", "ahead"])
def test_a_schema_that_is_behind_or_ahead_is_refused(used: Any, settings: Settings, version: str) -> None:
    with used.ports.database.writing() as session:
        was = session.execute(text("SELECT version_num FROM alembic_version")).scalar_one()
        session.execute(text("UPDATE alembic_version SET version_num = :it"), {"it": version})
    try:
        with pytest.raises(SetupError, match="schema"):
            start(settings)
    finally:
        with used.ports.database.writing() as session:
            session.execute(text("UPDATE alembic_version SET version_num = :it"), {"it": was})


def newest_entry_changed(session: Any) -> None:
    entry = session.get_one(EntryRow, session.get_one(LogRow, 1).size - 1)
    entry.leaf = entry.leaf.replace("allowed", "denied")


def newest_entry_gone(session: Any) -> None:
    session.delete(session.get_one(EntryRow, session.get_one(LogRow, 1).size - 1))


def head_behind(session: Any) -> None:
    session.get_one(LogRow, 1).size -= 1


def head_ahead(session: Any) -> None:
    session.get_one(LogRow, 1).size += 1


def tree_gone(session: Any) -> None:
    session.execute(delete(NodeRow))


def tree_altered(session: Any) -> None:
    session.get_one(NodeRow, (0, session.get_one(LogRow, 1).size - 1)).hash = bytes(32)


def log_gone(session: Any) -> None:
    session.execute(delete(LogRow))


@pytest.mark.parametrize(
    "damage",
    [newest_entry_changed, newest_entry_gone, head_behind, head_ahead, tree_gone, tree_altered, log_gone],
    ids=lambda damage: damage.__name__,
)
def test_an_audit_log_that_does_not_hold_together_is_refused(used: Any, settings: Settings, damage: Any) -> None:
    with used.ports.database.writing() as session:
        take_guard_away(session)
        damage(session)
    with pytest.raises(SetupError):
        start(settings)


@pytest.fixture
def kept(used: Any, settings: Settings, tmp_path: Path) -> Settings:
    """The settings with a checkpoint that was kept elsewhere."""
    with used.ports.database.reading() as session:
        note = used.ports.signer.sign(audit.current_checkpoint(session))
    path = tmp_path / "checkpoint"
    path.write_text(note)
    return settings.model_copy(update={"checkpoint_file": path})


def test_a_log_that_went_on_since_the_kept_checkpoint_starts(used: Any, alice: Any, kept: Settings) -> None:
    start(kept)
    alice.create_key()
    start(kept)


def test_a_log_that_is_behind_the_kept_checkpoint_is_refused(used: Any, kept: Settings) -> None:
    # As an older copy of the database would look.
    with used.ports.database.writing() as session:
        take_guard_away(session)
        head = session.get_one(LogRow, 1)
        head.size -= 1
        session.delete(session.get_one(EntryRow, head.size))
        session.execute(delete(NodeRow).where(NodeRow.level == 0, NodeRow.position == head.size))
        size = head.size
    with pytest.raises(SetupError, match=f"has {size} entries, and the checkpoint that was kept {size + 1}"):
        start(kept)


def test_a_log_that_was_rewritten_is_refused(used: Any, settings: Settings, kept: Settings) -> None:
    with used.ports.database.writing() as session:
        take_guard_away(session)
        for row in session.query(NodeRow).where(NodeRow.position == 0, NodeRow.level > 0):
            row.hash = bytes(32)
    with pytest.raises(SetupError):
        start(kept)


@pytest.mark.parametrize("note", ["", "x\n1\ny\n\n— x y\n", "\ud800"], ids=["empty", "unsigned", "no text"])
def test_a_checkpoint_that_is_none_of_this_log_is_refused(used: Any, kept: Settings, note: str) -> None:
    assert kept.checkpoint_file is not None
    kept.checkpoint_file.write_bytes(note.encode(errors="surrogatepass"))
    with pytest.raises(SetupError, match="checkpoint"):
        start(kept)


def test_the_command_prints_a_checkpoint_that_a_start_takes(
    used: Any, kept: Settings, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    if kept.database_url is not None:
        monkeypatch.setenv("KEYSERVER_DATABASE_URL", kept.url)
    assert main(["audit", "checkpoint", "--data", str(kept.data)]) == 0
    assert kept.checkpoint_file is not None
    kept.checkpoint_file.write_text(capsys.readouterr().out)
    start(kept)
