"""Whether an anonymized face is still too much like its origin, in the eyes of a recognition network."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from faceseal.anonymizer.sealed import Pixels

Likeness = Callable[[Pixels, Pixels, NDArray[np.float64]], float]
"""(picture of a face and what is around it (H, W, 3), another version of it, landmarks (5, 2) in pixels) -> higher for
more alike."""


@dataclass(frozen=True)
class IdentityGuard:
    """A face that comes out more alike than `most_alike` is made again with another nonce.

    likeness: any recognition network's score, for example the cosine of its embeddings;
    most_alike: best below the score from which the network takes two faces for one person's;
    smallest: eye distance in pixels below which a face is not judged, for to the network all
    faces of so few pixels are alike.
    """

    likeness: Likeness
    most_alike: float
    smallest: float = 20.0
