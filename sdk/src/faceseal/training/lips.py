"""Distils the lips of the face mesh into the small network of `faceseal.faces.lips`."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from tqdm import tqdm

from faceseal.faces.lips import in_view, mouth_view
from faceseal.faces.mesh import LIPS, FaceMesh
from faceseal.training.data import Augmentation, FaceSquares, augment

LANDMARK_NOISE = 1.5
"""Standard deviation of how far the landmarks that place the view are off, in pixels of the square."""
COPIES = 4
"""Augmented copies of each face."""


def lips_network() -> nn.Sequential:
    """Views (B, 3, 40, 40) to points (B, 4): 45,000 parameters."""
    return nn.Sequential(
        nn.Conv2d(3, 16, 3, 2, 1),
        nn.ReLU(),
        nn.Conv2d(16, 32, 3, 2, 1),
        nn.ReLU(),
        nn.Conv2d(32, 48, 3, 2, 1),
        nn.ReLU(),
        nn.Flatten(1),
        nn.Linear(48 * 25, 32),
        nn.ReLU(),
        nn.Linear(32, 4),
    )


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
        views.append(np.rint((view + 1) * 127.5).astype(np.uint8))
        targets.append(in_view(points[5:], place).ravel())
    seen, wanted = torch.from_numpy(np.stack(views)), torch.from_numpy(np.stack(targets)).float()
    network = lips_network()
    optimizer = torch.optim.AdamW(network.parameters(), 2e-3, weight_decay=1e-4)
    batch = min(256, len(seen))
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, total_steps=epochs * (len(seen) // batch))
    for _ in tqdm(range(epochs), unit="epoch", disable=None):
        for chosen in torch.randperm(len(seen))[: len(seen) // batch * batch].reshape(-1, batch):
            loss = _loss(network(seen[chosen].float() / 127.5 - 1), wanted[chosen])
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
    return network.eval()


def _loss(found: Tensor, wanted: Tensor) -> Tensor:
    """Distance of the points, and once more of the gap between them: that is what they are for."""
    gap = (found[:, 2:] - found[:, :2]) - (wanted[:, 2:] - wanted[:, :2])
    return (found - wanted).abs().mean() + gap.abs().mean()
