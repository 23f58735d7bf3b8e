"""faceseal audit: what is proved, what is refused, and how the two are told apart."""

import pytest
import typer
from made_log import KEY, LOG, made_log, written

from faceseal.cli.audit import audit_app
from faceseal.cli.console import run
from faceseal.translog import Checkpoint, VerifierKey, sign_checkpoint

MADE = made_log(300)
STRANGER = VerifierKey(KEY.name, bytes(32))


@pytest.fixture
def audit(capsys):
    """Runs a command; gives its exit code, output and errors."""
    app = typer.Typer()
    app.add_typer(audit_app, name="audit")

    def invoke(*arguments):
        code = run(app, ["audit", *map(str, arguments)])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return invoke


@pytest.fixture
def export(tmp_path):
    return written(tmp_path / "log.jsonl", MADE.export())


def older(tmp_path, note):
    path = tmp_path / "older.txt"
    path.write_text(note)
    return path


def test_a_log_that_is_proved_is_described(audit, export, tmp_path):
    code, out, err = audit("verify", export, "--key", KEY, "--since", older(tmp_path, MADE.note(100)))
    assert (code, err) == (0, "")
    assert [line.split(maxsplit=1)[1] for line in out.splitlines()] == [
        "log.example",
        "all 300 entries",
        "the checkpoint of 100 entries",
        "2027-01-15 08:00:00Z",
        "2027-01-15 08:04:59Z",
        "300",
    ]


def test_an_older_export_stands_for_its_checkpoint(audit, tmp_path):
    part = written(tmp_path / "part.jsonl", made_log(260).export(first=100))
    rest = written(tmp_path / "rest.jsonl", MADE.export(first=260))
    code, out, err = audit("verify", rest, "--key", KEY, "--since", part)
    assert (code, err) == (0, "")
    assert "the checkpoint of 260 entries" in out
    code, _, err = audit("verify", part, "--key", KEY, "--since", rest)
    assert code == 1
    assert "fewer entries than the older checkpoint" in err


def test_an_export_that_begins_later_says_so(audit, tmp_path):
    _, out, _ = audit("verify", written(tmp_path / "late.jsonl", MADE.export(first=260)), "--key", KEY)
    assert "entries 260 to 299 of 300" in out
    _, out, _ = audit("verify", written(tmp_path / "none.jsonl", MADE.export(first=300)), "--key", KEY)
    assert "none of the 300 entries is here" in out
    _, out, _ = audit("verify", written(tmp_path / "empty.jsonl", made_log(0).export()), "--key", KEY)
    assert "all 0 entries" in out


def test_a_log_that_is_not_proved_is_one_line_and_exit_code_1(audit, export, tmp_path):
    fork = sign_checkpoint(Checkpoint(KEY.name, 100, bytes(32)), LOG, KEY.name)
    lines = MADE.export()
    lines[8] = lines[8].replace(b"anna", b"otto")
    forged = written(tmp_path / "forged.jsonl", lines)
    for arguments, words in (
        ((forged, "--key", KEY), "entry 5 was altered"),
        ((export, "--key", STRANGER), "not signed by log.example"),
        ((export, "--key", KEY, "--since", older(tmp_path, fork)), "does not continue the older checkpoint"),
    ):
        code, out, err = audit("verify", *arguments)
        assert (code, out) == (1, "")
        assert words in err
        assert err.startswith("faceseal: ")
        assert err.count("\n") == 1


def test_what_cannot_be_read_is_one_line_and_exit_code_2(audit, export, tmp_path):
    nothing = tmp_path / "nothing"
    for arguments, words in (
        ((nothing, "--key", KEY), "cannot read"),
        ((tmp_path, "--key", KEY), "cannot read"),
        ((export, "--key", "rubbish"), "not a log's verifier key"),
        ((export,), "--key"),
        ((export, "--key", KEY, "--since", nothing), "cannot read"),
        ((export, "--key", KEY, "--since", older(tmp_path, '{"checkpoint":7}\n')), "does not hold a checkpoint"),
        ((export, "--key", STRANGER, "--since", export), "does not hold a checkpoint"),
        ((export, "--key", KEY, "--since", older(tmp_path, MADE.note(9)[:-9] + "AAAAAAAA\n")), "does not hold"),
    ):
        code, out, err = audit("verify", *arguments)
        assert (code, out) == (2, "")
        assert words in err
        assert err.count("\n") == 1
