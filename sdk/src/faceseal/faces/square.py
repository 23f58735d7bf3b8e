"""The face square: where it lies in the photo, what it cuts out, what it puts back.

A square has 16 x 16 cells of ``cell x cell`` whole pixels.  Where it reaches beyond the
photo, its cells' borders coincide with the photo's edge: a cell lies in the photo with all
of its pixels or with none.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from faceseal.errors import PhotoError
from faceseal.faces.geometry import ELLIPSE_RADII, FloatArray, ellipse_mask, face_centre, face_frame, framed_side
from faceseal.grid import GRID

SMALLEST_CELL = 3
"""A smaller face is covered by more than its share of cells of this size, in pixels."""
FRONTAL_NOSE = 0.06
"""A nose farther aside than this, in sides of the square, shows that the face looks aside."""
ASIDE_PER_NOSE = 1.5
"""How far the ellipse moves for what a nose is beyond `FRONTAL_NOSE`."""
LARGEST_ASIDE = 0.12
"""The ellipse moves no further than this, in sides of the square: it stays within it."""
LARGEST_CELL = 128
"""A face that needs larger cells than this, in pixels, is refused."""


@dataclass(frozen=True)
class FaceSquare:
    """A square of the photo; x, y: its top left corner, may be negative; cell: all in pixels."""

    x: int
    y: int
    cell: int

    @property
    def side(self) -> int:
        """In pixels."""
        return GRID * self.cell

    def crop(self, pixels: NDArray[np.uint8], margin: int = 0) -> NDArray[np.uint8]:
        """The square (side, side, 3) of a photo (H, W, 3), whose edge pixels continue beyond it.

        margin: pixels of the photo around the square that come along on all sides.
        """
        along = np.arange(-margin, self.side + margin)
        rows = np.clip(self.y + along, 0, pixels.shape[0] - 1)
        columns = np.clip(self.x + along, 0, pixels.shape[1] - 1)
        return np.asarray(pixels[rows[:, None], columns])

    def paste(self, pixels: NDArray[np.uint8], square: NDArray[np.uint8], mask: NDArray[np.bool_]) -> NDArray[np.uint8]:
        """A copy of the photo (H, W, 3) with the square's (side, side, 3) pixels in masked cells (16, 16)."""
        height, width, _ = pixels.shape
        replaced = self.masked_pixels(mask, width, height)
        rows, columns = np.nonzero(replaced)
        pasted = pixels.copy()
        pasted[rows, columns] = square[rows - self.y, columns - self.x]
        return pasted

    def inside(self, width: int, height: int) -> NDArray[np.bool_]:
        """Cells (16, 16) that lie in a photo of width x height with all of their pixels."""
        columns = self.x + self.cell * np.arange(GRID)
        rows = self.y + self.cell * np.arange(GRID)
        across = (columns >= 0) & (columns + self.cell <= width)
        down = (rows >= 0) & (rows + self.cell <= height)
        return np.asarray(down[:, None] & across)

    def rim(self, width: int, height: int) -> NDArray[np.bool_]:
        """Cells (16, 16) of the outermost ring, along the sides on which a photo of width x height goes on.

        They stay as they are: a generator that does not see what follows leaves a seam there.
        """
        ring = np.zeros((GRID, GRID), dtype=bool)
        ring[0], ring[-1] = self.y > 0, self.y + self.side < height
        ring[:, 0] |= self.x > 0
        ring[:, -1] |= self.x + self.side < width
        return ring

    def masked_pixels(self, mask: NDArray[np.bool_], width: int, height: int) -> NDArray[np.bool_]:
        """Pixels (height, width) of the photo that lie in masked cells (16, 16)."""
        covered = np.zeros((height, width), dtype=bool)
        x0, y0 = max(self.x, 0), max(self.y, 0)
        x1, y1 = min(self.x + self.side, width), min(self.y + self.side, height)
        if x0 < x1 and y0 < y1:
            blocks = mask.repeat(self.cell, axis=0).repeat(self.cell, axis=1)
            covered[y0:y1, x0:x1] = blocks[y0 - self.y : y1 - self.y, x0 - self.x : x1 - self.x]
        return covered


def place_square(landmarks: FloatArray, photo_width: int, photo_height: int) -> FaceSquare:
    """The square that shows a face (landmarks (5, 2), pixels) as the generator was trained to see it.

    The square is never larger than the photo's shorter side, so that it crosses at most one
    edge of the photo along each axis; a face that fills the photo is then framed tighter.

    Raises PhotoError if the face is too large for the largest cells, or the photo too small
    for the smallest.
    """
    fitting = min(photo_width, photo_height) // GRID
    if fitting < SMALLEST_CELL:
        raise PhotoError(f"the photo is smaller than {GRID * SMALLEST_CELL} pixels; use a larger version of it")
    wanted = max(round(framed_side(landmarks) / GRID), SMALLEST_CELL)
    cell = min(wanted, fitting)
    if cell > LARGEST_CELL:
        share = math.floor(100 * LARGEST_CELL / wanted)
        raise PhotoError(
            f"a face needs a square of {GRID * wanted} pixels and {GRID * LARGEST_CELL} is the most; "
            f"shrink the photo to {share} % first"
        )
    x, y = face_centre(landmarks)
    return FaceSquare(corner_of(x, cell, photo_width), corner_of(y, cell, photo_height), cell)


def corner_of(centre: float, cell: int, length: int) -> int:
    """First pixel of a square around `centre`, on one axis of a photo that is `length` pixels long there."""
    side = GRID * cell
    start = math.floor(min(max(centre, 0.0), float(length)) - side / 2 + 0.5)
    if start < 0:
        return -cell * _nearest(-start, cell)
    if start + side > length:
        return length - side + cell * _nearest(start + side - length, cell)
    return start


def _nearest(length: int, cell: int) -> int:
    """Whole cells nearest to a length in pixels."""
    return (2 * length + cell) // (2 * cell)


def face_mask(landmarks: FloatArray, square: FaceSquare) -> NDArray[np.bool_]:
    """Cells (16, 16) of the square that cover a face (landmarks (5, 2), pixels of the photo).

    The ellipse has the face's size, also where the square could not follow it: see
    `place_square`.  In a face that looks aside it moves from the features towards the cheek
    and the ear.  Cells beyond the photo's edge and on the square's rim are among them; see
    `FaceSquare.inside` and `FaceSquare.rim`.
    """
    placed = landmarks - [square.x, square.y]
    placed = placed - _turned_aside(landmarks)
    growth = max(framed_side(landmarks) / square.side, 1.0)
    return ellipse_mask(placed, square.side, (ELLIPSE_RADII[0] * growth, ELLIPSE_RADII[1] * growth))


def _turned_aside(landmarks: FloatArray) -> FloatArray:
    """How far (2,), in pixels, the features of a face (5, 2) that looks aside lie from the middle of its head.

    The nose leaves the line between the eyes' and the mouth's middle by less than
    `FRONTAL_NOSE` in nine of ten faces of the training data, which their mask fits.
    """
    across, _ = face_frame(landmarks)
    side = framed_side(landmarks)
    nose = float((landmarks[2] - face_centre(landmarks)) @ across) / side
    beyond = min(max(abs(nose) - FRONTAL_NOSE, 0.0) * ASIDE_PER_NOSE, LARGEST_ASIDE)
    return np.asarray(across * math.copysign(beyond, nose) * side)
