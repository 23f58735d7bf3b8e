import matplotlib.cbook
import numpy as np
import pytest
from held_keys import portrait
from PIL import Image
from skimage.data import astronaut

from faceseal.faces.detector import detect_faces
from faceseal.faces.lips import find_lips
from faceseal.faces.pose import VIEW, face_view, find_poses


def grace_hopper() -> np.ndarray:
    with matplotlib.cbook.get_sample_data("grace_hopper.jpg") as file, Image.open(file) as image:
        return np.asarray(image.convert("RGB"))


def pose(pixels: np.ndarray) -> np.ndarray:
    face = max(detect_faces(pixels), key=lambda one: float(np.linalg.norm(one.landmarks[1] - one.landmarks[0])))
    return find_poses([pixels], [face.landmarks])[0]


def squeezed(photo: np.ndarray, side: str) -> np.ndarray:
    """The photo with one half of its face made narrower, as if the head were turned."""
    (face,) = detect_faces(photo)
    left, right = (int(x) for x in (face.landmarks[:, 0].min() - 40, face.landmarks[:, 0].max() + 40))
    nose = int(face.landmarks[2, 0])
    parts = {"left": photo[:, left:nose], "right": photo[:, nose:right]}
    height, width, _ = parts[side].shape
    parts[side] = np.asarray(Image.fromarray(parts[side]).resize((width * 3 // 5, height)))
    return np.concatenate([photo[:, :left], parts["left"], parts["right"], photo[:, right:]], axis=1)


def test_a_head_that_is_narrower_on_one_side_is_turned_that_way():
    photo = portrait()
    left, right = (pose(squeezed(photo, side))[1] for side in ("left", "right"))
    assert abs(left - right) > 10
    assert min(left, right) < pose(photo)[1] < max(left, right)


def test_a_mirrored_head_is_turned_the_other_way():
    photo = squeezed(portrait(), "left")
    own, mirrored = pose(photo), pose(np.ascontiguousarray(photo[:, ::-1]))
    assert abs(own[1]) > 4
    assert np.abs(mirrored - own * [1, -1, -1]).max() < 4


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_a_turned_photo_has_the_same_pose(turns):
    photo = portrait()
    assert np.linalg.norm(pose(np.ascontiguousarray(np.rot90(photo, turns))) - pose(photo)) < 3


def test_a_photo_of_another_size_has_the_same_pose():
    photo = portrait()
    smaller = np.asarray(Image.fromarray(photo).resize((128, 128), Image.Resampling.LANCZOS))
    assert np.linalg.norm(pose(smaller) - pose(photo)) < 4


def test_poses_of_several_photos_are_those_of_each():
    photos = [portrait(), grace_hopper()]
    landmarks = [detect_faces(photo)[0].landmarks for photo in photos]
    together = find_poses(photos, landmarks)
    assert together.shape == (2, 3)
    for photo, points, found in zip(photos, landmarks, together, strict=True):
        assert find_poses([photo], [points])[0] == pytest.approx(found, abs=1e-3)


def test_a_face_at_the_photos_edge_is_looked_at_all_the_same():
    photo = astronaut()
    landmarks = detect_faces(photo)[0].landmarks
    cut = photo[: int(landmarks[3:, 1].max()) + 2]
    view = face_view(cut, landmarks)
    assert view.shape == (3, VIEW, VIEW)
    assert -1 <= view.min() < view.max() <= 1
    assert np.isfinite(find_poses([cut], [landmarks])).all()


@pytest.mark.parametrize("scale", [3, 6, 8])
def test_a_large_face_looks_the_same_way_and_has_its_lips_in_the_same_place(scale):
    photo = portrait()
    (found,) = detect_faces(photo)
    points = found.landmarks
    large = np.asarray(Image.fromarray(photo).resize((256 * scale, 256 * scale), Image.Resampling.LANCZOS))
    pose, same_pose = find_poses([photo], [points])[0], find_poses([large], [points * scale])[0]
    assert np.linalg.norm(same_pose - pose) < 2
    assert np.abs(find_lips(large, points * scale) / scale - find_lips(photo, points)).max() < 1
