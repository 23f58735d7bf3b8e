"""Distils the head pose of the face mesh into the small network of `faceseal.faces.pose`."""

from __future__ import annotations

from typing import cast

import numpy as np
import torch
from scipy.spatial.transform import Rotation
from torch import Tensor, nn
from tqdm import tqdm

from faceseal.faces.geometry import FloatArray, face_frame
from faceseal.faces.mesh import FaceMesh
from faceseal.faces.pose import VIEW, face_view
from faceseal.training.data import Augmentation, FaceSquares, augment
from faceseal.training.smallnetworks import as_bytes, fit, small_network

LANDMARK_NOISE = 1.2
"""Standard deviation of how far the landmarks that place the view are off, in pixels of the square."""
COPIES = 3
"""Augmented copies of each face."""
MIRRORED = np.array([1.0, -1.0, -1.0])
"""What a mirrored face's rotation vector is, times the face's own."""


def pose_network() -> nn.Sequential:
    """Views (B, 3, 48, 48) to rotation vectors (B, 3), in degrees: 54,000 parameters."""
    return small_network(VIEW, (16, 32, 48, 48), 3)


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
    for index in tqdm(np.tile(np.arange(len(squares)), COPIES), unit="view", disable=None):
        mirrored = random.random() < 0.5
        how = Augmentation(mirror=float(mirrored))
        pixels, points = augment(squares.pixels[index], squares.landmarks[index][:5], how, random)
        views.append(as_bytes(face_view(pixels, points + random.normal(0.0, LANDMARK_NOISE, (5, 2)))))
        targets.append(poses[index] * MIRRORED if mirrored else poses[index])
    spread = np.maximum(np.std(targets, axis=0), 1.0)
    network = pose_network()
    scale = torch.from_numpy(spread).float()

    def loss(found: Tensor, wanted: Tensor) -> Tensor:
        length: Tensor = torch.linalg.vector_norm((found - wanted) * scale, dim=1)
        return length.mean()

    fit(network, np.stack(views), targets / spread, loss, epochs=epochs, rate=4e-3, decay=1e-3, noise=0.05)
    last = cast(nn.Linear, network[-1])
    with torch.no_grad():
        last.weight.mul_(scale[:, None])
        last.bias.mul_(scale)
    return network


def _upright(mesh: FloatArray, landmarks: FloatArray) -> FloatArray:
    """A mesh (P, 3), turned in the picture's plane as the view is."""
    flat = mesh[:, :2] @ face_frame(landmarks).T
    return np.concatenate([flat, mesh[:, 2:]], axis=1)
