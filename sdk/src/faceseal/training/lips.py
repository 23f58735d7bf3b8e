"""Distils the lips of the face mesh into the small network of `faceseal.faces.lips`."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from tqdm import tqdm

from faceseal.faces.lips import VIEW, in_view, mouth_view
from faceseal.faces.mesh import LIPS, FaceMesh
from faceseal.training.data import Augmentation, FaceSquares, augment
from faceseal.training.smallnetworks import as_bytes, fit, small_network

LANDMARK_NOISE = 1.5
"""Standard deviation of how far the landmarks that place the view are off, in pixels of the square."""
COPIES = 4
"""Augmented copies of each face."""


def lips_network() -> nn.Sequential:
    """Views (B, 3, 40, 40) to points (B, 4): 58,000 parameters."""
    return small_network(VIEW, (16, 32, 48), 4)


def label_lips(squares: FaceSquares, mesh: FaceMesh) -> NDArray[np.float64]:
    """Both lips' inner edges (N, 2, 2), in pixels of the squares."""
    found = tqdm(zip(squares.pixels, squares.landmarks, strict=True), total=len(squares), unit="face", disable=None)
    return np.stack([mesh.find(pixels, points)[list(LIPS), :2] for pixels, points in found])


def distil_lips(squares: FaceSquares, lips: NDArray[np.float64], epochs: int = 30, seed: int = 0) -> nn.Sequential:
    """Train on augmented copies of squares whose lips (N, 2, 2) are known."""
    torch.manual_seed(seed)
    random = np.random.default_rng(seed)
    views, targets = [], []
    for index in tqdm(np.tile(np.arange(len(squares)), COPIES), unit="view", disable=None):
        seven = np.concatenate([squares.landmarks[index][:5], lips[index]])
        pixels, points = augment(squares.pixels[index], seven, Augmentation(), random)
        view, place = mouth_view(pixels, points[:5] + random.normal(0.0, LANDMARK_NOISE, (5, 2)))
        views.append(as_bytes(view))
        targets.append(in_view(points[5:], place).ravel())
    network = lips_network()
    fit(network, np.stack(views), np.stack(targets), _loss, epochs=epochs, rate=3e-3, decay=1e-4)
    return network


def _loss(found: Tensor, wanted: Tensor) -> Tensor:
    """Distance of the points, and once more of the gap between them: that is what they are for."""
    gap = (found[:, 2:] - found[:, :2]) - (wanted[:, 2:] - wanted[:, :2])
    return (found - wanted).abs().mean() + gap.abs().mean()
