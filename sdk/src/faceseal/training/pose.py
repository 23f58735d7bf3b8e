"""Distils the head pose of the face mesh into the small network of `faceseal.faces.pose`."""

from __future__ import annotations

from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation
from torch import nn
from tqdm import tqdm

from faceseal.faces.geometry import FloatArray, face_frame
from faceseal.faces.mesh import FaceMesh
from faceseal.faces.pose import VIEW, face_view
from faceseal.training.data import SIDE, Augmentation, FaceSquares, augment

LANDMARK_NOISE = 1.2
"""Standard deviation of how far the landmarks that place the view are off, in pixels of the square."""
COPIES = 3
"""Augmented copies of each face."""
MIRRORED = np.array([1.0, -1.0, -1.0])
"""What a mirrored face's rotation vector is, times the face's own."""


def pose_network() -> nn.Sequential:
    """Views (B, 3, 48, 48) to rotation vectors (B, 3), in degrees: 54,000 parameters."""
    return nn.Sequential(
        nn.Conv2d(3, 16, 3, 2, 1),
        nn.ReLU(),
        nn.Conv2d(16, 32, 3, 2, 1),
        nn.ReLU(),
        nn.Conv2d(32, 48, 3, 2, 1),
        nn.ReLU(),
        nn.Conv2d(48, 48, 3, 2, 1),
        nn.ReLU(),
        nn.Flatten(1),
        nn.Linear(48 * (VIEW // 16) ** 2, 32),
        nn.ReLU(),
        nn.Linear(32, 3),
    )


def label_poses(squares: FaceSquares, mesh: FaceMesh) -> FloatArray:
    """Rotation vectors (N, 3), in degrees, that take the squares' average mesh to each upright one."""
    found = tqdm(zip(squares.pixels, squares.landmarks, strict=True), total=len(squares), unit="face", disable=None)
    return rotations_from_average(np.stack([_upright(mesh.find(p, x), x) for p, x in found]))


def rotations_from_average(meshes: FloatArray) -> FloatArray:
    """Rotation vectors (N, 3), in degrees, that take the average of meshes (N, P, 3) to each of them.

    The average is that of the meshes turned to agree (generalized Procrustes analysis, Gower
    1975), all of one size and around zero.
    """
    meshes = meshes - meshes.mean(axis=1, keepdims=True)
    meshes = meshes / np.sqrt(np.square(meshes).sum(axis=(1, 2), keepdims=True))
    average = meshes.mean(axis=0)
    for _ in range(3):
        average = np.mean([Rotation.align_vectors(average, one)[0].apply(one) for one in meshes], axis=0)
    return np.stack([Rotation.align_vectors(one, average)[0].as_rotvec(degrees=True) for one in meshes])


def distil_pose(squares: FaceSquares, poses: FloatArray, epochs: int = 15, seed: int = 0) -> nn.Sequential:
    """Train on augmented copies of squares whose poses (N, 3) are known."""
    torch.manual_seed(seed)
    random = np.random.default_rng(seed)
    views, targets = [], []
    upright = Augmentation(mirror=0.0)
    for index in tqdm(np.tile(np.arange(len(squares)), COPIES), unit="view", disable=None):
        pixels, pose, points = squares.pixels[index], poses[index], squares.landmarks[index][:5]
        if random.random() < 0.5:
            pixels, pose, points = _mirrored(pixels, pose, points)
        pixels, points = augment(pixels, points, upright, random)
        view = face_view(pixels, points + random.normal(0.0, LANDMARK_NOISE, (5, 2)))
        views.append(np.rint((view + 1) * 127.5).astype(np.uint8))
        targets.append(pose)
    return _trained(torch.from_numpy(np.stack(views)), torch.from_numpy(np.stack(targets)).float(), epochs)


def _trained(views: torch.Tensor, poses: torch.Tensor, epochs: int) -> nn.Sequential:
    network, spread = pose_network(), poses.std(dim=0).clamp(min=1.0)
    batch = min(256, len(views))
    optimizer = torch.optim.AdamW(network.parameters(), 2e-3, weight_decay=1e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 4e-3, total_steps=epochs * (len(views) // batch))
    for _ in tqdm(range(epochs), unit="epoch", disable=None):
        for chosen in torch.randperm(len(views))[: len(views) // batch * batch].reshape(-1, batch):
            seen = views[chosen].float() / 127.5 - 1
            seen = seen + 0.05 * torch.randn_like(seen)
            loss = (network(seen) * spread - poses[chosen]).norm(dim=1).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    last = cast(nn.Linear, network[-1])
    with torch.no_grad():
        last.weight.mul_(spread[:, None])
        last.bias.mul_(spread)
    return network.eval()


def _upright(mesh: FloatArray, landmarks: FloatArray) -> FloatArray:
    """A mesh (P, 3), turned in the picture's plane as the view is."""
    flat = mesh[:, :2] @ face_frame(landmarks).T
    return np.concatenate([flat, mesh[:, 2:]], axis=1)


def _mirrored(
    pixels: NDArray[np.uint8], pose: FloatArray, landmarks: FloatArray
) -> tuple[NDArray[np.uint8], FloatArray, FloatArray]:
    swapped = (np.array([SIDE, 0.0]) + landmarks * [-1, 1])[[1, 0, 2, 4, 3]]
    return np.ascontiguousarray(pixels[:, ::-1]), pose * MIRRORED, swapped
