"""Where a face's square lies in its photo, and which of its cells are replaced.

Points are (x, y) in pixels, x to the right, y down; a whole number is a pixel's edge.
The five landmarks are right eye, left eye, nose, right and left mouth corner, as seen in
the image.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from faceseal.grid import GRID

FloatArray = NDArray[np.float64]

EYES_TO_MOUTH = 0.40
"""Distance from the eyes' midpoint to the mouth's, in sides of the square."""
EYE_DISTANCE = 0.39
"""Distance between the eyes of a frontal face, in sides of the square."""
ELLIPSE_OFFSET = 0.07
"""From the square's centre to the ellipse's, down the face, in sides of the square."""
ELLIPSE_RADII = (0.49, 0.6)
"""Across and along the face, in sides of the square."""


def face_axis(landmarks: FloatArray) -> FloatArray:
    """Unit vector from the eyes to the mouth, i.e. down the face; landmarks (5, 2)."""
    along = landmarks[3:5].mean(axis=0) - landmarks[:2].mean(axis=0)
    across = landmarks[1] - landmarks[0]
    down = along + np.array([-across[1], across[0]])
    return np.asarray(down / max(float(np.linalg.norm(down)), 1e-9))


def face_frame(landmarks: FloatArray) -> FloatArray:
    """Unit vectors across and down the face, as rows (2, 2); landmarks (5, 2) or more."""
    down = face_axis(landmarks)
    return np.stack([np.array([down[1], -down[0]]), down])


def face_centre(landmarks: FloatArray) -> FloatArray:
    """Where the face square's centre belongs (2,): between the eyes and the mouth; landmarks (5, 2)."""
    return np.asarray((landmarks[:2].mean(axis=0) + landmarks[3:5].mean(axis=0)) / 2)


def framed_side(landmarks: FloatArray) -> float:
    """Side of the square that frames a face (5, 2) as in training, in pixels.

    The larger of what the eyes' distance and the distance from eyes to mouth ask for: a face
    that looks aside shortens the one, a face that looks up or down the other.
    """
    eyes = float(np.linalg.norm(landmarks[1] - landmarks[0]))
    along = float(np.linalg.norm(landmarks[3:5].mean(axis=0) - landmarks[:2].mean(axis=0)))
    return max(eyes / EYE_DISTANCE, along / EYES_TO_MOUTH)


def quarter_turns(landmarks: FloatArray) -> int:
    """How often `np.rot90` must turn a picture so that this face (5, 2) stands nearest to upright: 0 to 3."""
    down = face_axis(landmarks)
    return int(np.rint(-np.arctan2(down[0], down[1]) / (np.pi / 2))) % 4


def ellipse_mask(
    landmarks: FloatArray,
    side: float,
    radii: tuple[float, float] = ELLIPSE_RADII,
    offset: float = ELLIPSE_OFFSET,
) -> NDArray[np.bool_]:
    """Cells (16, 16) whose centre lies in the ellipse over the face.

    landmarks: (5, 2), pixels from the top left corner of a square of `side` pixels.  The
    ellipse follows the face's roll; `radii` and `offset` are in sides of the square.
    """
    across, down = face_frame(landmarks)
    middle = (landmarks[:2].mean(axis=0) + landmarks[3:5].mean(axis=0)) / 2 / side + offset * down
    centres = (np.arange(GRID) + 0.5) / GRID
    delta = np.stack(np.meshgrid(centres, centres), axis=-1) - middle
    return np.asarray((delta @ across / radii[0]) ** 2 + (delta @ down / radii[1]) ** 2 <= 1.0)
