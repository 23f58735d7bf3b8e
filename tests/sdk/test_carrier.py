from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from skimage.data import astronaut

from faceseal import carrier
from faceseal.anonymizer.generator import default_model
from faceseal.keyed import Keystream
from faceseal.latent import CellCodec

MASK = np.zeros((16, 16), dtype=bool)
MASK[3:15, 3:13] = True
INSIDE = np.ones((16, 16), dtype=bool)


@cache
def codec(cell: int) -> CellCodec:
    return default_model().klt.codec(cell)


def portrait(cell: int) -> np.ndarray:
    head = Image.fromarray(astronaut()[40:168, 160:288])
    return np.asarray(head.resize((16 * cell, 16 * cell), Image.Resampling.LANCZOS))


def another_face(cell: int) -> np.ndarray:
    """The latent (32, 16, 16) of the portrait, mirrored: plausible, and not what is in the square."""
    return codec(cell).encode(portrait(cell)[None, :, ::-1])[0]


def written(cell: int, latent: np.ndarray | None = None, seed: int = 1) -> np.ndarray:
    given_latent = another_face(cell) if latent is None else latent
    return carrier.write(codec(cell), given_latent, portrait(cell), MASK, INSIDE, Keystream(bytes([seed]) * 32))


def pixels_of(cell: int) -> np.ndarray:
    return MASK.repeat(cell, axis=0).repeat(cell, axis=1)


def error(cell: int, square: np.ndarray) -> float:
    """Root mean square of what `encode` finds wrong in the mask."""
    back = codec(cell).encode(square[None])[0]
    wanted = codec(cell).encode(codec(cell).decode(another_face(cell)[None]))[0]
    return float(np.sqrt(np.mean((back - wanted)[:, MASK] ** 2)))


@pytest.mark.parametrize("cell", [4, 6, 8, 13])
def test_the_pixels_carry_the_latent_twice_as_well_as_rounding_to_the_nearest(cell):
    plain = np.clip(np.rint(codec(cell).decode(another_face(cell)[None])[0]), 0, 255)
    assert error(cell, written(cell)) < 0.55 * error(cell, plain)


@pytest.mark.parametrize("cell", [3, 7, 20])
def test_pixels_outside_the_mask_are_untouched(cell):
    outside = ~pixels_of(cell)
    assert np.array_equal(written(cell)[outside], portrait(cell)[outside])
    assert not np.array_equal(written(cell), portrait(cell))


def test_a_large_face_has_no_seams_between_its_cells():
    cell = 20
    smooth = written(cell).astype(float).mean(axis=2)
    blocky = codec(cell).decode(another_face(cell)[None])[0].mean(axis=2)

    def seams(picture: np.ndarray) -> float:
        """Steps across cell borders, relative to steps just beside them."""
        inner = picture[3 * cell : 15 * cell, 3 * cell : 13 * cell]
        steps = np.abs(np.diff(inner, axis=1)).mean(axis=0)
        border = np.arange(cell - 1, len(steps), cell)
        return float(steps[border].mean() / np.concatenate([steps[border - 2], steps[border + 2][:-1]]).mean())

    assert seams(blocky) > 2.0
    assert seams(smooth) < 1.35


@pytest.mark.parametrize("cell", [8, 20])
def test_the_face_gets_as_much_fine_grain_as_its_surroundings_have(cell):
    random = np.random.default_rng(0)
    noisy = np.clip(portrait(cell).astype(float) + random.normal(0, 9, portrait(cell).shape), 0, 255).astype(np.uint8)
    latent = codec(cell).encode(noisy[None])[0]

    def grain(square: np.ndarray) -> float:
        residual = square.astype(float) - codec(cell).decode(codec(cell).encode(square[None]))[0]
        return float(np.sqrt(np.mean(residual[pixels_of(cell)] ** 2)))

    made = carrier.write(codec(cell), latent, noisy, MASK, INSIDE, Keystream(bytes(32)))
    plain = np.clip(np.rint(codec(cell).decode(latent[None])[0]), 0, 255)
    assert grain(plain) < 0.2 * grain(noisy)
    assert grain(made) == pytest.approx(grain(noisy), rel=0.35)


def test_grain_follows_the_keystream():
    assert np.array_equal(written(8, seed=1), written(8, seed=1))
    assert not np.array_equal(written(8, seed=1), written(8, seed=2))


def test_a_face_without_surroundings_gets_no_grain_and_is_carried_all_the_same():
    everything = np.ones((16, 16), dtype=bool)
    square = carrier.write(codec(8), another_face(8), portrait(8), everything, INSIDE, Keystream(bytes(32)))
    assert error(8, square) < 0.006


def test_overexposed_faces_lose_little_to_clipping():
    latent = another_face(8) * 1.15
    plain = np.clip(np.rint(codec(8).decode(latent[None])[0]), 0, 255)
    square = written(8, latent)
    off = [np.sqrt(np.mean((codec(8).encode(s[None])[0] - latent)[:, MASK] ** 2)) for s in (plain, square)]
    assert off[1] < 0.75 * off[0]


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(3, 9))
def test_shaped_rounding_gives_whole_numbers_in_range_beside_the_values(seed, cell):
    values = np.random.default_rng(seed).uniform(-30, 285, (5, 3 * cell**2))
    encoding = codec(cell).encoding
    rounded = carrier.shaped_rounding(values, encoding)
    assert np.array_equal(rounded, np.rint(rounded))
    assert rounded.min() >= 0
    assert rounded.max() <= 255
    assert np.abs(rounded - np.clip(values, 0, 255)).max() <= 1
    nearest = np.clip(np.rint(values), 0, 255)
    assert np.linalg.norm((rounded - values) @ encoding.T) <= np.linalg.norm((nearest - values) @ encoding.T) + 1e-9


@pytest.mark.parametrize("cell", [8, 14])
def test_a_restored_face_has_smaller_seams_and_is_nearer_to_what_was_there(cell):
    kept = codec(cell).encode(portrait(cell)[None])[0]
    plain = np.clip(np.rint(codec(cell).decode(kept[None])[0]), 0, 255)
    smooth = carrier.smooth(codec(cell), kept, portrait(cell), MASK)
    inside = MASK.repeat(cell, axis=0).repeat(cell, axis=1)
    errors = [np.square(made[inside] - portrait(cell)[inside].astype(float)).mean() for made in (plain, smooth)]
    assert errors[1] < 0.95 * errors[0]
    assert np.array_equal(smooth[~inside], portrait(cell)[~inside])
    assert np.median(np.abs(codec(cell).encode(smooth[None])[0] - kept)[:, MASK]) < 0.02


@pytest.mark.parametrize("cell", [8, 13])
@pytest.mark.parametrize("made", ["written", "smoothed"])
def test_the_pixels_that_were_there_influence_nothing_but_through_the_latent(cell, made):
    noise = np.random.default_rng(0).integers(0, 256, portrait(cell).shape, dtype=np.uint8)
    other = np.where(pixels_of(cell)[..., None], noise, portrait(cell))

    def shown(square: np.ndarray) -> np.ndarray:
        if made == "smoothed":
            return carrier.smooth(codec(cell), another_face(cell), square, MASK)
        return carrier.write(codec(cell), another_face(cell), square, MASK, INSIDE, Keystream(bytes(32)))

    assert np.array_equal(shown(portrait(cell)), shown(other))
