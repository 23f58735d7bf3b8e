import matplotlib.cbook
import numpy as np
import pytest
from PIL import Image
from skimage.data import astronaut

from faceseal.faces.detector import detect_faces
from faceseal.faces.lips import VIEW, find_lips, in_photo, in_view, mouth_view


def grace_hopper() -> np.ndarray:
    with matplotlib.cbook.get_sample_data("grace_hopper.jpg") as file, Image.open(file) as image:
        return np.asarray(image.convert("RGB"))


def opening(pixels: np.ndarray) -> float:
    """Gap between the lips in eye distances, positive if the lower lip is below."""
    (face,) = detect_faces(pixels)
    upper, lower = find_lips(pixels, face.landmarks)
    eyes = face.landmarks[1] - face.landmarks[0]
    down = np.array([-eyes[1], eyes[0]]) / np.linalg.norm(eyes)
    return float((lower - upper) @ down / np.linalg.norm(eyes))


def test_a_smile_that_shows_teeth_is_open_and_closed_lips_are_not():
    assert opening(astronaut()[:300, 100:400]) > 0.12
    assert opening(grace_hopper()) < 0.06


def test_the_lips_lie_between_the_mouth_corners():
    photo = astronaut()
    face = detect_faces(photo)[0]
    lips = find_lips(photo, face.landmarks).mean(axis=0)
    corners = face.landmarks[3:5]
    assert np.linalg.norm(lips - corners.mean(axis=0)) < 0.5 * np.linalg.norm(corners[1] - corners[0])


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_a_turned_photo_has_the_same_lips(turns):
    photo = astronaut()[:256, 96:352]
    assert opening(np.ascontiguousarray(np.rot90(photo, turns))) == pytest.approx(opening(photo), abs=0.05)


@pytest.mark.parametrize("scale", [0.5, 3.0])
def test_a_photo_of_another_size_has_the_same_lips(scale):
    photo = astronaut()[:256, 96:352]
    size = round(256 * scale)
    scaled = np.asarray(Image.fromarray(photo).resize((size, size), Image.Resampling.LANCZOS))
    assert opening(scaled) == pytest.approx(opening(photo), abs=0.06)


def test_positions_in_the_view_and_in_the_photo_are_inverse():
    photo = astronaut()
    view, place = mouth_view(photo, detect_faces(photo)[0].landmarks)
    assert view.shape == (3, VIEW, VIEW)
    assert -1 <= view.min() < view.max() <= 1
    points = np.array([[-0.5, 0.25], [0.0, 0.75]])
    assert in_view(in_photo(points, place), place) == pytest.approx(points)


def test_a_mouth_at_the_photos_edge_is_looked_at_all_the_same():
    photo = astronaut()
    landmarks = detect_faces(photo)[0].landmarks
    cut = photo[: int(landmarks[3:, 1].max()) + 2]
    assert np.isfinite(find_lips(cut, landmarks)).all()
