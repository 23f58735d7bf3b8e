"""faceseal audit who and search, where older entries of the log were put away."""

from contextlib import contextmanager

import pytest
import typer
from PIL import Image

from faceseal import wire
from faceseal.cli import auditsearch
from faceseal.cli.audit import audit_app
from faceseal.cli.console import run
from faceseal.client.auditsearch import FoundEntries, SeenBy

ENTRY = wire.AuditEntry(
    index=1200,
    leaf="{}",
    at=1_800_000_000,
    action="release",
    outcome=wire.AuditOutcome.ALLOWED,
    personal=wire.PersonalData.OPENED,
    actor="rita",
)


class Server:
    """Answers what it was made with."""

    def __init__(self, first_kept):
        self.first_kept = first_kept

    def search_audit(self, **_wanted):
        return FoundEntries(iter([wire.AuditPage(entries=[ENTRY, ENTRY], first_kept=self.first_kept)]))

    def who_has_seen(self, **_photo):
        return SeenBy([], [ENTRY], self.first_kept)


@pytest.fixture
def asked(monkeypatch, capsys, tmp_path):
    """Runs a command with a server that has put away so many entries; gives its output and errors."""
    app = typer.Typer()
    app.add_typer(audit_app, name="audit")
    Image.new("RGB", (64, 64), "white").save(tmp_path / "copy.png")

    def invoke(first_kept, command, *arguments):
        @contextmanager
        def opened(*_arguments):
            yield Server(first_kept)

        monkeypatch.setattr(auditsearch, "open_server", opened)
        photo = [str(tmp_path / "copy.png")] if command == "who" else []
        assert run(app, ["audit", command, *photo, *arguments]) == 0
        captured = capsys.readouterr()
        assert "rita" in captured.out
        return captured.err

    return invoke


@pytest.mark.parametrize("command", ["who", "search"])
@pytest.mark.parametrize("output", [[], ["--json"]])
def test_whoever_asks_is_told_that_older_entries_are_elsewhere(asked, command, output):
    assert "entries of the log before number 1,000 were put away" in asked(1000, command, *output)
    assert asked(0, command, *output) == ""


def test_who_wanted_only_the_newest_misses_none(asked):
    assert asked(1000, "search", "--limit", "2") == ""
