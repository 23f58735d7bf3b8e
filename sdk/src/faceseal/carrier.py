"""Writing a latent into 8-bit pixels, which have more room than it needs.

A cell of ``cell x cell`` RGB pixels holds ``3 * cell**2`` numbers, the latent fixes 32 of
them, and `CellCodec.encode` ignores all others: the *free* directions.  They are used, in
this order,

1. to close the seams between cells (projection on convex sets, as for JPEG's blocks:
   Zakhor, IEEE Trans. CSVT 2, 1992);
2. for grain like that of the photo around the face, which the latent does not carry;
3. to keep values within 0..255, so that clipping costs the latent little;
4. for rounding: each value goes up or down such that the errors cancel in the latent
   (noise shaping), which leaves about a quarter of the error of rounding to the nearest.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.fft import dctn
from scipy.ndimage import gaussian_filter

from faceseal.grid import GRID
from faceseal.keyed import Keystream
from faceseal.latent import PATCH, CellCodec

FloatArray = NDArray[np.float64]

SEAM_WIDTH = 0.5
"""Standard deviation of the low-pass that closes seams, in pixels of the 128-pixel square."""
SEAM_ROUNDS = 8
RANGE_ROUNDS = 12
RANGE_MARGIN = 1.0
"""Values are kept this far from 0 and 255 before rounding, in grey levels."""
SHAPING_SWEEPS = 3
SHAPED_PIXELS = 768
"""Of a larger cell, so many of its numbers take part in shaping the rounding."""
OPPONENT = np.array([[1.0, 1.0, 1.0], [1.0, 0.0, -1.0], [1.0, -2.0, 1.0]]) / np.sqrt([[3.0], [2.0], [6.0]])
"""Orthonormal: brightness and two colour differences, from RGB."""
RINGS = (2.0, 3.0, 4.0, 5.0, 6.0, 7.5, 12.0, 18.0, 27.0, 40.0, 60.0, 90.0)
"""Borders of the rings of spatial frequency, in half cycles per cell."""
LEAST_POWER = 1e-3
"""Added to the power of a ring before its logarithm, in squared grey levels."""
COARSE = 8
"""The components from this one on tell how much fine detail a cell has."""
DETAIL_EXPONENT = 0.8
"""Power of the residual grows with this power of the carried detail (fitted to training squares)."""
MOST_ALIKE = 12
"""At least so many cells around the face tell what grain it gets, if there are so many."""
FLOOR = 3e-3
"""Added to the carried detail, in squared units of the latent."""
MOST_GRAIN = 12.0
"""Root mean square of the grain of one cell is kept below this, in grey levels."""


def write(
    codec: CellCodec,
    latent: FloatArray,
    square: NDArray[np.uint8],
    mask: NDArray[np.bool_],
    inside: NDArray[np.bool_],
    stream: Keystream,
) -> NDArray[np.uint8]:
    """The square (S, S, 3) with `latent` (32, 16, 16) in the masked cells; all others are kept.

    square: the photo's face square, whose cells that are `inside` (16, 16) and not in the
    mask show what grain the photo has; stream: where the grain comes from.
    """
    free = _Free(codec)
    surroundings = codec.blocks(square[None].astype(np.float64))[0]
    cells = _filled(codec, free, surroundings, latent, mask)
    seen = inside & ~mask
    if seen.any():
        cells[mask] += _grain(codec, free, latent, surroundings, mask, seen, stream)
    masked = cells[mask]
    for _ in range(RANGE_ROUNDS):
        masked = masked + free(np.clip(masked, RANGE_MARGIN, 255.0 - RANGE_MARGIN) - masked)
    cells[mask] = shaped_rounding(masked, codec.encoding)
    return np.asarray(codec.square(cells[None])[0], dtype=np.uint8)


def smooth(
    codec: CellCodec, latent: FloatArray, square: NDArray[np.uint8], mask: NDArray[np.bool_]
) -> NDArray[np.uint8]:
    """The square (S, S, 3) with `latent` (32, 16, 16) in the masked cells, as a picture without seams.

    For looking at, not for carrying: values are rounded and clipped as they are.
    """
    surroundings = codec.blocks(square[None].astype(np.float64))[0]
    cells = _filled(codec, _Free(codec), surroundings, latent, mask)
    picture = np.clip(np.rint(codec.square(cells[None])[0]), 0, 255).astype(np.uint8)
    shown = mask.repeat(codec.cell, axis=0).repeat(codec.cell, axis=1)
    return np.where(shown[..., None], picture, square)


class _Free:
    """The projection of blocks (..., 3 * cell**2) on what `encode` ignores."""

    def __init__(self, codec: CellCodec) -> None:
        self._encoding, self._decoding = codec.encoding, codec.decoding

    def __call__(self, blocks: FloatArray) -> FloatArray:
        return np.asarray(blocks - blocks @ self._encoding.T @ self._decoding.T)


def _filled(
    codec: CellCodec, free: _Free, surroundings: FloatArray, latent: FloatArray, mask: NDArray[np.bool_]
) -> FloatArray:
    """Blocks (16, 16, 3 * cell**2) of the surroundings, and of `latent` in the masked cells, without seams."""
    cells = surroundings.copy()
    cells[mask] = codec.blocks(codec.decode(latent[None]))[0][mask]
    return _close_seams(codec, free, cells, mask)


def _close_seams(codec: CellCodec, free: _Free, cells: FloatArray, mask: NDArray[np.bool_]) -> FloatArray:
    width = SEAM_WIDTH * codec.cell / PATCH

    def blurred(picture: FloatArray) -> FloatArray:
        return np.asarray(gaussian_filter(picture, (width, width, 0), mode="nearest", truncate=3.0))

    for _ in range(SEAM_ROUNDS if codec.cell >= PATCH else 0):
        once = blurred(codec.square(cells[None])[0])
        wanted = codec.blocks((2 * once - blurred(once))[None])[0]
        cells[mask] += free(wanted[mask] - cells[mask])
    return cells


def _grain(
    codec: CellCodec,
    free: _Free,
    latent: FloatArray,
    surroundings: FloatArray,
    mask: NDArray[np.bool_],
    seen: NDArray[np.bool_],
    stream: Keystream,
) -> FloatArray:
    """Random detail (masked cells, 3 * cell**2) with the power that the photo's own has.

    Per ring of spatial frequency, the median of log power less `DETAIL_EXPONENT` times log
    carried detail, over the third of the cells around whose carried detail is most like the
    face's, is what cells of this photo have.
    """
    detail = np.log(_detail(codec.encode(codec.square(surroundings[None]))[0]))
    wanted = np.log(_detail(latent))
    wanted[~mask] = np.median(wanted[mask])
    unlike = np.abs(detail[seen] - wanted[~mask][0])
    alike = np.argsort(unlike, kind="stable")[: max(MOST_ALIKE, len(unlike) // 3)]
    given = free(surroundings[seen][alike] - codec.mean).reshape(-1, codec.cell, codec.cell, 3)
    levels = _levels(dctn(given, axes=(1, 2), norm="ortho") @ OPPONENT.T, detail[seen][alike])
    side = GRID * codec.cell
    field = _field(levels, stream.normal(side, side, 3), codec.cell) @ OPPONENT
    strength = gaussian_filter(wanted.repeat(codec.cell, axis=0).repeat(codec.cell, axis=1), codec.cell / 3)
    field *= np.exp(DETAIL_EXPONENT * strength / 2)[..., None]
    grain = free(codec.blocks(field[None])[0][mask])
    size = np.sqrt((grain**2).mean(axis=1, keepdims=True))
    return np.asarray(grain * np.minimum(1.0, MOST_GRAIN / np.maximum(size, 1e-9)))


def _levels(spectrum: FloatArray, detail: FloatArray) -> FloatArray:
    """Log power (rings, 3) per unit of carried detail, of spectra (N, cell, cell, 3) of cells with `detail` (N,)."""
    ring = _ring(np.hypot(*np.indices(spectrum.shape[1:3])))
    levels = np.full((len(RINGS) + 1, 3), -np.inf)
    for number in np.unique(ring):
        power = (spectrum[:, ring == number] ** 2).mean(axis=1)
        colour = power[:, 1:].mean(axis=1)
        for channel, of in enumerate((power[:, 0], colour, colour)):
            levels[number, channel] = np.median(np.log(of + LEAST_POWER) - DETAIL_EXPONENT * detail)
    return levels


def _field(levels: FloatArray, white: FloatArray, cell: int) -> FloatArray:
    """White noise (S, S, 3), given the power of each ring and channel; it knows no cells, so it has no seams."""
    across, down = np.fft.rfftfreq(white.shape[1]), np.fft.fftfreq(white.shape[0])
    ring = _ring(2 * cell * np.hypot(down[:, None], across))
    gain = np.exp(levels / 2)[ring]
    return np.asarray(np.fft.irfft2(np.fft.rfft2(white, axes=(0, 1)) * gain, s=white.shape[:2], axes=(0, 1)))


def _ring(frequency: FloatArray) -> NDArray[np.intp]:
    """Numbers of the rings of frequencies in half cycles per cell, which are a cell's DCT indices."""
    return np.digitize(frequency, RINGS)


def _detail(latent: FloatArray) -> FloatArray:
    return np.asarray((latent[COARSE:] ** 2).mean(axis=0) + FLOOR)


def shaped_rounding(values: FloatArray, encoding: FloatArray) -> FloatArray:
    """Whole numbers 0..255 (N, D) near `values`, whose errors nearly cancel under `encoding` (K, D).

    Coordinate descent: one number after the other moves to its other neighbour where that
    makes the sum of squares of the encoded error smaller.
    """
    rounded = np.clip(np.rint(values), 0, 255)
    low, high = np.clip(np.floor(values), 0, 255), np.clip(np.ceil(values), 0, 255)
    error = (rounded - values) @ encoding.T
    weight = (encoding**2).sum(axis=0)
    order = np.argsort(-weight, kind="stable")
    order = order[:: max(1, len(order) // SHAPED_PIXELS)]
    for sweep in range(SHAPING_SWEEPS):
        for index in order[:: -1 if sweep % 2 else 1]:
            column = encoding[:, index]
            best = rounded[:, index] - np.rint(error @ column / max(weight[index], 1e-30))
            moved = np.clip(best, low[:, index], high[:, index])
            error += (moved - rounded[:, index])[:, None] * column
            rounded[:, index] = moved
    return rounded
