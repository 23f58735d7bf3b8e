"""The middle of a mouth's two inner lip edges: how far it is open.

A small network looks at the mouth alone, upright and always at the same size.  It was
distilled from the lips of MediaPipe's face mesh (Kartynnik et al., arXiv 1907.06724), see
`faceseal.training.lips`, because that network comes with no package that is light to install.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from faceseal.errors import MissingDependency
from faceseal.faces.geometry import FloatArray, face_frame, framed_side
from faceseal.weights import LIPS

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

VIEW = 40
"""Side of what the network sees, in pixels."""
SHARE = 0.42
"""Side of what it sees, in sides of the face square."""
OVERSAMPLED = 3
"""A larger mouth is first reduced to about this many pixels per pixel of the view."""


def mouth_view(pixels: NDArray[np.uint8], landmarks: FloatArray) -> tuple[NDArray[np.float32], FloatArray]:
    """What the network sees of a face (landmarks (5, 2) or more, in pixels) in a photo (H, W, 3).

    Returns (3, 40, 40) values in -1..1, and the affine map (2, 3) from positions in it, in
    pixels of the view, to the photo's pixels.
    """
    middle = landmarks[3:5].mean(axis=0)
    unit = SHARE * framed_side(landmarks) / VIEW
    turn = face_frame(landmarks).T * unit
    place = np.concatenate([turn, (middle - turn @ np.full(2, VIEW / 2))[:, None]], axis=1)
    half = unit * VIEW * 0.75
    corner = np.floor(middle - half).astype(int)
    far = np.ceil(middle + half).astype(int) + 1
    image = Image.fromarray(pixels).crop((*corner.tolist(), *far.tolist()))
    shrink = max(1, int(unit / OVERSAMPLED))
    if shrink > 1:
        image = image.reduce(shrink)
    back = np.concatenate([turn, (place[:, 2] - corner)[:, None]], axis=1) / shrink
    view = image.transform((VIEW, VIEW), Image.Transform.AFFINE, tuple(back.ravel()), Image.Resampling.BILINEAR)
    return np.asarray(view, dtype=np.float32).transpose(2, 0, 1) / 127.5 - 1.0, place


def find_lips(pixels: NDArray[np.uint8], landmarks: FloatArray) -> FloatArray:
    """Middle of the upper and of the lower lip's inner edge (2, 2), in the photo's pixels.

    pixels: (H, W, 3), RGB; landmarks: (5, 2), as `faceseal.faces.geometry` says.
    Raises MissingDependency if ``faceseal[generator]`` is not installed.
    """
    view, place = mouth_view(pixels, landmarks)
    session = _session()
    (points,) = session.run(None, {session.get_inputs()[0].name: view[None]})
    return in_photo(np.asarray(points, dtype=np.float64).reshape(2, 2), place)


def in_photo(points: FloatArray, place: FloatArray) -> FloatArray:
    """The network's points (2, 2), in halves of the view from its middle, in the photo's pixels."""
    return np.asarray((points + 1.0) * (VIEW / 2) @ place[:, :2].T + place[:, 2])


def in_view(points: FloatArray, place: FloatArray) -> FloatArray:
    """The inverse of `in_photo`."""
    return np.asarray((points - place[:, 2]) @ np.linalg.inv(place[:, :2]).T / (VIEW / 2) - 1.0)


@cache
def _session() -> InferenceSession:
    try:
        import onnxruntime
    except ModuleNotFoundError as cause:
        raise MissingDependency(f"{cause.name} is not installed; finding faces needs faceseal[generator]") from cause
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(str(LIPS), options, providers=["CPUExecutionProvider"])
