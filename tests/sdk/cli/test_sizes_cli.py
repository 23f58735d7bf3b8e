"""faceseal sizes, as it is typed; its figures are tested in evaluation/test_sizes.py."""

import csv
import io
import json

import pytest
import torch
from PIL import Image
from skimage.data import astronaut

from faceseal.anonymizer.generator import default_model
from faceseal.cli import app
from faceseal.cli.console import run
from faceseal.model import VelocityNetwork, save_model


@pytest.fixture(scope="module")
def portrait(tmp_path_factory):
    path = tmp_path_factory.mktemp("photos") / "collins.png"
    Image.fromarray(astronaut()[:256, 96:352]).save(path)
    return path


@pytest.fixture(scope="module")
def small_weights(tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "small.safetensors"
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = VelocityNetwork(VelocityNetwork().architecture | {"block_out_channels": [32, 32]})
    save_model(path, network, default_model().klt, "small")
    return path


def sizes(*arguments) -> int:
    return run(app, ["sizes", *map(str, arguments)])


def test_a_photo_is_measured_and_three_files_are_left(portrait, small_weights, tmp_path, capsys):
    output = tmp_path / "new" / "out"
    options = ("--sides", "64, 48,512", "--keys", 1, "--profile", "fast", "--model", small_weights)
    assert sizes(portrait, *options, "--output", output) == 0
    said = capsys.readouterr().out
    assert "Model small, profile fast" in said
    assert f"{portrait}: 512 px left out: the face is 112 px there" in said
    assert {path.name for path in output.iterdir()} == {"sizes.csv", "sizes.json", "sheet.png"}
    rows = list(csv.DictReader(io.StringIO((output / "sizes.csv").read_text())))
    assert [(row["side"], row["outcome"], row["exact"]) for row in rows] == [
        ("48", "sealed", "True"),
        ("64", "sealed", "True"),
    ]
    content = json.loads((output / "sizes.json").read_text())
    assert [size["side"] for size in content["sides"]] == [48, 64]
    assert len(content["left_out"]) == 1
    table = [line.split() for line in said.splitlines()]
    assert table[0][:2] == ["side", "had"]
    assert [line[:3] for line in table[1:3]] == [["48", "48", "3"], ["64", "64", "4"]]


def test_what_cannot_be_measured_is_said_in_one_line_and_leaves_nothing(portrait, tmp_path, capsys):
    wall = tmp_path / "wall.png"
    Image.new("RGB", (128, 128), "grey").save(wall)
    torn = tmp_path / "torn.png"
    torn.write_bytes(portrait.read_bytes()[:5000])
    output = tmp_path / "out"
    for arguments, said in [
        ((wall,), "no face was found in"),
        ((torn,), "is damaged or truncated"),
        ((tmp_path / "none.png",), "does not exist"),
        ((portrait, "--sides", "256,512"), "no side can be measured"),
        ((portrait, "--sides", "16"), "whole numbers from 48 to 2048"),
        ((portrait, "--sides", "many"), "whole numbers from 48 to 2048"),
        ((portrait, "--sides", ""), "whole numbers from 48 to 2048"),
        ((portrait, "--profile", "finest"), "there is no profile 'finest'"),
        ((portrait, "--model", tmp_path / "no.safetensors"), "no.safetensors"),
        ((portrait, "--device", "abacus"), "abacus"),
    ]:
        assert sizes(*arguments, "--output", output) == 2
        complaint = capsys.readouterr()
        assert said in complaint.err
        assert len(complaint.err.splitlines()) == 1
        assert complaint.out == ""
        assert not list(output.glob("*"))


def test_a_file_in_place_of_the_folder_is_named(portrait, capsys):
    assert sizes(portrait, "--sides", "48", "--output", portrait) == 2
    assert "cannot be written" in capsys.readouterr().err
