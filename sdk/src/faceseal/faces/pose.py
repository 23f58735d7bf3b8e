"""Which way a head is turned.

A small network looks at the face, upright and always at the same size.  It was distilled from
MediaPipe's face mesh (Kartynnik et al., arXiv 1907.06724), see `faceseal.training.pose`: two
real faces with the same landmarks may well differ by ten degrees.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from faceseal.faces.geometry import FloatArray, face_centre
from faceseal.faces.upright import look, upright_view
from faceseal.weights import POSE

VIEW = 48
"""Side of what the network sees, in pixels."""
SHARE = 1.05
"""Side of what it sees, in sides of the face square."""


def face_view(pixels: NDArray[np.uint8], landmarks: FloatArray) -> NDArray[np.float32]:
    """What the network sees (3, 48, 48), in -1..1, of a face (landmarks (5, 2)) in a photo (H, W, 3)."""
    return upright_view(pixels, landmarks, face_centre(landmarks), SHARE, VIEW)[0]


def find_poses(photos: Sequence[NDArray[np.uint8]], landmarks: Sequence[FloatArray]) -> FloatArray:
    """Rotation vectors (N, 3), in degrees, of one face in each photo (H, W, 3) from an average frontal one.

    landmarks: (5, 2) each, in pixels; turning in the picture's plane is measured against them.
    Raises MissingDependency if ``faceseal[generator]`` is not installed.
    """
    views = [face_view(pixels, points) for pixels, points in zip(photos, landmarks, strict=True)]
    return look(POSE, np.stack(views))
