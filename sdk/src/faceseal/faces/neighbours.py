"""Faces so near each other that their masks would overlap: each pixel is replaced with one face only.

Were a pixel in two masks, the face that was exchanged first would come back from what the
other's latent carries of it, on another grid of cells.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from faceseal.faces.geometry import FloatArray, face_centre, framed_side
from faceseal.faces.square import FaceSquare, corner_of
from faceseal.grid import GRID

ALIKE = 0.15
"""Cells whose sizes differ by a smaller share than this may take the same size."""

Cells = NDArray[np.bool_]
"""(16, 16), of a face square."""


def squares_meet(one: FaceSquare, other: FaceSquare) -> bool:
    """Whether the squares share a pixel."""
    return (
        one.x < other.x + other.side
        and other.x < one.x + one.side
        and one.y < other.y + other.side
        and other.y < one.y + one.side
    )


def aligned_squares(
    squares: Sequence[FaceSquare], landmarks: Sequence[FloatArray], width: int, height: int
) -> list[FaceSquare]:
    """The squares, moved by less than a cell where that lets neighbours' cells coincide.

    landmarks: (5, 2) or more each, pixels of the photo of width x height.  Squares that cross the
    photo's edge are bound to it, so they come first; then each takes the size of the cells of the
    nearest before it that it meets and whose cells are about as large as its own, and lies a whole
    number of them from it.  Along an axis on which that would part a cell by the photo's edge, it
    stays where it is.
    """
    aligned: dict[int, FaceSquare] = {}
    for index in sorted(range(len(squares)), key=lambda index: squares[index].inside(width, height).all()):
        square, centre = squares[index], face_centre(landmarks[index])
        near = [other for other in aligned.values() if squares_meet(square, other) and _about_as_large(square, other)]
        if near:
            to = min(near, key=lambda other: float(np.hypot(*(_middle(other) - centre))))
            square = FaceSquare(
                _snapped(corner_of(centre[0], to.cell, width), to.x, to.cell, width),
                _snapped(corner_of(centre[1], to.cell, height), to.y, to.cell, height),
                to.cell,
            )
        aligned[index] = square
    return [aligned[index] for index in range(len(squares))]


def _about_as_large(one: FaceSquare, other: FaceSquare) -> bool:
    return abs(one.cell - other.cell) < ALIKE * max(one.cell, other.cell)


def _middle(square: FaceSquare) -> FloatArray:
    return np.array([square.x, square.y]) + square.side / 2


def _snapped(start: int, to: int, cell: int, length: int) -> int:
    """The place nearest to `start`, whole cells from `to`, on an axis of a photo that is `length` pixels long there.

    `start` itself if each place nearer than a cell has a cell that the photo's edge parts.
    """
    below = start - (start - to) % cell
    for place in sorted((below, below + cell), key=lambda place: abs(place - start)):
        beyond = place + GRID * cell - length
        if abs(place - start) < cell and (place >= 0 or place % cell == 0) and (beyond <= 0 or beyond % cell == 0):
            return place
    return start


def touched_cells(square: FaceSquare, other: FaceSquare, mask: Cells) -> Cells:
    """The cells of `square` that share a pixel with masked cells of the other."""
    if not squares_meet(square, other):
        return np.zeros((GRID, GRID), dtype=bool)
    return _masked_below(square, other, mask) > 0


def covered_cells(square: FaceSquare, other: FaceSquare, mask: Cells) -> Cells:
    """The cells of `square` that lie in masked cells of the other with all of their pixels."""
    if not squares_meet(square, other):
        return np.zeros((GRID, GRID), dtype=bool)
    return ~(_masked_below(square, other, ~mask, beyond=1) > 0)


def parted_masks(squares: Sequence[FaceSquare], masks: Sequence[Cells], landmarks: Sequence[FloatArray]) -> list[Cells]:
    """The faces' masks without a pixel in common.

    landmarks: (5, 2) or more each, pixels of the photo.  What several masks cover goes to the face
    whose centre is nearest, in sides of its square.  Where two grids do not coincide (see `aligned_squares`), the
    later face yields: between two faces a strip narrower than one of its cells may stay as it is.
    """
    parted: list[Cells] = []
    for index, square in enumerate(squares):
        mask = masks[index].copy()
        for later in range(index + 1, len(squares)):
            if squares_meet(square, squares[later]):
                nearer = _distance(square, landmarks[later]) < _distance(square, landmarks[index])
                mask &= ~(covered_cells(square, squares[later], masks[later]) & nearer)
        for earlier in range(index):
            mask &= ~touched_cells(square, squares[earlier], parted[earlier])
        parted.append(mask)
    return parted


def _masked_below(square: FaceSquare, other: FaceSquare, mask: Cells, beyond: int = 0) -> NDArray[np.int64]:
    """How many of the other's masked cells each cell of `square` meets; `beyond`: what counts outside its grid."""
    ringed = np.pad(mask.astype(np.int64), 1, constant_values=beyond)
    sums = np.pad(ringed.cumsum(axis=0).cumsum(axis=1), ((1, 0), (1, 0)))
    left, right = _met(square.x - other.x, square.cell, other.cell)
    top, bottom = (line[:, None] for line in _met(square.y - other.y, square.cell, other.cell))
    return np.asarray(sums[bottom, right] - sums[top, right] - sums[bottom, left] + sums[top, left])


def _met(start: int, cell: int, other_cell: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """First and one past the last of the other's cells that each of 16 cells meets on one axis.

    start: pixels from the other square's edge to this one's.  The ring is the other's cell 0, and
    the last one; what lies beyond counts as ring.
    """
    first = start + cell * np.arange(GRID)
    last = first + cell - 1
    return np.clip(first // other_cell + 1, 0, GRID + 1), np.clip(last // other_cell + 2, 1, GRID + 2)


def _distance(square: FaceSquare, landmarks: FloatArray) -> FloatArray:
    """From the centres of the square's cells to a face's, (16, 16), in sides of the latter's square."""
    centres = (np.arange(GRID) + 0.5) * square.cell
    x, y = face_centre(landmarks) - [square.x, square.y]
    return np.asarray(np.hypot(centres[None, :] - x, centres[:, None] - y) / framed_side(landmarks))
