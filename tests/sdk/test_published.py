from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from skimage.data import astronaut

from faceseal import published
from faceseal.anonymizer.generator import default_model
from faceseal.exchange import Face
from faceseal.model import Condition, FaceModel

MASK = np.zeros((16, 16), dtype=bool)
MASK[3:15, 3:13] = True


class GentleModel(FaceModel):
    """The packaged latent under a field so smooth that explicit inversion is nearly exact."""

    def velocity(self, state: torch.Tensor, time: float, condition: Condition) -> torch.Tensor:
        around = torch.nn.functional.avg_pool2d(state, 3, stride=1, padding=1)
        return 0.4 * torch.sin(around + time) * condition.mask


@pytest.fixture(scope="module")
def gentle():
    packaged = default_model()
    return GentleModel(packaged.network, packaged.klt, bytes(32), "gentle")


def face(cell: int = 8, seed: int = 1) -> Face:
    head = Image.fromarray(astronaut()[40:168, 160:288]).resize((16 * cell, 16 * cell), Image.Resampling.LANCZOS)
    points = np.full((7, 2), 8.0)
    return Face(np.asarray(head), MASK, np.ones((16, 16), bool), points, bytes([seed]) * 32, bytes([7]) * 32)


def decibel(one: np.ndarray, other: np.ndarray) -> float:
    return 10 * np.log10(255**2 / np.mean((one.astype(float) - other) ** 2))


def test_the_same_signs_restore_where_explicit_inversion_is_accurate(gentle):
    original = face()
    inside = original.masked_pixels
    (made,) = published.anonymize(gentle, [original])
    (right,) = published.restore(gentle, [replace(original, square=made)])
    (wrong,) = published.restore(gentle, [replace(original, square=made, stream_key=bytes(32))])
    assert decibel(made[inside], original.square[inside]) < 20
    assert decibel(right[inside], original.square[inside]) > decibel(wrong[inside], original.square[inside]) + 5
    assert decibel(right[inside], original.square[inside]) > 20


def test_more_steps_restore_better(gentle):
    original = face()
    inside = original.masked_pixels
    reached = []
    for steps in (2, 50):
        (made,) = published.anonymize(gentle, [original], steps)
        (back,) = published.restore(gentle, [replace(original, square=made)], steps)
        reached.append(decibel(back[inside], original.square[inside]))
    assert reached[1] > reached[0]


@pytest.mark.parametrize("cell", [5, 8, 12])
def test_pixels_outside_the_mask_are_untouched(cell):
    original = face(cell)
    (made,) = published.anonymize(default_model(), [original], steps=3)
    assert np.array_equal(made[~original.masked_pixels], original.square[~original.masked_pixels])
    assert (made != original.square).any()


def test_another_key_gives_another_face():
    (one,), (other,) = (published.anonymize(default_model(), [face(seed=seed)], steps=6) for seed in (1, 2))
    assert decibel(one[face().masked_pixels], other[face().masked_pixels]) < 25


def test_the_background_bears_on_the_new_face():
    """Unlike in our own scheme it does so through its whole trajectory; cells beyond the photo do not."""
    inside = np.ones((16, 16), dtype=bool)
    inside[:, :3] = False
    original = replace(face(), inside=inside)
    pixels = np.repeat(np.repeat(inside, 8, axis=0), 8, axis=1)[..., None]
    beyond = replace(original, square=np.where(pixels, original.square, 255 - original.square))
    around = replace(original, square=np.where(face().masked_pixels[..., None], original.square, 128).astype(np.uint8))
    results = [published.anonymize(default_model(), [f], steps=4)[0] for f in (original, beyond, around)]
    masked = original.masked_pixels
    assert np.array_equal(results[0][masked], results[1][masked])
    assert not np.array_equal(results[0][masked], results[2][masked])


def test_a_batch_gives_each_face_what_it_gets_alone():
    one, other = face(seed=1), face(cell=5, seed=2)
    together = published.anonymize(default_model(), [one, other], steps=3)
    alone = published.anonymize(default_model(), [other], steps=3)
    assert np.mean(together[1] != alone[0]) < 0.02
