import matplotlib.cbook
import numpy as np
import pytest
from held_keys import portrait
from PIL import Image

from faceseal.faces.detector import detect_faces
from faceseal.faces.looks import find_looks


def grace_hopper() -> np.ndarray:
    with matplotlib.cbook.get_sample_data("grace_hopper.jpg") as file, Image.open(file) as image:
        return np.asarray(image.convert("RGB"))


def landmarks(photo: np.ndarray) -> np.ndarray:
    return detect_faces(photo)[0].landmarks


def test_grace_hopper_at_78_looks_older_than_eileen_collins_at_about_43():
    photos = [portrait(), grace_hopper()]
    (_, younger), (_, elder) = find_looks(photos, [landmarks(photo) for photo in photos])
    assert 20 < younger < 55 < elder < 95


@pytest.mark.parametrize("turns", [0, 1, 2, 3])
def test_looks_change_little_when_a_photo_is_mirrored_turned_or_resized(turns):
    photo = portrait()
    changed = np.ascontiguousarray(np.rot90(photo[:, ::-1], turns))
    smaller = np.asarray(Image.fromarray(photo).resize((128, 128), Image.Resampling.LANCZOS))
    photos = [photo, changed, smaller]
    looks = find_looks(photos, [landmarks(one) for one in photos])
    assert np.ptp(looks[:, 0]) < 0.3
    assert np.ptp(looks[:, 1]) < 12


def test_looks_of_several_photos_are_those_of_each():
    photos = [portrait(), grace_hopper()]
    points = [landmarks(photo) for photo in photos]
    together = find_looks(photos, points)
    assert together.shape == (2, 2)
    for photo, five, found in zip(photos, points, together, strict=True):
        assert find_looks([photo], [five])[0] == pytest.approx(found, abs=1e-3)
