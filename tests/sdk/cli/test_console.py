import json
import os
import pty
import re
import subprocess
import sys
import termios
import time
from uuid import uuid4

import pytest
import typer

from faceseal.cli.console import key_source, open_server, print_table, run, utc
from faceseal.cli.grants import grants_app
from faceseal.cli.keys import keys_app
from faceseal.client import LocalKeyring
from faceseal.errors import KeySourceError, PhotoError, UnknownKey
from faceseal.wire import KeyPage

PASSPHRASE = "correct horse"
PROGRAM = """
import sys, typer
from faceseal.cli.console import run
from faceseal.cli.grants import grants_app
from faceseal.cli.keys import keys_app
app = typer.Typer(no_args_is_help=True)
app.add_typer(keys_app, name="keys")
app.add_typer(grants_app, name="grants")
sys.exit(run(app))
"""


@pytest.fixture(autouse=True)
def _no_secrets_in_the_environment(monkeypatch):
    monkeypatch.delenv("FACESEAL_TOKEN", raising=False)
    monkeypatch.delenv("FACESEAL_PASSPHRASE", raising=False)


@pytest.fixture
def faceseal(capsys):
    app = typer.Typer(no_args_is_help=True)
    app.add_typer(keys_app, name="keys")
    app.add_typer(grants_app, name="grants")

    def invoke(*arguments):
        code = run(app, [str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return invoke


def app_that(action):
    app = typer.Typer()
    app.command()(action)
    return app


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["keys", "nonsense"], "nonsense"),
        (["keys", "list", "--bogus"], "--bogus"),
        (["keys", "show"], "KEY"),
        (["keys", "show", "not-an-id", "--server", "https://keys.example"], "UUID"),
        (["grants", "request", str(uuid4())], "--purpose"),
        (["grants", "request", str(uuid4()), "--purpose", "x", "--uses", "many"], "--uses"),
        (["keys", "list"], "--server URL or --keyring PATH"),
        (["keys", "list", "--server", "https://keys.example", "--keyring", "k"], "name one source"),
        (["keys", "list", "--server", "https://keys.example"], "FACESEAL_TOKEN"),
        (["keys", "list", "--server", "https://keys.example", "--token-file", "/nowhere"], "/nowhere"),
        (["keys", "remove", str(uuid4())], "--keyring PATH"),
    ],
)
def test_every_mistake_is_one_line_on_standard_error_and_exit_code_2(faceseal, arguments, words):
    code, out, err = faceseal(*arguments)
    assert (code, out) == (2, "")
    assert re.fullmatch(r"faceseal: [^\n]+\n", err)
    assert words in err


@pytest.mark.parametrize("arguments", [[], ["keys"], ["grants"]])
def test_a_group_without_a_command_shows_its_help(faceseal, arguments):
    code, out, err = faceseal(*arguments)
    assert code == 2
    assert "Usage" in out + err
    assert "faceseal: " not in err


def test_help_is_no_error(faceseal):
    code, out, _ = faceseal("grants", "request", "--help")
    assert code == 0
    assert "--purpose" in out


def test_an_error_of_faceseal_is_said_in_its_own_words(capsys):
    def fail():
        raise PhotoError("the photo is too small: 8x8")

    assert run(app_that(fail), []) == 2
    assert capsys.readouterr().err == "faceseal: the photo is too small: 8x8\n"


def test_a_bug_is_not_hidden(capsys):
    def fail():
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run(app_that(fail), [])
    assert capsys.readouterr().err == ""


def test_an_interrupt_is_exit_code_130(capsys):
    def interrupt():
        raise KeyboardInterrupt

    assert run(app_that(interrupt), []) == 130
    assert "Traceback" not in capsys.readouterr().err


def test_an_exit_code_of_a_command_is_kept():
    def leave():
        raise typer.Exit(3)

    assert run(app_that(leave), []) == 3


def test_a_reader_that_goes_away_causes_no_complaint(tmp_path):
    program = tmp_path / "program.py"
    program.write_text(
        "import sys, typer\nfrom faceseal.cli.console import run\napp = typer.Typer()\n"
        "@app.command()\ndef much():\n    for _ in range(int(sys.argv[1])): typer.echo('x' * 80)\n"
        "sys.exit(run(app, []))\n"
    )
    for lines in ("1", "100000"):
        reader, writer = os.pipe()
        os.close(reader)
        with os.fdopen(writer, "wb") as closed:
            process = subprocess.run(
                [sys.executable, program, lines], stdout=closed, stderr=subprocess.PIPE, timeout=30, check=False
            )
        assert (process.returncode, process.stderr) == (1, b"")


@pytest.fixture
def keyring(tmp_path, monkeypatch):
    monkeypatch.setenv("FACESEAL_PASSPHRASE", PASSPHRASE)
    return LocalKeyring(tmp_path / "photos.keyring", PASSPHRASE)


def test_the_keys_of_a_keyring_are_listed_without_their_secrets(faceseal, keyring):
    keys = [keyring.create() for _ in range(2)]
    keyring.bind(keys[0].key_id, bytes([0xAB]) * 32)
    code, out, _ = faceseal("keys", "list", "--keyring", keyring.path)
    assert code == 0
    assert len(out.splitlines()) == 3
    assert "abababababab" in out
    _, as_json, _ = faceseal("keys", "list", "--keyring", keyring.path, "--json")
    assert [key.id for key in KeyPage.model_validate_json(as_json).keys] == [key.key_id for key in keys]
    for key in keys:
        assert key.secret.hex() not in out + json.dumps(as_json)


def test_a_key_is_removed_for_good_only_when_confirmed(faceseal, keyring, monkeypatch):
    key = keyring.create()
    monkeypatch.setattr(sys, "stdin", open(os.devnull))  # noqa: SIM115, PTH123
    code, _, err = faceseal("keys", "remove", key.key_id, "--keyring", keyring.path)
    assert code == 2
    assert "nothing was done" in err
    assert keyring.release(key.key_id) == key
    code, out, _ = faceseal("keys", "remove", key.key_id, "--keyring", keyring.path, "--yes")
    assert (code, out) == (0, f"removed {key.key_id}\n")
    with pytest.raises(UnknownKey):
        keyring.release(key.key_id)


def test_a_wrong_passphrase_is_one_line(faceseal, keyring, monkeypatch):
    keyring.create()
    monkeypatch.setenv("FACESEAL_PASSPHRASE", "wrong horse")
    code, _, err = faceseal("keys", "list", "--keyring", keyring.path)
    assert (code, err) == (2, f"faceseal: wrong passphrase for {keyring.path}\n")


def test_the_passphrase_is_asked_for_in_a_terminal_and_not_echoed(keyring):
    key = keyring.create()
    terminal, end = pty.openpty()
    environment = {name: value for name, value in os.environ.items() if name != "FACESEAL_PASSPHRASE"}
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM, "keys", "list", "--keyring", keyring.path],
        stdin=end,
        stdout=subprocess.PIPE,
        stderr=end,
        env=environment,
        start_new_session=True,
    ) as process:
        try:
            # What is typed while the echo is still on would be thrown away.
            deadline = time.monotonic() + 30
            while termios.tcgetattr(end)[3] & termios.ECHO and time.monotonic() < deadline:
                time.sleep(0.02)
            os.write(terminal, PASSPHRASE.encode() + b"\n")
            out, _ = process.communicate(timeout=30)
        finally:
            process.kill()
    shown = os.read(terminal, 1000).decode()
    for descriptor in (terminal, end):
        os.close(descriptor)
    assert process.returncode == 0
    assert str(key.key_id) in out.decode()
    assert "Passphrase" in shown
    assert PASSPHRASE not in shown


def test_without_a_terminal_the_passphrase_must_come_from_the_environment(faceseal, keyring, monkeypatch):
    monkeypatch.delenv("FACESEAL_PASSPHRASE")
    monkeypatch.setattr(sys, "stdin", open(os.devnull))  # noqa: SIM115, PTH123
    code, _, err = faceseal("keys", "list", "--keyring", keyring.path)
    assert code == 2
    assert "FACESEAL_PASSPHRASE" in err


def test_a_token_is_read_from_a_file_and_never_shown(tmp_path, faceseal):
    path = tmp_path / "token"
    path.write_text("a-token-of-mine\n")
    with open_server("https://keys.example", path, None) as server:
        assert repr(server) == "KeyServer('https://keys.example')"
    path.write_text("two tokens-of-mine\n")
    code, _, err = faceseal("keys", "list", "--server", "https://keys.example", "--token-file", path)
    assert code == 2
    assert "tokens-of-mine" not in err


@pytest.mark.parametrize("content", [b"", b"\xff\xfe", b"x" * 100_000])
def test_a_file_that_holds_no_token_is_refused(tmp_path, content):
    path = tmp_path / "token"
    path.write_bytes(content)
    with pytest.raises(KeySourceError, match="token"):
        open_server("https://keys.example", path, None)


def test_a_key_source_is_either_a_server_or_a_keyring(keyring, monkeypatch):
    monkeypatch.setenv("FACESEAL_TOKEN", "t")
    with key_source("https://keys.example", None, None, None) as server:
        assert repr(server) == "KeyServer('https://keys.example')"
    with key_source(None, None, None, keyring.path) as local:
        assert isinstance(local, LocalKeyring)
    with pytest.raises(KeySourceError, match="one source"), key_source(None, None, None, None):
        pass


def test_a_table_has_aligned_columns(capsys):
    print_table(("A", "LONGER", "C"), [("1234", "x", "last"), ("1", "y", "")])
    assert capsys.readouterr().out == "A     LONGER  C\n1234  x       last\n1     y       \n"


def test_times_are_shown_in_utc():
    assert utc(0) == "1970-01-01 00:00:00Z"
    assert utc(None) == "-"
