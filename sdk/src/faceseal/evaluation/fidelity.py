"""How near a restored face comes to the original: decibels and structural similarity."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from skimage.metrics import structural_similarity

from faceseal.anonymizer.attempts import decibel
from faceseal.anonymizer.placing import masked_pixels, square_of
from faceseal.envelope.header import FaceRecord

Pixels = NDArray[np.uint8]

LUMA = np.array([0.299, 0.587, 0.114])
"""Rec. 601."""


@dataclass(frozen=True)
class Fidelity:
    """psnr: dB of the mask's pixels; ssim: mean over the face square; masked_ssim: mean over the mask alone."""

    psnr: float
    ssim: float
    masked_ssim: float


def fidelity(original: Pixels, restored: Pixels, record: FaceRecord) -> Fidelity:
    """Of one face of a photo (H, W, 3).  SSIM is scikit-image's, with its default 7 x 7 window."""
    square = square_of(record)
    inside = masked_pixels(record, original)
    mean, local = structural_similarity(  # type: ignore[no-untyped-call]
        square.crop(original), square.crop(restored), channel_axis=2, full=True
    )
    mask = record.mask.repeat(record.cell, axis=0).repeat(record.cell, axis=1)
    return Fidelity(decibel(original[inside], restored[inside]), float(mean), float(local[mask].mean()))


def luminance(original: Pixels, record: FaceRecord) -> float:
    """Median luminance, 0..255, inside the mask: mostly the skin's."""
    return float(np.median(original[masked_pixels(record, original)] @ LUMA))
