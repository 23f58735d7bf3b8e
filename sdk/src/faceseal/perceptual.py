"""A hash of what a photo looks like: 64 bits of which few change when it is coded again or resized.

The DCT hash of C. Zauner, "Implementation and Benchmarking of Perceptual Image Hash
Functions" (2010), section 3.2.1: the luma at 32x32, its two-dimensional DCT, the 8x8 lowest
frequencies without the first row and column, and of each whether it is above their median.
It knows neither rotation nor cropping, nor is it meant to withstand somebody who forges it.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from PIL import Image

HASH_BYTES = 8
_SIDE = 32
_KEPT = 8


def perceptual_hash(pixels: NDArray[np.uint8]) -> bytes:
    """The hash (8 bytes) of a photo (H, W, 3), RGB: rows of the DCT first, the lowest frequency in the highest bit."""
    luma = Image.fromarray(pixels).convert("L")
    # Each pixel of the small picture is the mean of its part of the photo, whatever the photo's size.
    small = np.asarray(luma.resize((_SIDE, _SIDE), Image.Resampling.BOX), dtype=np.float64)
    low = (_LOWEST @ small @ _LOWEST.T).ravel()
    return np.packbits(low > np.median(low)).tobytes()


def hamming_distance(one: bytes, other: bytes) -> int:
    """How many bits differ.  Raises ValueError if the lengths do."""
    if len(one) != len(other):
        raise ValueError("hashes of different lengths")
    return (int.from_bytes(one) ^ int.from_bytes(other)).bit_count()


def _dct_rows() -> NDArray[np.float64]:
    """Rows 1 to 8 of the orthonormal DCT-II of 32 points."""
    frequencies, points = np.arange(1, _KEPT + 1)[:, None], np.arange(_SIDE)[None]
    waves: NDArray[np.float64] = np.cos(np.pi * frequencies * (2 * points + 1) / (2 * _SIDE))
    return waves * math.sqrt(2 / _SIDE)


_LOWEST = _dct_rows()
