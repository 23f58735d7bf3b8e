"""The witness's commands, and the option that shows what witnesses have cosigned."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from faceseal.cosignature import WitnessKey
from keyserver.cli import main
from keyserver.settings import Settings

DATABASE_KINDS = ["sqlite"]
"""Nothing here depends on the database."""


@pytest.fixture
def made(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> tuple[Path, str]:
    assert main(["witness-init", "--data", str(tmp_path / "w"), "--name", "witness.example/w1"]) == 0
    return tmp_path / "w", capsys.readouterr().out.strip()


def test_making_a_witness_prints_its_key_each_time_and_no_secret(
    made: tuple[Path, str], capsys: pytest.CaptureFixture[str]
) -> None:
    folder, printed = made
    assert WitnessKey.parse(printed).name == "witness.example/w1"
    assert main(["witness-init", "--data", str(folder), "--name", "witness.example/w1"]) == 0
    assert capsys.readouterr().out.strip() == printed
    assert (folder / "witness.key").read_bytes().hex() not in printed


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["witness-init", "--name", "a b"], "a witness's name"),
        (["witness-init", "--name", "witness.example/other"], "holds the witness witness.example/w1"),
        (["witness", "--log", "garbage"], "verifier key"),
        (["witness"], "--log"),
    ],
)
def test_mistakes_are_one_line_and_exit_code_2(
    made: tuple[Path, str], capsys: pytest.CaptureFixture[str], arguments: list[str], why: str
) -> None:
    assert main([*arguments, "--data", str(made[0])]) == 2
    error = capsys.readouterr().err
    assert why in error
    assert error.count("\n") == 1


def test_there_is_no_witness_where_none_was_made(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log = "log.example/1+2c85ee1c+AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
    assert main(["witness", "--data", str(tmp_path), "--log", log]) == 2
    assert "witness-init" in capsys.readouterr().err


def test_without_cosignatures_there_is_no_witnessed_checkpoint_to_print(
    world: Any, settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["audit", "checkpoint", "--data", str(settings.data), "--witnessed"]) == 2
    assert "no checkpoint has been cosigned" in capsys.readouterr().err
    assert main(["audit", "checkpoint", "--data", str(settings.data)]) == 0
    assert capsys.readouterr().out.startswith("faceseal-keyserver/")
