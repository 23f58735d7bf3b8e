"""A face recognition network, for measuring only: how alike do two faces look to a machine?"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from faceseal.errors import ModelError

SIDE = 112
TEMPLATE = np.array(
    [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]]
)
"""Where ArcFace puts the five landmarks in its 112 x 112 crop (arXiv 1801.07698), in pixels."""


def similarity(source: NDArray[np.float64], target: NDArray[np.float64]) -> NDArray[np.float64]:
    """The least-squares similarity (2, 3) that takes points (N, 2) from source to target."""
    x, y = source[:, 0], source[:, 1]
    one, zero = np.ones_like(x), np.zeros_like(x)
    rows = np.concatenate([np.stack([x, -y, one, zero], axis=1), np.stack([y, x, zero, one], axis=1)])
    (a, b, shift_x, shift_y), *_ = np.linalg.lstsq(rows, target.T.ravel(), rcond=None)
    return np.array([[a, -b, shift_x], [b, a, shift_y]])


def align(pixels: NDArray[np.uint8], landmarks: NDArray[np.float64]) -> NDArray[np.uint8]:
    """The 112 x 112 crop of a photo (H, W, 3) in which `landmarks` (5, 2) lie as ArcFace wants."""
    back = similarity(TEMPLATE, landmarks)
    image = Image.fromarray(pixels).transform(
        (SIDE, SIDE), Image.Transform.AFFINE, tuple(back.ravel()), Image.Resampling.BICUBIC
    )
    return np.asarray(image)


class Recognizer:
    """An ONNX network that maps RGB 112 x 112 crops, ``(x - 127) / 128``, to embeddings.

    Made for ``model/fr_feature.onnx`` (512 numbers, MIT licence) of the npm package
    faceplugin-face-recognition-js 0.0.1.  Raises ModelError if the file cannot be loaded.
    """

    def __init__(self, path: Path) -> None:
        import onnxruntime

        try:
            options = onnxruntime.SessionOptions()
            options.intra_op_num_threads = 1
            self._session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        except Exception as cause:
            raise ModelError(f"{path} is not a recognition network that onnxruntime can load") from cause
        self._input = self._session.get_inputs()[0].name

    def embed(self, pixels: NDArray[np.uint8], landmarks: NDArray[np.float64]) -> NDArray[np.float64]:
        """The face's unit vector."""
        crop = (align(pixels, landmarks).astype(np.float32) - 127.0) / 128.0
        (vector,) = self._session.run(None, {self._input: crop.transpose(2, 0, 1)[None]})
        return np.asarray(vector[0] / np.linalg.norm(vector[0]), dtype=np.float64)
