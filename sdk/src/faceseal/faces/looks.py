"""How old a face looks, and whether like a woman's or a man's.

A small network looks at the face, upright and always at the same size, as the one of
`faceseal.faces.pose` does; see `faceseal.training.looks`.  It serves to keep a face that goes
with the hair and the clothes around it, and says nothing about who somebody is.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from faceseal.faces.geometry import FloatArray
from faceseal.faces.pose import face_view
from faceseal.faces.upright import look
from faceseal.weights import LOOKS


def find_looks(photos: Sequence[NDArray[np.uint8]], landmarks: Sequence[FloatArray]) -> FloatArray:
    """Apparent sex and age (N, 2) of one face in each photo (H, W, 3): 0 for a woman's to 1 for a man's; years.

    landmarks: (5, 2) each, in pixels.  Each face is looked at in the mirror as well.
    Raises MissingDependency if ``faceseal[generator]`` is not installed.
    """
    views = np.stack([face_view(pixels, points) for pixels, points in zip(photos, landmarks, strict=True)])
    said = (look(LOOKS, views) + look(LOOKS, np.ascontiguousarray(views[..., ::-1]))) / 2
    return np.stack([1.0 / (1.0 + np.exp(-said[:, 0])), said[:, 1]], axis=1)
