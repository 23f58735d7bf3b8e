"""How fine the detail of a masked face is, and whether the borders of its cells show."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import laplace

from faceseal.anonymizer.placing import square_of
from faceseal.envelope.header import FaceRecord
from faceseal.evaluation.fidelity import LUMA
from faceseal.evaluation.versions import Pixels


def sharpness(pixels: Pixels, record: FaceRecord) -> float:
    """Mean absolute Laplacian of the luminance inside the mask, in grey levels; pixels: the photo (H, W, 3)."""
    square = square_of(record)
    luma = square.crop(pixels) @ LUMA
    inside = record.mask.repeat(record.cell, axis=0).repeat(record.cell, axis=1)
    return float(np.abs(laplace(luma, mode="nearest"))[inside].mean())


def seam_ratio(pixels: Pixels, record: FaceRecord) -> float:
    """Mean difference of neighbouring pixels on two sides of a cell border, divided by that of those within a cell.

    Of pairs inside the mask alone, across and down, all channels alike; 1 means that nothing
    tells where the cells are.
    """
    square = square_of(record)
    picture = square.crop(pixels).astype(np.float64)
    inside = record.mask.repeat(record.cell, axis=0).repeat(record.cell, axis=1)
    border = np.arange(1, square.side) % record.cell == 0
    across, within = [], []
    for turned, masked in ((picture, inside), (picture.swapaxes(0, 1), inside.T)):
        step = np.abs(np.diff(turned, axis=0)).mean(axis=2)
        both = masked[1:] & masked[:-1]
        across.append(step[border][both[border]])
        within.append(step[~border][both[~border]])
    return float(np.concatenate(across).mean() / max(float(np.concatenate(within).mean()), 1e-9))
