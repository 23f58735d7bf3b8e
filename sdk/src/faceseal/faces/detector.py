"""Finding the faces of a photo, of all sizes and in every orientation.

A photo is looked at twice, whole and small, because the network misses a face that is much
larger than those it was trained on.  Every face found is then looked at again, alone,
upright and always at the same size: so its landmarks do not depend on how large it is in
the photo, and the generator's framing depends on the landmarks.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from faceseal.faces.centerface import SAME_FACE, Candidates, FloatArray, look, overlap, suppress
from faceseal.faces.geometry import framed_side, quarter_turns

THRESHOLD = 0.4
"""Weakest score of a face."""
LONGEST = 1600
"""Long side at which a whole photo is looked at, in pixels."""
LARGEST_ZOOM = 2.0
"""A small photo is enlarged by at most this."""
COARSE = 384
"""Long side of the second look, for faces that fill the photo, in pixels."""
CANONICAL = 200
"""Longer side of a face's box when it is looked at alone, in pixels: landmarks are best there."""
UPRIGHT_SCORE = 0.6
"""A face that scores less when looked at alone is looked at in all four quarter turns."""
SPREAD = 0.6
"""Landmarks that span less than this share of what fits their box were not understood."""
LARGEST_FACE_ZOOM = 8.0
"""A small face is enlarged by at most this."""
SURROUNDINGS = 0.5
"""What is shown on each side of a face's box, in box sides."""
SMALLEST_VIEW = 8
"""A face whose surroundings are smaller than this, in pixels, is not looked at again."""
INSIDE = 0.7
"""A weaker face with this share of its box within a stronger one is a part of it."""


@dataclass(frozen=True, eq=False)
class DetectedFace:
    """One face; all in pixels of the photo, a whole number is a pixel's edge.

    box: x0, y0, x1, y1; score: 0..1; landmarks: (5, 2) as in `faceseal.faces.geometry`:
    right eye, left eye, nose, right and left mouth corner, as seen in the image once the
    face is upright.
    """

    box: tuple[float, float, float, float]
    score: float
    landmarks: FloatArray


def detect_faces(
    pixels: NDArray[np.uint8], *, threshold: float = THRESHOLD, longest: int = LONGEST
) -> list[DetectedFace]:
    """The faces of a photo (H, W, 3), RGB, strongest first; an empty list if there is none.

    threshold: weakest score, 0..1; longest: long side at which the whole photo is looked
    at, in pixels.  A photo that shows no face as it stands, or whose strongest face is
    turned by a quarter or a half, is looked at in other quarter turns too.

    Raises MissingDependency if ``faceseal[generator]`` is not installed.
    """
    faces = _refine(pixels, _search(pixels, 0, threshold, longest), threshold)
    turned = [quarter_turns(faces.landmarks[0])] if len(faces) else [1, 3, 2]
    if turned != [0]:
        found = faces
        for turns in turned:
            found = found.joined(_search(pixels, turns, threshold, longest))
        faces = _refine(pixels, suppress(found), threshold)
    return [
        DetectedFace((float(box[0]), float(box[1]), float(box[2]), float(box[3])), float(score), points)
        for box, score, points in zip(faces.boxes, faces.scores, faces.landmarks, strict=True)
    ]


def _search(pixels: NDArray[np.uint8], turns: int, threshold: float, longest: int) -> Candidates:
    """Faces of the whole photo, from a fine and a coarse look."""
    side = max(pixels.shape[:2])
    fine = min(longest, round(side * LARGEST_ZOOM))
    faces = _look(pixels, turns, fine / side, threshold)
    if fine > COARSE:
        faces = faces.joined(_look(pixels, turns, COARSE / side, threshold))
    return suppress(faces)


def _refine(pixels: NDArray[np.uint8], faces: Candidates, threshold: float) -> Candidates:
    """The same faces, without parts of others, with boxes and landmarks from a look at each alone."""
    boxes, landmarks = faces.boxes.copy(), faces.landmarks.copy()
    for index, (box, points) in enumerate(zip(faces.boxes, faces.landmarks, strict=True)):
        expected = quarter_turns(points)
        alone = _upright(pixels, box, expected, threshold)
        if not len(alone) or alone.scores[0] < UPRIGHT_SCORE:
            for turns in {0, 1, 2, 3} - {expected}:
                alone = alone.joined(_upright(pixels, box, turns, threshold))
        if len(alone):
            boxes[index], landmarks[index] = alone.boxes[0], alone.landmarks[0]
    return _without_parts(Candidates(boxes, faces.scores, landmarks))


def _upright(pixels: NDArray[np.uint8], box: FloatArray, turns: int, threshold: float) -> Candidates:
    """The strongest face, if any, in a turned look at this box's surroundings, if it is upright there.

    Scores say little about how a face is turned; where its landmarks are says more, and
    that they are close together when the network guesses.  Of 130 training squares in four
    orientations, 94 % of the wrong ones are told by this and less than 1 % of the right.
    """
    side = float((box[2:] - box[:2]).max())
    middle, half = (box[:2] + box[2:]) / 2, side * (0.5 + SURROUNDINGS)
    limit = pixels.shape[1::-1]
    x0, y0 = np.clip(np.floor(middle - half), 0, limit).astype(int)
    x1, y1 = np.clip(np.ceil(middle + half), 0, limit).astype(int)
    if min(x1 - x0, y1 - y0) < SMALLEST_VIEW:
        return Candidates.none()
    zoom = min(CANONICAL / side, LARGEST_FACE_ZOOM)
    seen = _look(pixels[y0:y1, x0:x1], turns, zoom, threshold / 2).placed(np.ones(2), np.array([x0, y0]))
    strongest = seen.chosen(np.flatnonzero(overlap(box, seen.boxes) >= SAME_FACE)[:1])
    if not len(strongest):
        return strongest
    points, extent = strongest.landmarks[0], float((strongest.boxes[0, 2:] - strongest.boxes[0, :2]).max())
    stands = quarter_turns(points) == turns and framed_side(points) >= SPREAD * extent
    return strongest if stands else Candidates.none()


def _without_parts(faces: Candidates) -> Candidates:
    """Leave out what lies within a stronger face, or shows it again."""
    kept: list[int] = []
    for index, box in enumerate(faces.boxes):
        stronger = faces.boxes[kept]
        common = np.clip(np.minimum(box[2:], stronger[:, 2:]) - np.maximum(box[:2], stronger[:, :2]), 0, None)
        within = np.prod(common, axis=1) > INSIDE * np.prod(box[2:] - box[:2])
        if not (within | (overlap(box, stronger) >= SAME_FACE)).any():
            kept.append(index)
    return faces.chosen(np.array(kept, dtype=np.int64))


def _look(pixels: NDArray[np.uint8], turns: int, scale: float, threshold: float) -> Candidates:
    """One look at a picture, turned and at another size; points are in the given picture's pixels."""
    turned = np.rot90(pixels, turns)
    height, width, _ = turned.shape
    size = max(round(width * scale), 1), max(round(height * scale), 1)
    if size != (width, height):
        image = Image.fromarray(np.ascontiguousarray(turned))
        turned = np.asarray(image.resize(size, Image.Resampling.BILINEAR, reducing_gap=2.0))
    seen = look(turned, threshold).placed(np.array([width, height]) / np.array(size), np.zeros(2))
    return _turned_back(seen, turns, pixels.shape[1], pixels.shape[0])


def _turned_back(faces: Candidates, turns: int, width: int, height: int) -> Candidates:
    """Faces seen in ``np.rot90(photo, turns)``, in the photo of width x height."""
    corners = turn_back(faces.boxes.reshape(-1, 2, 2), turns, width, height)
    boxes = np.concatenate([corners.min(axis=1), corners.max(axis=1)], axis=1)
    return Candidates(boxes, faces.scores, turn_back(faces.landmarks, turns, width, height))


def turn_back(points: FloatArray, turns: int, width: int, height: int) -> FloatArray:
    """Where points (..., 2) of ``np.rot90(photo, turns)`` lie in the photo of width x height."""
    x, y = points[..., 0], points[..., 1]
    turned = ((x, y), (width - y, x), (width - x, height - y), (y, height - x))
    return np.stack(turned[turns % 4], axis=-1)
