"""Pretrained models from the command line."""

import pytest
from PIL import Image
from skimage.data import astronaut

from faceseal.cli import app
from faceseal.cli.console import run


@pytest.fixture
def keyring(monkeypatch, tmp_path):
    monkeypatch.setenv("FACESEAL_PASSPHRASE", "correct horse")
    Image.fromarray(astronaut()[:256, 96:352]).save(tmp_path / "photo.png")
    return ["--keyring", str(tmp_path / "keys.json")]


def test_a_model_that_loses_too_much_for_the_profile_is_said_to(keyring, tmp_path, checkpoint, capsys):
    arguments = [str(tmp_path / "photo.png"), str(tmp_path / "sealed.png"), *keyring, "--profile", "fast"]
    assert run(app, ["anonymize", *arguments, "--model", str(checkpoint("ldm-v"))]) == 2
    assert "try another profile" in capsys.readouterr().err
    assert not (tmp_path / "sealed.png").exists()


def test_refining_an_exact_encoding_is_refused(keyring, tmp_path, capsys):
    sealed, back = str(tmp_path / "sealed.png"), str(tmp_path / "back.png")
    assert run(app, ["anonymize", str(tmp_path / "photo.png"), sealed, *keyring, "--profile", "fast"]) == 0
    assert run(app, ["restore", sealed, back, *keyring, "--from-pixels", "--refine", "5"]) == 2
    assert "encoding is exact" in capsys.readouterr().err


def test_a_model_that_is_nowhere_is_refused_in_one_line(keyring, tmp_path, capsys):
    arguments = [str(tmp_path / "photo.png"), str(tmp_path / "sealed.png"), *keyring]
    assert run(app, ["anonymize", *arguments, "--model", str(tmp_path / "none")]) == 2
    assert "cannot read the model" in capsys.readouterr().err
