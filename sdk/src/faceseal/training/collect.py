"""Training squares from any folder or archive of photos."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image
from tqdm import tqdm

from faceseal.errors import PhotoError, TrainingDataError
from faceseal.faces.detector import detect_faces
from faceseal.faces.lips import find_lips
from faceseal.faces.square import place_square
from faceseal.photo import decode_photo
from faceseal.training.data import LIST, SIDE, FaceSquares, Source, read_prepared

SMALLEST = SIDE // 2
"""Faces whose square is smaller than this, in pixels, are left out: they have no detail to learn."""


def read_faces(path: Path) -> FaceSquares:
    """All faces of a folder or a zip archive, with their lips.  Raises TrainingDataError as `read_squares`."""
    return with_lips(read_squares(path))


def read_squares(path: Path) -> FaceSquares:
    """All faces of a folder or a zip archive, with five landmarks each.

    One that has a ``landmarks.csv`` holds prepared squares; otherwise every photo in it is
    searched for faces.  Raises TrainingDataError if no face comes of it.
    """
    source = Source(path)
    names = source.names()
    if LIST in names:
        return read_prepared(source)
    pixels, landmarks = [], []
    for name in tqdm(names, unit="photo", desc="looking for faces", disable=None):
        try:
            photo = decode_photo(source.read(name), name).pixels
        except PhotoError:
            continue
        for face in detect_faces(photo):
            try:
                square = place_square(face.landmarks, photo.shape[1], photo.shape[0])
            except PhotoError:
                continue
            if square.side < SMALLEST:
                continue
            image = Image.fromarray(square.crop(photo)).resize((SIDE, SIDE), Image.Resampling.LANCZOS)
            pixels.append(np.asarray(image))
            landmarks.append((face.landmarks - [square.x, square.y]) * (SIDE / square.side))
    if not pixels:
        raise TrainingDataError(f"{path} holds no photo with a face of at least {SMALLEST} px")
    return FaceSquares(np.stack(pixels), np.stack(landmarks))


def with_lips(squares: FaceSquares) -> FaceSquares:
    """The same squares with the lips as sixth and seventh landmark."""
    faces = tqdm(
        zip(squares.pixels, squares.landmarks, strict=True),
        total=len(squares),
        unit="face",
        desc="looking for lips",
        disable=None,
    )
    lips = np.stack([find_lips(pixels, landmarks) for pixels, landmarks in faces])
    return FaceSquares(squares.pixels, np.concatenate([squares.landmarks, lips], axis=1))
