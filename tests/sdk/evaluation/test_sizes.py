"""One face at several sizes, with a small network; and what is computed of the pictures alone."""

import csv
import io
import json
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from skimage.data import astronaut

from faceseal import FAST, Photo
from faceseal.anonymizer.generator import open_model
from faceseal.anonymizer.placing import square_of
from faceseal.envelope.header import NONCE_BYTES, FaceRecord
from faceseal.errors import NoFaceFound
from faceseal.evaluation import sizereport
from faceseal.evaluation.fidelity import Fidelity
from faceseal.evaluation.sizes import Portrait, Reached, Try, measure_sizes
from faceseal.evaluation.texture import seam_ratio, sharpness
from faceseal.faces.detector import DetectedFace

REACHED = Reached(4, Fidelity(40.0, 0.99, 0.98), 42.0, True, 0.05, 1, 2.0, 0.8, 1.0, 1.1, 1.2)


@pytest.fixture(scope="module")
def portrait():
    return Portrait.of("collins", Photo(astronaut()[:256, 96:352]))


@pytest.fixture(scope="module")
def tries(portrait, tiny_weights):
    return list(measure_sizes([portrait], [48, 64, 192], 2, FAST, open_model(tiny_weights)))


def record(cell: int = 8, x: int = 0, y: int = 0) -> FaceRecord:
    mask = np.zeros((16, 16), dtype=bool)
    mask[4:12, 4:12] = True
    return FaceRecord(x, y, cell, mask, np.zeros((7, 2)), bytes(NONCE_BYTES), 0)


def in_cells(values: np.ndarray, cell: int = 8) -> np.ndarray:
    """A picture whose cells are (16, 16) flat values."""
    return np.repeat(values.repeat(cell, axis=0).repeat(cell, axis=1)[..., None], 3, axis=2)


def test_a_face_is_sealed_at_each_side_that_it_has_under_each_key(tries):
    assert [(one.side, one.key) for one in tries] == [(48, 1), (48, 2), (64, 1), (64, 2)]
    for one in tries:
        assert one.outcome == "sealed"
        assert one.reached.exact
        assert one.reached.side == one.side
        assert one.reached.fidelity.psnr > 30
        assert one.reached.carried >= one.reached.fidelity.psnr - 1


def test_the_pictures_shown_are_of_the_face_as_it_was_changed_and_came_back(tries):
    original, anonymized, restored = (pane.astype(float) for pane in tries[-1].panes)
    assert np.abs(anonymized - original).mean() > 4 * np.abs(restored - original).mean()


def test_a_photo_is_never_enlarged_and_the_reason_is_said(portrait):
    assert portrait.why_not(112) is None
    assert portrait.at(112)[0].pixels.shape[0] <= 256
    assert portrait.why_not(128) == "the face is 112 px there, and nothing is enlarged"
    (line,) = sizereport.left_out([portrait], [64, 128])
    assert line.startswith("collins: 128 px left out: the face is 112 px")


def test_a_side_that_would_make_the_photo_too_small_is_left_out():
    cut = Portrait.of("cut", Photo(astronaut()[60:200, 160:300]))
    assert cut.why_not(48) == "the photo would be smaller than 64 px"
    assert cut.why_not(64) is None


def test_a_face_that_fills_its_photo_gets_the_side_that_the_photo_allows():
    pixels = np.zeros((200, 160, 3), dtype=np.uint8)
    landmarks = np.array([[40.0, 70.0], [120.0, 70.0], [80.0, 110.0], [50.0, 150.0], [110.0, 150.0]])
    filling = Portrait("filling", Photo(pixels), DetectedFace((20.0, 20.0, 140.0, 180.0), 0.9, landmarks))
    assert filling.side == 160
    assert filling.at(80)[0].pixels.shape[:2] == (100, 80)


def test_a_grey_photo_and_its_colour_profile_keep_their_kind(portrait):
    grey = np.repeat(portrait.photo.pixels[..., :1], 3, axis=2)
    of_grey = replace(portrait, photo=Photo(grey, was_grayscale=True, color_profile=b"profile"))
    photo, face = of_grey.at(64)
    assert photo.was_grayscale
    assert photo.color_profile == b"profile"
    assert face is not None


def test_a_photo_without_a_face_is_refused_by_name():
    with pytest.raises(NoFaceFound, match="no face was found in wall"):
        Portrait.of("wall", Photo(np.full((128, 128, 3), 90, dtype=np.uint8)))


def test_a_face_that_the_detector_misses_once_it_is_small_is_a_row_without_figures(portrait, tiny_weights):
    elsewhere = portrait.face.landmarks + np.array([0.0, 120.0])
    hidden = replace(portrait, face=replace(portrait.face, landmarks=elsewhere))
    (one,) = measure_sizes([hidden], [64], 1, FAST, open_model(tiny_weights))
    assert (one.outcome, one.reached) == ("NoFaceFound", None)


def test_borders_of_cells_are_told_from_what_is_within_them():
    random = np.random.default_rng(0)
    noise = random.integers(0, 255, (128, 128, 3)).astype(np.uint8)
    assert seam_ratio(noise, record()) == pytest.approx(1.0, abs=0.02)
    blocky = in_cells(random.integers(0, 100, (16, 16))) + noise // 10
    assert seam_ratio(blocky.astype(np.uint8), record()) > 3
    shifted = np.roll(blocky, (4, 4), axis=(0, 1)).astype(np.uint8)
    assert seam_ratio(shifted, record()) < 1


def test_seams_and_sharpness_are_those_of_the_masked_cells_alone():
    picture = np.random.default_rng(1).integers(0, 255, (160, 160, 3)).astype(np.uint8)
    other = picture.copy()
    other[:40] = 0
    moved = record(x=16, y=16)
    assert square_of(moved).side == 128
    assert seam_ratio(other, moved) == seam_ratio(picture, moved)
    assert sharpness(other, moved) == sharpness(picture, moved)


def test_a_softened_picture_is_less_sharp():
    picture = astronaut()[40:168, 160:288]
    soft = np.asarray(Image.fromarray(picture).resize((64, 64)).resize((128, 128), Image.Resampling.BICUBIC))
    assert sharpness(soft, record()) < 0.6 * sharpness(picture, record())


def test_figures_are_of_sealed_faces_and_the_others_are_counted():
    worse = replace(REACHED, fidelity=Fidelity(30.0, 0.9, 0.8), landmark_distance=None, attempts=3)
    tries = [
        Try("a", 64, 1, "sealed", REACHED),
        Try("b", 64, 1, "sealed", worse),
        Try("c", 64, 1, "FidelityTooLow", None),
        Try("a", 48, 1, "FidelityTooLow", None),
    ]
    none, some = sizereport.by_side(tries)
    assert (some.sealed.count, some.sealed.of) == (2, 3)
    assert (some.psnr, some.least, some.attempts) == (35.0, 30.0, 2.0)
    assert (some.detected.count, some.detected.of, some.landmark_distance) == (1, 2, 0.05)
    first, second = sizereport.table([none, some])
    assert first[:5] == ("48", "-", "-", "0 of 1", "-")
    assert second[:5] == ("64", "64", "4", "2 of 3", "35.0")
    assert len(first) == len(sizereport.HEADER)
    content = json.loads(sizereport.as_json([none, some], "about", ["left out"]))
    assert content["sides"][0]["psnr"] is None
    rows = list(csv.DictReader(io.StringIO(sizereport.as_csv(tries).decode())))
    assert [row["outcome"] for row in rows] == ["sealed", "sealed", "FidelityTooLow", "FidelityTooLow"]
    assert [row["detected"] for row in rows] == ["True", "False", "", ""]
    assert rows[0]["psnr"] == "40.0"


def test_the_sheet_has_a_row_for_each_photo_and_side_and_room_for_three_keys(tries):
    with Image.open(io.BytesIO(sizereport.sheet(tries))) as two_keys:
        assert two_keys.size == (170 + 4 * 320, 28 + 2 * 320)
        first_row = np.asarray(two_keys)[28:348, 170:].reshape(320, 4, 320, 3).swapaxes(0, 1)
    original, one_key, another_key, restored = first_row
    assert np.array_equal(original, tries[0].panes[0])
    assert np.array_equal(one_key, tries[0].panes[1])
    assert np.array_equal(another_key, tries[1].panes[1])
    assert np.array_equal(restored, tries[0].panes[2])
    many = [replace(tries[0], key=key) for key in range(1, 6)] + [Try("other", 64, 1, "NoFaceFound", None)]
    with Image.open(io.BytesIO(sizereport.sheet(many))) as five_keys:
        assert five_keys.size == (170 + 5 * 320, 28 + 2 * 320)
        assert (np.asarray(five_keys)[28 + 320 :, 170:] == 255).all()
