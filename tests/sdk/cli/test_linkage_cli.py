"""faceseal linkage from the command line, with the packaged weights."""

import csv
import io
import json
import zipfile

import numpy as np
import pytest
from PIL import Image
from skimage.data import astronaut

from faceseal.cli import app
from faceseal.cli.console import run

LANDMARKS = "37,37,87,37,62,65,42,88,84,88"
NAMES = "file,source,reye_x,reye_y,leye_x,leye_y,nose_x,nose_y,rmouth_x,rmouth_y,lmouth_x,lmouth_y"


def prepared(path, count: int, landmarks: str = LANDMARKS):
    """An archive of squares, all of one portrait, each moved and lit in its own way."""
    random = np.random.default_rng(0)
    with zipfile.ZipFile(path, "w") as archive:
        rows = [NAMES]
        for index in range(count):
            head = np.roll(astronaut()[40:168, 160:288], random.integers(-6, 6, 2), axis=(0, 1))
            buffer = io.BytesIO()
            Image.fromarray((head * random.uniform(0.6, 1.0)).astype(np.uint8)).save(buffer, "PNG")
            archive.writestr(f"{index}.png", buffer.getvalue())
            rows.append(f"{index}.png,test,{landmarks}")
        archive.writestr("landmarks.csv", "\n".join(rows) + "\n")
    return path


def linkage(*arguments) -> int:
    return run(app, ["linkage", *map(str, arguments)])


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    return prepared(tmp_path_factory.mktemp("faces") / "faces.zip", 8)


def test_sign_flips_are_linked_and_all_results_are_written(archive, tmp_path, capsys):
    output = tmp_path / "some" / "where"
    assert linkage(archive, "--count", 6, "--profile", "fast", "--output", output) == 0
    printed = capsys.readouterr().out
    assert "6 faces, 32 components" in printed
    assert printed.count("1.000 [") == 2 * printed.count("signflip  ")
    assert {path.name for path in output.iterdir()} == {"linkage.json", "linkage.csv", "linkage.png"}
    rows = list(csv.DictReader(io.StringIO((output / "linkage.csv").read_text())))
    assert {row["share"] for row in rows if row["map"] == "signflip"} == {"1.0"}
    rotated = [float(row["share"]) for row in rows if row["map"] == "rotation"]
    assert len(rotated) == 12
    assert np.mean(rotated) < 0.5
    with Image.open(output / "linkage.png") as picture:
        assert picture.format == "PNG"


def test_the_same_seed_gives_the_same_files_and_another_one_other_figures(archive, tmp_path, capsys):
    for name, seed in (("one", 5), ("same", 5), ("other", 6)):
        assert linkage(archive, "--count", 2, "--profile", "fast", "--output", tmp_path / name, "--seed", seed) == 0
    for file in ("linkage.json", "linkage.csv", "linkage.png"):
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "same" / file).read_bytes()
    figures = [json.loads((tmp_path / name / "linkage.json").read_text())["figures"] for name in ("one", "other")]
    assert figures[0] != figures[1]


def test_wrong_input_is_named_in_one_line_and_leaves_nothing(archive, tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    (tmp_path / "garbage.zip").write_bytes(b"not a zip")
    outside = prepared(tmp_path / "outside.zip", 2, "937,937,987,937,962,965,942,988,984,988")
    broken = prepared(tmp_path / "broken.zip", 2, LANDMARKS.replace("65", "left"))
    for arguments, said in [
        ((tmp_path / "none.zip",), "neither a folder nor a zip archive"),
        ((tmp_path / "garbage.zip",), "neither a folder nor a zip archive"),
        ((tmp_path / "empty",), "holds no photo with a face"),
        ((broken, "--count", 2), "row 1 of landmarks.csv"),
        ((outside, "--count", 2), "the landmarks do not lie in the squares"),
        ((archive,), "there are 8 faces, and 1000 are wanted"),
        ((archive, "--count", 1), "'--count'"),
        ((archive, "--count", 2, "--seed", -1), "'--seed'"),
        ((archive, "--count", 2, "--profile", "finest"), "there is no profile 'finest'"),
        ((archive, "--count", 2, "--model", tmp_path / "none"), "cannot read the model"),
        ((archive, "--count", 2, "--device", "abacus"), "cannot compute on 'abacus'"),
    ]:
        assert linkage(*arguments, "--output", tmp_path / "out") == 2
        complaint = capsys.readouterr().err.strip()
        assert said in complaint
        assert "\n" not in complaint
        assert not (tmp_path / "out").exists()
    assert linkage(archive, "--count", 2, "--output", archive / "out") == 2
    assert "out cannot be written" in capsys.readouterr().err
