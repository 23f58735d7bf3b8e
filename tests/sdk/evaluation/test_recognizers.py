import numpy as np
import pytest
from PIL import Image
from skimage.data import astronaut

from faceseal.cli import app
from faceseal.cli.console import run
from faceseal.errors import MissingDependency, ModelError
from faceseal.evaluation import recognition
from faceseal.evaluation.recognition import SIDE, TEMPLATE, DlibSource, OnnxSource, align, guard_with, similarity
from faceseal.faces.detector import detect_faces


def test_a_similarity_is_recovered_from_its_points():
    turn = 1.7 * np.array([[np.cos(0.3), -np.sin(0.3)], [np.sin(0.3), np.cos(0.3)]])
    found = similarity(TEMPLATE, TEMPLATE @ turn.T + [5.0, -7.0])
    assert np.allclose(found[:, :2], turn)
    assert np.allclose(found[:, 2], [5.0, -7.0])


def test_a_crop_puts_the_landmarks_where_arcface_wants_them():
    pixels = np.zeros((300, 300, 3), dtype=np.uint8)
    landmarks = TEMPLATE * 1.5 + [40, 60]
    for x, y in landmarks:
        pixels[round(y) - 2 : round(y) + 3, round(x) - 2 : round(x) + 3] = 255
    crop = align(pixels, landmarks)
    assert crop.shape == (SIDE, SIDE, 3)
    for x, y in TEMPLATE:
        assert crop[int(y), int(x)].min() > 100


def test_an_onnx_networks_embeddings_are_unit_vectors_one_per_photo(tiny_recognizer):
    photos = [astronaut(), astronaut()[:, ::-1]]
    found = OnnxSource(tiny_recognizer).load().embed(photos, TEMPLATE + 150)
    assert found.shape == (2, 192)
    assert np.allclose(np.linalg.norm(found, axis=1), 1.0)
    assert not np.allclose(found[0], found[1])


def test_dlib_knows_a_person_again_and_tells_her_from_another(pairs_file):
    from faceseal.evaluation.pairs import read_pairs

    source = DlibSource()
    recognizer, faces = source.load(), []
    for pair in list(read_pairs(pairs_file))[:2]:
        for photo in (pair.first, pair.second):
            (face, *_) = detect_faces(photo.pixels)
            faces.append(recognizer.embed([photo.pixels], face.landmarks)[0])
    collins, again, hopper, _ = (face[None] for face in faces)
    assert collins.shape == (1, 128)
    assert source.likeness(collins, again) > -0.4
    assert source.likeness(collins, hopper) < -0.6


def test_dlib_sees_the_face_and_not_the_rest_of_the_photo():
    recognizer = DlibSource().load()
    photo = astronaut()[20:220, 130:330]
    (face, *_) = detect_faces(photo)
    changed = photo.copy()
    changed[:8], changed[-8:] = 0, 255
    found = recognizer.embed([photo, changed, photo[::-1]], face.landmarks)
    assert np.linalg.norm(found[0] - found[1]) < 0.1
    assert np.linalg.norm(found[0] - found[2]) > 0.4


def test_a_missing_or_foreign_network_file_is_named(tmp_path):
    with pytest.raises(ModelError, match=r"nowhere.onnx.*--recognizer"):
        OnnxSource(tmp_path / "nowhere.onnx").digest()
    (tmp_path / "text.onnx").write_text("not a network")
    with pytest.raises(ModelError, match=r"text.onnx is not"):
        OnnxSource(tmp_path / "text.onnx").load()


def test_without_dlibs_models_the_missing_extra_is_named(monkeypatch):
    monkeypatch.setattr(recognition, "find_spec", lambda _: None)
    with pytest.raises(MissingDependency, match=r"faceseal\[evaluate\]"):
        DlibSource().load()


def test_a_guard_gives_the_networks_own_score(tiny_recognizer):
    source = OnnxSource(tiny_recognizer)
    network = source.load()
    guard = guard_with(network, source.likeness, 0.3)
    photo = astronaut()
    other = np.ascontiguousarray(photo[::-1])
    landmarks = detect_faces(photo)[0].landmarks
    one, two = network.embed([photo, other], landmarks)
    assert guard.likeness(photo, photo, landmarks) == pytest.approx(1.0)
    assert guard.likeness(photo, other, landmarks) == pytest.approx(float(one @ two))
    assert guard.most_alike == 0.3


def test_the_command_line_hands_out_no_face_that_its_recognizer_takes_for_the_original(
    tiny_recognizer, tmp_path, monkeypatch, capsys
):
    monkeypatch.setenv("FACESEAL_PASSPHRASE", "correct horse")
    Image.fromarray(astronaut()[:256, 96:352]).save(tmp_path / "photo.png")
    files = [str(tmp_path / "photo.png"), str(tmp_path / "sealed.png"), "--keyring", str(tmp_path / "keys.json")]
    guard = ["--recognizer", str(tiny_recognizer), "--profile", "fast", "--most-alike"]
    assert run(app, ["anonymize", *files, *guard, "-1.0"]) == 2
    assert "like its origin" in capsys.readouterr().err
    assert not (tmp_path / "sealed.png").exists()
    assert run(app, ["anonymize", *files, *guard, "1.0"]) == 0
    assert "rounds of faces drawn" in capsys.readouterr().out


def test_a_guard_whose_network_is_missing_is_refused_before_anything_is_made(tmp_path, capsys):
    Image.fromarray(astronaut()).save(tmp_path / "photo.png")
    files = [str(tmp_path / "photo.png"), str(tmp_path / "sealed.png"), "--keyring", str(tmp_path / "keys.json")]
    assert run(app, ["anonymize", *files, "--recognizer", str(tmp_path / "none.onnx")]) == 2
    assert "none.onnx" in capsys.readouterr().err
