import zipfile

import pytest

from faceseal.cli import app
from faceseal.cli.console import run


@pytest.fixture(params=["train-lips", "train-pose", "train-looks"])
def refused(request, tmp_path, capsys, monkeypatch):
    """Runs the command on an archive; the words of its complaint."""
    monkeypatch.setattr("faceseal.faces.mesh.FaceMesh", lambda _: None)
    archive = tmp_path / "faces.zip"
    labels = ["--labels", str(tmp_path / "looks.csv")] if request.param == "train-looks" else []
    with zipfile.ZipFile(archive, "w") as made:
        made.writestr("photo.png", b"")

    def words(output: str, faces: str = str(archive)) -> str:
        assert run(app, [request.param, faces, "--output", str(tmp_path / output), *labels]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        return line

    return words


def test_an_archive_without_a_list_of_landmarks_is_refused(refused):
    assert "landmarks.csv" in refused("small.onnx")


def test_a_missing_archive_is_refused(refused, tmp_path):
    assert "neither a folder nor a zip" in refused("small.onnx", str(tmp_path / "none.zip"))


def test_a_missing_folder_is_named_before_anything_is_computed(refused):
    assert "make it first" in refused("none/small.onnx")
