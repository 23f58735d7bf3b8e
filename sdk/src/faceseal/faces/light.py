"""The light on a face and its complexion, as coarsely as its four quarters show them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from faceseal.faces.geometry import FloatArray


def find_light(square: NDArray[np.uint8], mask: NDArray[np.bool_]) -> FloatArray:
    """Mean colours (4, 3), in levels, of a face square (S, S, 3) in the quarters of its mask (16, 16).

    The quarters meet in the middle of what is masked: upper left, upper right, lower left,
    lower right.  One in which nothing is masked has the colour of all that is.
    """
    cells = len(mask)
    colours = square.reshape(cells, len(square) // cells, cells, -1, 3).mean(axis=(1, 3))
    rows, columns = np.nonzero(mask)
    quarters = 2 * (rows > rows.mean()) + (columns > columns.mean())
    masked = colours[mask]
    parts = [masked[quarters == quarter] for quarter in range(4)]
    return np.stack([(part if len(part) else masked).mean(axis=0) for part in parts])
