"""What can become of a photo: the versions that are measured, and the codecs on its way."""

from __future__ import annotations

import io
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Pixels = NDArray[np.uint8]

RESIZED_SHARE = 0.9
"""Of width and height."""


class Version(StrEnum):
    """A photo after sealing or restoring; restored ones are restored from pixels alone."""

    ANONYMIZED = "anonymized"
    RESTORED = "restored"
    WRONG_KEY = "wrong key"
    FLIPPED_BIT = "flipped bit"
    JPEG_90 = "JPEG Q90"
    JPEG_75 = "JPEG Q75"
    WEBP_80 = "WebP Q80"
    RESIZED = "resized to 90 %"
    BASELINE_ANONYMIZED = "baseline anonymized"
    BASELINE_RESTORED = "baseline restored"
    BASELINE_WRONG_KEY = "baseline wrong key"


CODED = (Version.JPEG_90, Version.JPEG_75, Version.WEBP_80, Version.RESIZED)
"""Restored after the sealed photo was coded or resized, and lost its metadata."""
RESTORATIONS = (Version.RESTORED, *CODED, Version.BASELINE_RESTORED)
"""With the right key: these are compared with the original."""


class Part(StrEnum):
    """What a measurement can leave out."""

    BASELINE = "baseline"
    ROBUSTNESS = "robustness"
    KEYS = "keys"
    CLASSIFIER = "classifier"
    SPEED = "speed"


def coded(pixels: Pixels, version: Version) -> bytes:
    """The file that a photo (H, W, 3) becomes on its way, without metadata.

    JPEG halves the resolution of colour, as Pillow and most cameras do.  Raises ValueError
    for a version that is not one of `CODED`.
    """
    image, buffer = Image.fromarray(pixels), io.BytesIO()
    match version:
        case Version.JPEG_90:
            image.save(buffer, "JPEG", quality=90)
        case Version.JPEG_75:
            image.save(buffer, "JPEG", quality=75)
        case Version.WEBP_80:
            image.save(buffer, "WEBP", quality=80)
        case Version.RESIZED:
            size = round(image.width * RESIZED_SHARE), round(image.height * RESIZED_SHARE)
            image.resize(size, Image.Resampling.LANCZOS).save(buffer, "PNG")
        case _:
            raise ValueError(f"{version} is no way of coding a photo")
    return buffer.getvalue()
