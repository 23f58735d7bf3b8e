"""The middle of a mouth's two inner lip edges: how far it is open.

A small network looks at the mouth alone, upright and always at the same size.  It was
distilled from the lips of MediaPipe's face mesh (Kartynnik et al., arXiv 1907.06724), see
`faceseal.training.lips`, because that network comes with no package that is light to install.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from faceseal.faces.geometry import FloatArray
from faceseal.faces.upright import look, upright_view
from faceseal.weights import LIPS

VIEW = 40
"""Side of what the network sees, in pixels."""
SHARE = 0.42
"""Side of what it sees, in sides of the face square."""


def mouth_view(pixels: NDArray[np.uint8], landmarks: FloatArray) -> tuple[NDArray[np.float32], FloatArray]:
    """What the network sees of a face (landmarks (5, 2) or more, in pixels) in a photo (H, W, 3).

    Returns (3, 40, 40) values in -1..1, and the affine map (2, 3) from positions in it, in
    pixels of the view, to the photo's pixels.
    """
    return upright_view(pixels, landmarks, landmarks[3:5].mean(axis=0), SHARE, VIEW)


def find_lips(pixels: NDArray[np.uint8], landmarks: FloatArray) -> FloatArray:
    """Middle of the upper and of the lower lip's inner edge (2, 2), in the photo's pixels.

    pixels: (H, W, 3), RGB; landmarks: (5, 2), as `faceseal.faces.geometry` says.
    Raises MissingDependency if ``faceseal[generator]`` is not installed.
    """
    view, place = mouth_view(pixels, landmarks)
    return in_photo(look(LIPS, view[None]).reshape(2, 2), place)


def in_photo(points: FloatArray, place: FloatArray) -> FloatArray:
    """The network's points (2, 2), in halves of the view from its middle, in the photo's pixels."""
    return np.asarray((points + 1.0) * (VIEW / 2) @ place[:, :2].T + place[:, 2])


def in_view(points: FloatArray, place: FloatArray) -> FloatArray:
    """The inverse of `in_photo`."""
    return np.asarray((points - place[:, 2]) @ np.linalg.inv(place[:, :2]).T / (VIEW / 2) - 1.0)
