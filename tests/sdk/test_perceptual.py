"""The hash of what a photo looks like: copies are near, other photos are not."""

import io
import json
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from skimage import data

from faceseal.perceptual import HASH_BYTES, hamming_distance, perceptual_hash

FARTHEST = 10
VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "perceptual-hash.json").read_text())
PHOTOS = {
    "portrait": data.astronaut(),
    "cat": data.chelsea(),
    "cup": data.coffee(),
    "rocket": data.rocket(),
    "cameraman": np.stack([data.camera()] * 3, axis=-1),
    "coins": np.stack([data.coins()] * 3, axis=-1),
}


def coded(image, kind, **options):
    file = io.BytesIO()
    image.save(file, kind, **options)
    return Image.open(file).convert("RGB")


def scaled(image, factor):
    return image.resize([round(side * factor) for side in image.size], Image.Resampling.LANCZOS)


COPIES = {
    "JPEG 75": lambda image: coded(image, "JPEG", quality=75),
    "JPEG 20": lambda image: coded(image, "JPEG", quality=20),
    "WebP 40": lambda image: coded(image, "WEBP", quality=40),
    "half": lambda image: scaled(image, 0.5),
    "quarter, JPEG 50": lambda image: coded(scaled(image, 0.25), "JPEG", quality=50),
    "three times": lambda image: scaled(image, 3),
    "grey": lambda image: image.convert("L").convert("RGB"),
    "brighter": lambda image: image.point([min(255, value + 20) for value in range(256)] * 3),
}


@pytest.mark.parametrize("copy", COPIES)
@pytest.mark.parametrize("photo", PHOTOS)
def test_a_copy_that_was_coded_again_or_resized_is_near(photo, copy):
    changed = np.asarray(COPIES[copy](Image.fromarray(PHOTOS[photo])))
    assert hamming_distance(perceptual_hash(PHOTOS[photo]), perceptual_hash(changed)) <= FARTHEST


@pytest.mark.parametrize(("one", "other"), [*combinations(PHOTOS, 2)])
def test_another_photo_is_far(one, other):
    assert hamming_distance(perceptual_hash(PHOTOS[one]), perceptual_hash(PHOTOS[other])) > FARTHEST


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: f"{vector['width']}x{vector['height']}")
def test_the_hash_stays_what_it_was(vector):
    height, width, size = vector["height"], vector["width"], vector["width"] * vector["height"] * 3
    pixels = np.random.default_rng(vector["seed"]).integers(0, 256, (4, 5, 3), dtype=np.uint8)
    pixels = np.kron(pixels, np.ones((height // 4, width // 5, 1), dtype=np.uint8))
    assert pixels.size == size
    assert perceptual_hash(pixels).hex() == vector["hash"]


def test_a_plain_photo_has_a_hash_too():
    assert len(perceptual_hash(np.full((64, 64, 3), 128, dtype=np.uint8))) == HASH_BYTES


def test_hashes_of_different_lengths_are_not_compared():
    with pytest.raises(ValueError, match="lengths"):
        hamming_distance(bytes(8), bytes(7))
