"""Trains the small network of `faceseal.faces.looks` on squares with known apparent sex and age."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from faceseal.errors import TrainingDataError
from faceseal.faces.geometry import FloatArray
from faceseal.faces.pose import VIEW, face_view
from faceseal.training.data import Augmentation, FaceSquares, Source, augment, listed
from faceseal.training.smallnetworks import as_bytes, fit, small_network

LANDMARK_NOISE = 1.2
"""Standard deviation of how far the landmarks that place the view are off, in pixels of the square."""
COPIES = 3
"""Augmented copies of each face."""
DECADE = 10.0
"""Years of error in age that count as much as taking a face for one of the other sex, in nats."""


def looks_network() -> nn.Sequential:
    """Views (B, 3, 48, 48) to (B, 2), log-odds of a man's face and years: 108,000 parameters."""
    return small_network(VIEW, (24, 48, 64, 80), 2)


def read_looks(table: Path, source: Source) -> FloatArray:
    """Sex and age (N, 2) of the squares that `source` lists, from a table (file, male, age).

    male: from 0, a woman's face, to 1, a man's; age: in years.  Raises TrainingDataError.
    """
    try:
        with table.open(encoding="utf-8", newline="") as rows:
            known = {row["file"]: (float(row["male"]), float(row["age"])) for row in csv.DictReader(rows)}
        looks = np.array([known[row["file"]] for row in listed(source)])
    except (OSError, UnicodeDecodeError, csv.Error) as cause:
        raise TrainingDataError(f"{table} cannot be read: {cause}") from cause
    except KeyError as cause:
        raise TrainingDataError(
            f"{table} lacks {cause}; it needs columns file, male, age and a row per face"
        ) from cause
    except (TypeError, ValueError) as cause:
        raise TrainingDataError(f"{table}: male and age must be numbers: {cause}") from cause
    if not ((looks[:, 0] >= 0) & (looks[:, 0] <= 1) & np.isfinite(looks[:, 1])).all():
        raise TrainingDataError(f"{table}: male must be from 0 to 1, age in years")
    return looks


def train_on_looks(squares: FaceSquares, looks: FloatArray, epochs: int = 15, seed: int = 0) -> nn.Sequential:
    """Train on augmented copies of squares whose sex and age (N, 2) are known; see `read_looks`."""
    torch.manual_seed(seed)
    random = np.random.default_rng(seed)
    views = []
    indices = np.tile(np.arange(len(squares)), COPIES)
    for index in tqdm(indices, unit="view", disable=None):
        pixels, points = augment(squares.pixels[index], squares.landmarks[index][:5], Augmentation(), random)
        views.append(as_bytes(face_view(pixels, points + random.normal(0.0, LANDMARK_NOISE, (5, 2)))))
    middle, spread = looks[:, 1].mean(), max(float(looks[:, 1].std()), 1.0)
    wanted = np.stack([looks[:, 0], (looks[:, 1] - middle) / spread], axis=1)[indices]
    network = looks_network()

    def loss(found: Tensor, wanted: Tensor) -> Tensor:
        sex = nn.functional.binary_cross_entropy_with_logits(found[:, 0], wanted[:, 0])
        age = (found[:, 1] - wanted[:, 1]).abs().mean()
        return sex + age * (spread / DECADE)

    fit(network, np.stack(views), wanted, loss, epochs=epochs, rate=4e-3, decay=1e-3, noise=0.05)
    last = cast(nn.Linear, network[-1])
    with torch.no_grad():
        last.weight[1].mul_(spread)
        last.bias[1].mul_(spread).add_(middle)
    return network
