import numpy as np
import pytest
from PIL import Image
from skimage.data import astronaut

from faceseal.anonymizer.resized import brought_back

PHOTO = astronaut()[:301, 90:353]


def copy_of(width: int, height: int, kernel: Image.Resampling = Image.Resampling.LANCZOS) -> np.ndarray:
    return np.array(Image.fromarray(PHOTO).resize((width, height), kernel))


def error(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.sqrt(np.mean((one.astype(float) - other) ** 2)))


@pytest.mark.parametrize(("width", "height"), [(237, 271), (184, 211), (66, 75), (526, 602)])
def test_a_copy_comes_back_in_the_photos_size(width, height):
    assert brought_back(copy_of(width, height), 263, 301).shape == PHOTO.shape


@pytest.mark.parametrize("share", [0.9, 0.7, 0.5])
def test_it_comes_nearer_than_resampling_alone(share):
    copy = copy_of(round(263 * share), round(301 * share))
    resampled = np.array(Image.fromarray(copy).resize((263, 301), Image.Resampling.LANCZOS))
    assert error(brought_back(copy, 263, 301), PHOTO) < 0.97 * error(resampled, PHOTO)


def test_a_copy_made_with_another_kernel_is_not_spoiled():
    copy = copy_of(237, 271, Image.Resampling.BICUBIC)
    resampled = np.array(Image.fromarray(copy).resize((263, 301), Image.Resampling.LANCZOS))
    assert error(brought_back(copy, 263, 301), PHOTO) <= 1.02 * error(resampled, PHOTO)


def test_a_plain_copy_stays_plain():
    assert (brought_back(np.full((9, 12, 3), 200, np.uint8), 24, 18) == 200).all()
