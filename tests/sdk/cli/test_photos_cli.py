"""The command line on photos: what users type, and what bad input gets."""

import io
import json
from uuid import uuid4

import numpy as np
import pytest
from PIL import Image
from skimage.data import astronaut

from faceseal.anonymizer.generator import default_model
from faceseal.cli import app
from faceseal.cli.console import run
from faceseal.model import VelocityNetwork, load_model, save_model
from faceseal.weights import PACKAGED


def portrait() -> Image.Image:
    return Image.fromarray(astronaut()[:256, 96:352])


@pytest.fixture(autouse=True)
def passphrase(monkeypatch):
    monkeypatch.setenv("FACESEAL_PASSPHRASE", "correct horse")


@pytest.fixture(scope="module")
def sealed(tmp_path_factory):
    """A folder with photo.png, its sealed copies and their keyring, made by the command line."""
    folder = tmp_path_factory.mktemp("sealed")
    portrait().save(folder / "photo.png")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FACESEAL_PASSPHRASE", "correct horse")
        common = ["--keyring", str(folder / "keys.json"), "--profile", "fast"]
        photo = str(folder / "photo.png")
        whole = [photo, str(folder / "sealed.png"), "--header", str(folder / "sealed.header"), *common]
        assert run(app, ["anonymize", *whole]) == 0
        assert run(app, ["anonymize", photo, str(folder / "bare.png"), "--no-capsule", *common]) == 0
    return folder


def restore(folder, *arguments) -> int:
    return run(app, ["restore", *map(str, arguments), "--keyring", str(folder / "keys.json")])


def assert_refused(code: int, capsys, words: str) -> None:
    captured = capsys.readouterr()
    complaints = [line for line in captured.err.splitlines() if not line.endswith(" ...")]
    assert code == 2
    assert len(complaints) == 1
    assert words in complaints[0]
    assert captured.out == ""


def test_a_photo_is_sealed_and_restored_bit_exact(sealed, tmp_path, capsys):
    assert restore(sealed, sealed / "sealed.png", tmp_path / "back.png") == 0
    assert "exactly, from the capsule" in capsys.readouterr().out
    assert np.array_equal(np.asarray(Image.open(tmp_path / "back.png")), np.asarray(portrait()))


def test_pixels_alone_restore_and_the_output_says_so(sealed, tmp_path, capsys):
    assert restore(sealed, sealed / "sealed.png", tmp_path / "back.png", "--from-pixels") == 0
    assert "as measured when sealed" in capsys.readouterr().out


def test_a_header_file_makes_up_for_stripped_metadata(sealed, tmp_path):
    Image.open(sealed / "sealed.png").save(tmp_path / "stripped.png")
    header = ["--header", sealed / "sealed.header"]
    assert restore(sealed, tmp_path / "stripped.png", tmp_path / "back.png", *header) == 0


def test_inspect_tells_what_the_file_says_about_itself(sealed, capsys):
    assert run(app, ["inspect", str(sealed / "sealed.png"), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["pixels_intact"] is True
    assert said["keyed_map"] == "rotation"
    assert said["guidance"] == "1.6 from 0.75 to 0.2, shifted by 0.3"
    assert len(said["faces"]) == 1
    assert run(app, ["inspect", str(sealed / "sealed.png")]) == 0
    assert said["key"] in capsys.readouterr().out


def test_verify_checks_with_and_without_a_key(sealed, capsys):
    assert run(app, ["verify", str(sealed / "sealed.png")]) == 0
    assert "takes the key" in capsys.readouterr().out
    assert run(app, ["verify", str(sealed / "sealed.png"), "--keyring", str(sealed / "keys.json")]) == 0
    assert "untouched" in capsys.readouterr().out


def save(kind: str, path) -> None:
    image = portrait()
    if kind == "truncated":
        buffer = io.BytesIO()
        image.save(buffer, "PNG")
        path.write_bytes(buffer.getvalue()[:20_000])
    elif kind == "not an image":
        path.write_text("Dear reader")
    elif kind == "16-bit":
        Image.fromarray(np.zeros((128, 128), np.uint16)).save(path, "PNG")
    elif kind == "animated":
        image.save(path, "WEBP", save_all=True, append_images=[image.rotate(90)])
    elif kind == "CMYK":
        image.convert("CMYK").save(path, "JPEG")
    elif kind == "palette":
        image.quantize(64).save(path, "PNG")
    elif kind == "alpha":
        image.convert("RGBA").save(path, "PNG")
    elif kind == "1x1":
        Image.new("RGB", (1, 1)).save(path, "PNG")
    elif kind == "100 megapixels":
        Image.new("L", (10_000, 10_000)).save(path, "PNG")
    elif kind == "no face":
        Image.new("RGB", (256, 256), "teal").save(path, "PNG")


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("not an image", "not a JPEG, PNG"),
        ("truncated", "truncated"),
        ("16-bit", "16-bit"),
        ("CMYK", "CMYK"),
        ("palette", "palette"),
        ("alpha", "transparency"),
        ("animated", "animated"),
        ("1x1", "1 x 1"),
        ("100 megapixels", "megapixels"),
        ("no face", "no face"),
        ("missing", "does not exist"),
    ],
)
def test_a_bad_photo_gets_one_line_and_nothing_is_written(tmp_path, capsys, kind, words):
    save(kind, tmp_path / "photo")
    before = set(tmp_path.iterdir())
    arguments = [str(tmp_path / "photo"), str(tmp_path / "out.png"), "--keyring", str(tmp_path / "keys.json")]
    assert_refused(run(app, ["anonymize", *arguments]), capsys, words)
    assert set(tmp_path.iterdir()) - before <= {tmp_path / "keys.json.lock"}


def test_a_file_is_named_as_it_is_spelled(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "README.md").write_text("Dear reader")
    assert_refused(run(app, ["anonymize", "README.md", "out.png", "--keyring", "k"]), capsys, "faceseal: README.md is")


def altered(sealed, change: str) -> bytes:
    content = bytearray((sealed / "sealed.png").read_bytes())
    header, capsule = content.index(b"fsHD"), content.index(b"fsCP")
    if change == "length field":
        content[header - 4] ^= 0x40
        return bytes(content)
    if change == "pixels":
        from faceseal.anonymizer.sealed import encode_png
        from faceseal.envelope.png import embed, extract

        chunks = extract(bytes(content))
        pixels = np.array(Image.open(sealed / "sealed.png"))
        pixels[0, 0] ^= 255
        return embed(encode_png(pixels), chunks.header, chunks.capsule)
    import struct
    import zlib

    at = {"header": header, "capsule": capsule}[change]
    (length,) = struct.unpack_from(">I", content, at - 4)
    content[at + 4 + length - 40] ^= 1
    struct.pack_into(">I", content, at + 4 + length, zlib.crc32(content[at : at + 4 + length]))
    return bytes(content)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("pixels", "altered after sealing"),
        ("header", "header was altered"),
        ("capsule", "capsule was altered"),
        ("length field", "length field"),
    ],
)
def test_an_altered_file_is_reported_as_what_it_is(sealed, tmp_path, capsys, change, words):
    (tmp_path / "sealed.png").write_bytes(altered(sealed, change))
    assert_refused(restore(sealed, tmp_path / "sealed.png", tmp_path / "out.png"), capsys, words)
    assert not (tmp_path / "out.png").exists()


@pytest.mark.parametrize(
    ("change", "words"), [("pixels", "pixels"), ("header", "header was altered"), ("capsule", "capsule was altered")]
)
def test_verify_refuses_what_was_altered(sealed, tmp_path, capsys, change, words):
    path = tmp_path / "altered.png"
    path.write_bytes(altered(sealed, change))
    assert_refused(run(app, ["verify", str(path), "--keyring", str(sealed / "keys.json")]), capsys, words)
    if change == "pixels":
        assert_refused(run(app, ["verify", str(path)]), capsys, words)


def test_a_photo_that_was_never_sealed_is_said_to_be_one(sealed, tmp_path, capsys):
    assert_refused(restore(sealed, sealed / "photo.png", tmp_path / "out.png"), capsys, "never sealed")


def test_another_models_file_names_both(sealed, tmp_path, capsys):
    save_model(tmp_path / "other.safetensors", VelocityNetwork(), default_model().klt, "other")
    code = restore(sealed, sealed / "bare.png", tmp_path / "out.png", "--model", tmp_path / "other.safetensors")
    assert_refused(code, capsys, default_model().digest.hex()[:16])


def test_a_wrong_key_is_refused_and_forced_shows_somebody(sealed, tmp_path, capsys):
    from faceseal import LocalKeyring

    other = LocalKeyring(sealed / "keys.json", "correct horse").create().key_id
    wrong = [sealed / "sealed.png", tmp_path / "out.png", "--key", other]
    assert_refused(restore(sealed, *wrong), capsys, "add --force")
    assert not (tmp_path / "out.png").exists()
    assert restore(sealed, *wrong, "--force") == 0
    assert "nobody knows how well" in capsys.readouterr().out
    assert (tmp_path / "out.png").exists()


def test_a_wrong_passphrase_is_refused(sealed, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("FACESEAL_PASSPHRASE", "battery staple")
    assert_refused(restore(sealed, sealed / "sealed.png", tmp_path / "out.png"), capsys, "passphrase")


def test_a_server_that_is_down_is_said_to_be(sealed, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("FACESEAL_TOKEN", "a.b.c")
    arguments = ["restore", str(sealed / "sealed.png"), str(tmp_path / "out.png"), "--server", "http://127.0.0.1:9"]
    assert_refused(run(app, [*arguments, "--grant", str(uuid4())]), capsys, "127.0.0.1:9")


def test_an_existing_output_is_kept_unless_told_otherwise(sealed, tmp_path, capsys):
    (tmp_path / "out.png").write_text("precious")
    assert_refused(restore(sealed, sealed / "sealed.png", tmp_path / "out.png"), capsys, "--overwrite")
    assert (tmp_path / "out.png").read_text() == "precious"
    assert restore(sealed, sealed / "sealed.png", tmp_path / "out.png", "--overwrite") == 0


def test_a_missing_folder_is_named(sealed, tmp_path, capsys):
    assert_refused(restore(sealed, sealed / "sealed.png", tmp_path / "none" / "out.png"), capsys, "folder")


def test_an_unknown_profile_lists_those_there_are(sealed, tmp_path, capsys):
    arguments = [str(sealed / "photo.png"), str(tmp_path / "out.png"), "--keyring", "k", "--profile", "slow"]
    assert_refused(run(app, ["anonymize", *arguments]), capsys, "fast, default, best")


def test_a_device_that_is_not_there_is_named_before_keys_are_asked_for(sealed, tmp_path, capsys, monkeypatch):
    monkeypatch.delenv("FACESEAL_PASSPHRASE")
    arguments = [str(sealed / "photo.png"), str(tmp_path / "out.png"), "--keyring", str(tmp_path / "keys.json")]
    assert_refused(run(app, ["anonymize", *arguments, "--device", "abacus"]), capsys, "cannot compute on 'abacus'")
    assert list(tmp_path.iterdir()) == []
    code = restore(sealed, sealed / "sealed.png", tmp_path / "out.png", "--from-pixels", "--device", "abacus")
    assert_refused(code, capsys, "cannot compute on 'abacus'")


def test_the_packaged_model_computes_on_the_device_that_is_named(sealed, tmp_path, monkeypatch):
    opened = []
    monkeypatch.setattr("faceseal.model.load_model", lambda *where: opened.append(where) or load_model(*where))
    assert restore(sealed, sealed / "sealed.png", tmp_path / "out.png", "--from-pixels", "--device", "cpu:0") == 0
    assert opened == [(PACKAGED, "cpu:0")]


def test_one_source_of_keys_must_be_named(sealed, tmp_path, capsys):
    code = run(app, ["restore", str(sealed / "sealed.png"), str(tmp_path / "out.png")])
    assert_refused(code, capsys, "--server URL or --keyring PATH")


def test_training_on_nothing_is_refused(tmp_path, capsys):
    code = run(app, ["train", str(tmp_path), "--output", str(tmp_path / "run")])
    assert_refused(code, capsys, "no photo with a face")


def test_training_on_a_device_that_is_not_there_is_refused_before_faces_are_read(tmp_path, capsys):
    code = run(app, ["train", str(tmp_path), "--output", str(tmp_path / "run"), "--device", "abacus"])
    assert_refused(code, capsys, "cannot compute on 'abacus'")


def test_evaluating_what_is_no_archive_is_refused(tmp_path, capsys):
    (tmp_path / "pairs.zip").write_text("no")
    (tmp_path / "net.onnx").write_text("no")
    arguments = ["--pairs", tmp_path / "pairs.zip", "--recognizer", tmp_path / "net.onnx", "--output", tmp_path / "out"]
    assert_refused(run(app, ["evaluate", *map(str, arguments)]), capsys, "not an archive of pairs")
