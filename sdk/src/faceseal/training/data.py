"""Face squares for training: read once, augmented for every batch."""

from __future__ import annotations

import csv
import io
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageEnhance
from torch.utils.data import IterableDataset, get_worker_info

from faceseal.errors import TrainingDataError
from faceseal.faces.geometry import ELLIPSE_OFFSET, ELLIPSE_RADII, ellipse_mask
from faceseal.grid import GRID
from faceseal.latent import PATCH

SIDE = GRID * PATCH
"""Side of a training square, in pixels."""
LIST = "landmarks.csv"
"""Names each square and its five landmarks in pixels (reye_x, reye_y, leye_x, ...)."""
MARGIN = 24
"""Pixels by which a square is continued by reflection, so that it can be turned and moved."""
RIMMED = 0.85
"""Share of squares whose outermost cells are not replaced, as in a photo that goes on beyond them."""
MIRRORED = [1, 0, 2, 4, 3, 5, 6]
"""Order of the landmarks in a mirrored face."""


@dataclass(frozen=True)
class FaceSquares:
    """Squares (N, 128, 128, 3) uint8 and landmarks in pixels, (N, 7, 2) once the lips are found, else (N, 5, 2)."""

    pixels: NDArray[np.uint8]
    landmarks: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.pixels)

    def split(self, held_out: int) -> tuple[FaceSquares, FaceSquares]:
        """(training, held out): every ``len // held_out``-th face is held out."""
        chosen = np.zeros(len(self), dtype=bool)
        chosen[:: max(len(self) // held_out, 2)] = True
        return (
            FaceSquares(self.pixels[~chosen], self.landmarks[~chosen]),
            FaceSquares(self.pixels[chosen], self.landmarks[chosen]),
        )


class Source:
    """A folder or a zip archive, read the same way.  Raises TrainingDataError."""

    def __init__(self, path: Path) -> None:
        try:
            self._archive = None if path.is_dir() else zipfile.ZipFile(path)
        except (OSError, zipfile.BadZipFile) as cause:
            raise TrainingDataError(f"{path} is neither a folder nor a zip archive: {cause}") from cause
        self._path = path

    def names(self) -> list[str]:
        """Files, by their path inside."""
        if self._archive is not None:
            return sorted(name for name in self._archive.namelist() if not name.endswith("/"))
        return sorted(str(p.relative_to(self._path)) for p in self._path.rglob("*") if p.is_file())

    def read(self, name: str) -> bytes:
        """One file's content."""
        if self._archive is not None:
            return self._archive.read(name)
        return (self._path / name).read_bytes()


def listed(source: Source) -> list[dict[str, str]]:
    """The rows of ``landmarks.csv``: one for each face square, with its "file" and landmarks.

    Raises TrainingDataError if there is no such list.
    """
    if LIST not in source.names():
        raise TrainingDataError(f"there is no {LIST} that names the face squares and their landmarks")
    try:
        rows = list(csv.DictReader(io.StringIO(source.read(LIST).decode())))
    except (ValueError, csv.Error) as cause:
        raise TrainingDataError(f"{LIST} is not a table in UTF-8: {cause}") from cause
    if not rows:
        raise TrainingDataError(f"{LIST} names no face squares")
    return rows


def read_prepared(source: Source) -> FaceSquares:
    """Read 128 x 128 squares that are listed, with their landmarks, in ``landmarks.csv``.

    Raises TrainingDataError if there is no such list, or an image does not fit it.
    """
    rows = listed(source)
    pixels = np.empty((len(rows), SIDE, SIDE, 3), dtype=np.uint8)
    landmarks = np.empty((len(rows), 5, 2))
    points = ("reye", "leye", "nose", "rmouth", "lmouth")
    for index, row in enumerate(rows):
        try:
            with Image.open(io.BytesIO(source.read(row["file"]))) as image:
                pixels[index] = np.asarray(image.convert("RGB"))
            landmarks[index] = [(float(row[f"{p}_x"]), float(row[f"{p}_y"])) for p in points]
        except (KeyError, OSError, ValueError) as cause:
            raise TrainingDataError(f"row {index + 1} of {LIST}: {cause}") from cause
    return FaceSquares(pixels, landmarks)


@dataclass(frozen=True)
class Augmentation:
    """How far a training face is moved away from how it was given.

    mirror: share; roll: standard deviation, degrees; scale: relative, uniform; shift:
    pixels, uniform; tone: strength of the change of brightness, contrast and saturation;
    soft: share of faces that lose fine detail; cut: share of squares that reach over the
    photo's edge.
    """

    mirror: float = 0.5
    roll: float = 9.0
    scale: float = 0.1
    shift: float = 3.0
    tone: float = 0.15
    soft: float = 0.2
    cut: float = 0.08


def augment(
    pixels: NDArray[np.uint8], landmarks: NDArray[np.float64], how: Augmentation, random: np.random.Generator
) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
    """One changed copy of a square (128, 128, 3) and its landmarks (5, 2) or (7, 2)."""
    if random.random() < how.mirror:
        pixels = pixels[:, ::-1]
        landmarks = (np.array([SIDE, 0.0]) + landmarks * [-1, 1])[MIRRORED[: len(landmarks)]]
    angle = np.deg2rad(np.clip(random.normal(0.0, how.roll), -40, 40))
    scale = np.exp(random.uniform(-how.scale, how.scale))
    shift = random.uniform(-how.shift, how.shift, 2)
    turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    middle = np.full(2, SIDE / 2)
    landmarks = (landmarks - middle) @ turn.T + middle + shift
    back = np.linalg.inv(turn)
    offset = middle + MARGIN - back @ (middle + shift)
    padded = np.pad(pixels, ((MARGIN, MARGIN), (MARGIN, MARGIN), (0, 0)), mode="reflect")
    image = Image.fromarray(padded).transform(
        (SIDE, SIDE), Image.Transform.AFFINE, (*back[0], offset[0], *back[1], offset[1]), Image.Resampling.BICUBIC
    )
    if random.random() < how.soft:
        small = int(random.integers(SIDE // 2, SIDE))
        image = image.resize((small, small), Image.Resampling.BOX).resize((SIDE, SIDE), Image.Resampling.BICUBIC)
    for enhance in (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color):
        if random.random() < 0.5:
            image = enhance(image).enhance(float(np.exp(random.normal(0.0, how.tone))))
    if random.random() < 0.03:
        image = image.convert("L").convert("RGB")
    return np.asarray(image), landmarks


def random_mask(landmarks: NDArray[np.float64], random: np.random.Generator) -> NDArray[np.bool_]:
    """The ellipse over a face (16, 16), jittered in place and size, and mostly without the square's rim."""
    stretch = np.exp(random.normal(-0.05, 0.08, 2))
    moved = landmarks[:5] + random.normal(0.0, 2.0, 2)
    radii = (ELLIPSE_RADII[0] * stretch[0], ELLIPSE_RADII[1] * stretch[1])
    mask = ellipse_mask(moved, SIDE, radii, ELLIPSE_OFFSET + random.normal(0.0, 0.015))
    if random.random() < RIMMED:
        mask[[0, -1]] = mask[:, [0, -1]] = False
    return mask


def random_inside(how: Augmentation, random: np.random.Generator) -> NDArray[np.bool_]:
    """Cells (16, 16) that lie in an imagined photo, whose edge may cut the square."""
    inside = np.ones((GRID, GRID), dtype=bool)
    if random.random() < how.cut:
        for side in random.choice(4, size=random.integers(1, 3), replace=False):
            turned = np.rot90(inside, side)
            turned[: random.integers(1, 7)] = False
    return inside


Batch = tuple[NDArray[np.uint8], NDArray[np.float64], NDArray[np.bool_], NDArray[np.bool_]]
"""pixels (B, 128, 128, 3) uint8, landmarks (B, 7, 2), mask (B, 16, 16), inside (B, 16, 16)."""


class AugmentedBatches(IterableDataset[Batch]):
    """Endless batches of augmented faces; several loading processes draw different ones."""

    def __init__(self, squares: FaceSquares, batch: int, how: Augmentation, seed: int) -> None:
        super().__init__()
        self.squares, self.batch, self.how, self.seed = squares, batch, how, seed

    def __iter__(self) -> Iterator[Batch]:
        worker = get_worker_info()
        random = np.random.default_rng([self.seed, worker.id if worker else 0])
        order = np.empty(0, dtype=np.int64)
        while True:
            while len(order) < self.batch:
                order = np.concatenate([order, random.permutation(len(self.squares))])
            chosen, order = order[: self.batch], order[self.batch :]
            faces = [augment(self.squares.pixels[i], self.squares.landmarks[i], self.how, random) for i in chosen]
            masks = np.stack([random_mask(landmarks, random) for _, landmarks in faces])
            inside = np.stack([random_inside(self.how, random) for _ in faces])
            yield np.stack([p for p, _ in faces]), np.stack([q for _, q in faces]), masks & inside, inside


def patch_moments(squares: FaceSquares) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean (192,) and covariance (192, 192) of all 8 x 8 RGB patches."""
    total, outer, count = np.zeros(192), np.zeros((192, 192)), 0
    for start in range(0, len(squares), 256):
        part = squares.pixels[start : start + 256].astype(np.float64)
        blocks = part.reshape(-1, GRID, PATCH, GRID, PATCH, 3).transpose(0, 1, 3, 2, 4, 5).reshape(-1, 192)
        total += blocks.sum(axis=0)
        outer += blocks.T @ blocks
        count += len(blocks)
    mean = total / count
    return mean, outer / count - np.outer(mean, mean)
