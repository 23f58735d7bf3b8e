"""The distributions, built and installed into environments of their own."""

import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def keyserver_environment(tmp_path_factory):
    """A fresh environment with the key server and what it depends on, nothing else."""
    folder = tmp_path_factory.mktemp("keyserver-environment")
    venv.create(folder, with_pip=True)
    install = [folder / "bin" / "pip", "install", "--quiet", "--constraint", ROOT / "constraints.txt"]
    subprocess.run([*install, ROOT / "sdk", ROOT / "keyserver"], check=True, cwd=folder)
    return folder


def test_the_key_server_installs_without_torch(keyserver_environment):
    listed = subprocess.run(
        [keyserver_environment / "bin" / "pip", "list", "--format", "freeze"],
        capture_output=True,
        text=True,
        check=True,
    )
    names = {line.split("==")[0].lower() for line in listed.stdout.splitlines()}
    assert {"faceseal", "faceseal-keyserver"} <= names
    assert not names & {"torch", "diffusers", "onnxruntime", "opencv-python"}


def test_the_installed_key_server_initializes_outside_of_a_checkout(keyserver_environment, tmp_path):
    command = [keyserver_environment / "bin" / "keyserver", "init", "--data", tmp_path / "data"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path)
    assert "faceseal-keyserver" in done.stdout


def test_without_the_generator_anonymizing_says_what_to_install(keyserver_environment, tmp_path):
    from PIL import Image
    from skimage.data import astronaut

    Image.fromarray(astronaut()).save(tmp_path / "photo.png")
    command = [keyserver_environment / "bin" / "faceseal", "anonymize", "photo.png", "out.png", "--keyring", "keyring"]
    done = subprocess.run(
        command, capture_output=True, text=True, cwd=tmp_path, env={"FACESEAL_PASSPHRASE": "p"}, check=False
    )
    assert done.returncode == 2
    assert "faceseal[generator]" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "out.png").exists()


def test_the_sdk_wheel_carries_its_weights(tmp_path):
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", tmp_path, ROOT / "sdk"],
        check=True,
    )
    (wheel,) = tmp_path.glob("faceseal-*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert "faceseal/weights/faceseal-4.safetensors" in names
    assert "faceseal/weights/MODEL_CARD.md" in names
    assert "faceseal/py.typed" in names
