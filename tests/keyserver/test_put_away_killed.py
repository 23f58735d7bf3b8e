"""The command itself is killed while it deletes (SIGKILL), and called again."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from sqlalchemy import func, select

from faceseal.translog import verify_export
from keyserver import audit, installation
from keyserver.actions import Action
from keyserver.audit import Entry, Outcome
from keyserver.audit.export import export_lines
from keyserver.settings import Settings
from keyserver.store.database import Database
from keyserver.store.tables import EntryRow, IndexRow

LONG_AGO = 1_500_000_000
ENTRIES = 4000
"""More than go in one transaction."""


def test_nothing_is_lost_when_the_command_is_killed_and_it_goes_on(empty_database: Database, tmp_path: Path) -> None:
    url = empty_database.engine.url.render_as_string(hide_password=False)
    settings = Settings(data=tmp_path / "data", database_url=url)
    ports = installation.initialise(settings, "default", LONG_AGO)
    entry = Entry(at=LONG_AGO, action=Action.RELEASE, outcome=Outcome.ALLOWED, actor="(operator)")
    with ports.database.writing() as session:
        audit.record_all(session, [entry] * ENTRIES)
        before = audit.current_checkpoint(session)
    file = tmp_path / "part"
    command = [sys.executable, "-m", "keyserver", "audit", "put-away", "--data", str(settings.data)]
    command += ["--output", str(file), "--until", str(ENTRIES)]
    environment = {**os.environ, "KEYSERVER_DATABASE_URL": url}
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL) as first:
        assert first.stderr is not None
        assert b"1,000 entries are deleted" in first.stderr.readline()
        first.kill()

    key = ports.signer.verifier_key
    part = verify_export(file, key).checkpoint
    assert part.size == ENTRIES
    again = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    # It was quicker than the signal, or goes on.
    assert again.returncode == 0 or "put away already" in again.stderr
    with ports.database.reading() as session, (tmp_path / "rest").open("wb") as rest:
        for column in (EntryRow.entry_index, IndexRow.entry_index):
            assert session.scalars(select(func.min(column))).one() == ENTRIES
        rest.writelines(export_lines(session, ports.signer))
        # On record once.
        assert audit.current_checkpoint(session).size == before.size + 1
    found = verify_export(tmp_path / "rest", key, part)
    assert (found.first, found.events["audit.put_away.allowed"]) == (ENTRIES, 1)
    ports.database.close()
