"""The noise of many faces, under one mask, for statistics of it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from faceseal.errors import TrainingDataError
from faceseal.exchange import Exchange, Face
from faceseal.faces.geometry import ellipse_mask
from faceseal.grid import GRID
from faceseal.latent import PATCH
from faceseal.training.data import SIDE, FaceSquares

FloatArray = NDArray[np.float64]

BATCH = 16
"""Faces that are inverted together."""
NO_SECRET = bytes(32)
"""In place of a face's seeds: its noise depends on no key."""


def evenly_chosen(squares: FaceSquares, count: int) -> FaceSquares:
    """`count` of the squares, at even distances.  Raises TrainingDataError if there are fewer."""
    if len(squares) < count:
        raise TrainingDataError(f"there are {len(squares)} faces, and {count} are wanted; give more, or ask for fewer")
    chosen = np.arange(count) * len(squares) // count
    return FaceSquares(squares.pixels[chosen], squares.landmarks[chosen])


def common_mask(squares: FaceSquares) -> NDArray[np.bool_]:
    """Cells (16, 16) of the ellipse over the mean landmarks, without the square's rim.

    Raises TrainingDataError if it holds no cell: then the landmarks are not those of faces in
    their squares.
    """
    mask = ellipse_mask(squares.landmarks[:, :5].mean(axis=0), SIDE)
    mask[[0, -1]] = mask[:, [0, -1]] = False
    if not mask.any():
        raise TrainingDataError("the landmarks do not lie in the squares: no cell belongs to a face")
    return mask


def invert_squares(squares: FaceSquares, mask: NDArray[np.bool_], exchange: Exchange) -> FloatArray:
    """Noise (F, C, n) of the masked cells of squares whose lips are found; n positions of the latent."""
    inside = np.ones((GRID, GRID), dtype=bool)
    faces = [
        Face(pixels, mask, inside, landmarks / PATCH, NO_SECRET, NO_SECRET)
        for pixels, landmarks in zip(squares.pixels, squares.landmarks, strict=True)
    ]
    noise = []
    with tqdm(total=len(faces), unit="face", desc="inverting", disable=None) as progress:
        for start in range(0, len(faces), BATCH):
            part = faces[start : start + BATCH]
            masked = exchange.mask(part)[0, 0].cpu().numpy() > 0
            noise.append(exchange.noise(part)[:, :, masked])
            progress.update(len(part))
    return np.concatenate(noise)
