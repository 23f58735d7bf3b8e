"""What the small networks that look at a face see of it: upright, and always at the same size."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from faceseal.errors import MissingDependency
from faceseal.faces.geometry import FloatArray, face_frame, framed_side

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

OVERSAMPLED = 3
"""A larger view is first reduced to about this many pixels per pixel."""


def upright_view(
    pixels: NDArray[np.uint8], landmarks: FloatArray, middle: FloatArray, share: float, side: int
) -> tuple[NDArray[np.float32], FloatArray]:
    """A face (landmarks (5, 2) or more, in pixels) in a photo (H, W, 3), around `middle` (2,).

    share: side of the view, in sides of the face square; side: the same, in pixels.
    Returns (3, side, side) values in -1..1, black beyond the photo, and the affine map (2, 3)
    from positions in it, in pixels of the view, to the photo's pixels.
    """
    unit = share * framed_side(landmarks) / side
    turn = face_frame(landmarks).T * unit
    place = np.concatenate([turn, (middle - turn @ np.full(2, side / 2))[:, None]], axis=1)
    half = unit * side * 0.75
    corner = np.floor(middle - half).astype(int)
    far = np.ceil(middle + half).astype(int) + 1
    image = Image.fromarray(pixels).crop((*corner.tolist(), *far.tolist()))
    shrink = max(1, int(unit / OVERSAMPLED))
    if shrink > 1:
        image = image.reduce(shrink)
    back = np.concatenate([turn, (place[:, 2] - corner)[:, None]], axis=1) / shrink
    view = image.transform((side, side), Image.Transform.AFFINE, tuple(back.ravel()), Image.Resampling.BILINEAR)
    return np.asarray(view, dtype=np.float32).transpose(2, 0, 1) / 127.5 - 1.0, place


def look(network: Path, views: NDArray[np.float32]) -> FloatArray:
    """What a packaged network says of views (B, 3, S, S).  Raises MissingDependency without onnxruntime."""
    session = _session(network)
    (said,) = session.run(None, {session.get_inputs()[0].name: views})
    return np.asarray(said, dtype=np.float64)


@cache
def _session(network: Path) -> InferenceSession:
    try:
        import onnxruntime
    except ModuleNotFoundError as cause:
        raise MissingDependency(f"{cause.name} is not installed; finding faces needs faceseal[generator]") from cause
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(str(network), options, providers=["CPUExecutionProvider"])
