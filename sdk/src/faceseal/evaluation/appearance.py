"""Whether the anonymized face looks the same way as the original: features, pose, mouth.

Pose and mouth are read from MediaPipe's face mesh, which had no part in sealing the photo.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from faceseal.faces.detector import DetectedFace
from faceseal.faces.mesh import EYE_CORNERS, LIPS

FloatArray = NDArray[np.float64]

OPEN_MOUTH = 0.08
"""A mouth whose inner lips are farther apart than this, in eye distances, is open."""
SMALLER = 0.5
"""A face this many times as large as a photo's largest may still be the one that the photo is of."""


def main_face(faces: list[DetectedFace], width: int, height: int) -> DetectedFace | None:
    """The face that a portrait is of: the most central one of those that are not much smaller than the largest."""
    if not faces:
        return None
    largest = max(eye_distance(face.landmarks) for face in faces)
    middle = np.array([width, height]) / 2
    return min(
        (face for face in faces if eye_distance(face.landmarks) >= SMALLER * largest),
        key=lambda face: float(np.linalg.norm(face.landmarks.mean(axis=0) - middle)),
    )


def same_place(found: list[DetectedFace], face: DetectedFace) -> DetectedFace | None:
    """The detection nearest to a face, if its landmarks' centre lies within an eye distance of the face's."""

    def away(other: DetectedFace) -> float:
        return float(np.linalg.norm(other.landmarks.mean(axis=0) - face.landmarks.mean(axis=0)))

    nearest = min(found, key=away, default=None)
    return nearest if nearest is not None and away(nearest) < eye_distance(face.landmarks) else None


def eye_distance(landmarks: FloatArray) -> float:
    """In pixels; landmarks (5, 2)."""
    return float(np.linalg.norm(landmarks[1] - landmarks[0]))


def landmark_distance(face: DetectedFace, found: DetectedFace) -> float:
    """Mean distance of the five landmarks, in eye distances of `face`."""
    moved = np.linalg.norm(found.landmarks - face.landmarks, axis=1).mean()
    return float(moved / eye_distance(face.landmarks))


def pose_difference(one: FloatArray, other: FloatArray) -> float:
    """Angle, in degrees, of the rotation that best takes mesh `one` (468, 3) to `other` (Kabsch, 1976)."""
    rotation, _ = Rotation.align_vectors(other - other.mean(axis=0), one - one.mean(axis=0))
    return float(np.degrees(rotation.magnitude()))


def mouth_gap(mesh: FloatArray) -> float:
    """Distance of the inner lips' middles, in eye distances; mesh (468, 3), of which x and y count."""
    upper, lower = mesh[list(LIPS), :2]
    right_outer, right_inner, left_inner, left_outer = mesh[list(EYE_CORNERS), :2]
    eyes = np.linalg.norm((right_outer + right_inner) / 2 - (left_inner + left_outer) / 2)
    return float(np.linalg.norm(lower - upper) / max(float(eyes), 1e-9))
