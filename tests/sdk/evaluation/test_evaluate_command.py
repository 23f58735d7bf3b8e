"""The whole command on four people, with small networks beside dlib's and the face mesh."""

import csv
import io
import json
import zipfile

import pytest
import typer

from faceseal.cli.console import run
from faceseal.cli.measuring import PARTS, evaluate
from faceseal.evaluation.versions import Part


@pytest.fixture(scope="module")
def faceseal():
    app = typer.Typer()
    app.command()(evaluate)
    app.callback()(lambda: None)

    def invoke(*arguments):
        return run(app, ["evaluate", *(str(argument) for argument in arguments)])

    return invoke


@pytest.fixture(scope="module")
def evaluated(faceseal, pairs_file, tiny_weights, tiny_recognizer, tmp_path_factory):
    """The folder that a first run left, and its options."""
    output = tmp_path_factory.mktemp("evaluation") / "out"
    options = ("--pairs", pairs_file, "--recognizer", tiny_recognizer, "--model", tiny_weights, "--output", output)
    options += ("--profile", "fast", "--workers", 2, "--without", "speed")
    assert faceseal(*options) == 0
    return output, options


def files_of(output):
    (folder,) = output.glob("people-*")
    return {path.name: path for path in folder.iterdir()}


def test_all_reports_are_written(evaluated):
    output, _ = evaluated
    assert {path.name for path in output.iterdir() if path.is_file()} == {
        "rows.csv",
        "table.md",
        "table.json",
        "roc.png",
        "sheet.png",
    }
    rows = list(csv.DictReader(io.StringIO((output / "rows.csv").read_text())))
    assert [row["identity"] for row in rows] == ["collins", "hopper", "snilloc", "reppoh"]
    assert {row["exact"] for row in rows} == {"True"}
    assert {row["refused"] for row in rows} == {"True"}


def test_restored_faces_are_recognized_by_both_networks_and_the_baseline_stands_beside(evaluated):
    output, _ = evaluated
    figures = json.loads((output / "table.json").read_text())["figures"]
    assert set(figures["recognition"]) == {"fr_feature", "dlib"}
    for found in figures["recognition"].values():
        assert found["cosine"]["restored"] > 0.98
        assert found["cosine"]["restored"] > found["cosine"]["wrong key"]
        assert found["cosine"]["restored"] > found["cosine"]["baseline restored"]
        assert {"JPEG Q90", "resized to 90 %", "best of all keys"} <= set(found["acceptance"])
    fidelity = figures["fidelity"]
    assert fidelity["restored"]["median"] > 30
    assert fidelity["restored"]["median"] > fidelity["baseline restored"]["median"]
    assert figures["distinction"]["anonymized"]["pixels"]["of"] == 8


def test_a_run_goes_on_with_whoever_is_missing_or_damaged_and_measures_nobody_else(evaluated, faceseal):
    output, options = evaluated
    files = files_of(output)
    kept = {name: path.stat().st_mtime_ns for name, path in files.items() if name in ("00000.npz", "00003.npz")}
    files["00001.npz"].unlink()
    files["00002.npz"].write_bytes(files["00002.npz"].read_bytes()[:1000])
    assert faceseal(*options, "--without", "classifier") == 0
    again = files_of(output)
    assert set(again) == set(files)
    assert {name: again[name].stat().st_mtime_ns for name in kept} == kept
    assert again["00002.npz"].stat().st_size > 1000


def test_other_settings_start_anew_and_fresh_forgets(evaluated, faceseal, tmp_path):
    _, options = evaluated
    output = tmp_path / "out"
    few = (*options[:6], "--output", output, "--profile", "fast", "--limit", 1, "--workers", 1)
    parts = ("baseline", "robustness", "keys", "classifier", "speed")
    few += tuple(word for part in parts for word in ("--without", part))
    assert faceseal(*few) == 0
    (file,) = files_of(output).values()
    before = file.stat().st_mtime_ns
    assert faceseal(*few) == 0
    assert file.stat().st_mtime_ns == before
    assert faceseal(*few, "--fresh") == 0
    assert file.stat().st_mtime_ns > before
    assert faceseal(*few, "--guard", "0.999") == 0
    assert len(list(output.glob("people-*"))) == 2
    figures = json.loads((output / "table.json").read_text())["figures"]
    assert (figures["people"], figures["recognition"], figures["speed"]) == (1, {}, None)
    assert "JPEG Q90" not in figures["fidelity"]


def test_people_without_a_second_photo_are_judged_by_all_but_recognition(faceseal, pairs_file, evaluated, tmp_path):
    _, options = evaluated
    pairs, groups, output = tmp_path / "single.zip", tmp_path / "groups.csv", tmp_path / "out"
    groups.write_text("identity,group\ncollins,astronauts\n")
    with zipfile.ZipFile(pairs_file) as source, zipfile.ZipFile(pairs, "w") as archive:
        archive.writestr("collins.png", source.read("collins-1.png"))
        archive.writestr("pairs.csv", "identity,first,second\ncollins,collins.png,\n")
    few = ("--pairs", pairs, *options[2:6], "--output", output, "--profile", "fast", "--workers", 1, "--groups", groups)
    assert faceseal(*few, *(word for part in PARTS for word in ("--without", part))) == 0
    figures = json.loads((output / "table.json").read_text())["figures"]
    assert (figures["outcomes"], figures["recognition"]) == ({"sealed": 1}, {})
    (astronauts,) = [group for group in figures["groups"] if group["name"] == "astronauts"]
    assert astronauts["psnr"] > 30
    assert set(astronauts["cosine"]) == {"fr_feature", "dlib"}


def test_every_part_can_be_left_out():
    assert set(PARTS) == {part.value for part in Part}


def test_wrong_options_and_missing_files_are_named(faceseal, pairs_file, tiny_recognizer, tmp_path, capsys):
    options = ("--pairs", pairs_file, "--recognizer", tiny_recognizer, "--output", tmp_path / "out")
    for wrong, said in [
        (("--without", "sleep"), "there is no part 'sleep'"),
        (("--profile", "finest"), "there is no profile 'finest'"),
        (("--device", "abacus"), "cannot compute on 'abacus'"),
        (("--recognizer", tmp_path / "no.onnx"), "no.onnx cannot be read"),
        (("--model", tmp_path / "no.safetensors"), "no.safetensors"),
        (("--groups", tmp_path / "no.csv"), "columns identity and group"),
        (("--pairs", tmp_path / "no.zip"), "no.zip cannot be read"),
        (("--output", pairs_file), "cannot be written"),
    ]:
        assert faceseal(*options, *wrong) == 2
        assert said in capsys.readouterr().err
