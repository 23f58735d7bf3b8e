"""What an attacker compares of two faces' noise: features that a keyed map may leave alone.

Noise is an array (F, C, n): faces, components of the state, masked cells.  The attacker does
not know how a map moves and stretches a feature, but sees many faces of both kinds.  So
magnitudes and norms are taken relative to their mean and standard deviation over the faces
of their kind, and log radii, whose zero no map moves, relative to the median of their norm.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

LEAST = 1e-9
"""Stands for a radius, a norm or a spread of zero."""
NORM_OF_LOG_RADII = "norm of log radii"
"""How far the noise as a whole is from Gaussian; all that `rotation` without its shift would leave."""


def _magnitudes(noise: FloatArray) -> FloatArray:
    return _standardised(np.abs(noise).reshape(len(noise), -1))


def _sorted_magnitudes(noise: FloatArray) -> FloatArray:
    return _standardised(np.sort(np.abs(noise), axis=2).reshape(len(noise), -1))


def _norm(noise: FloatArray) -> FloatArray:
    return _standardised(np.log(np.maximum(np.linalg.norm(noise, axis=(1, 2)), LEAST))[:, None])


def _standardised(features: FloatArray) -> FloatArray:
    return np.asarray((features - features.mean(axis=0)) / np.maximum(features.std(axis=0), LEAST))


def log_radii(noise: FloatArray) -> FloatArray:
    """Logarithm of each component's radius (F, C), relative to that of standard normal noise."""
    return np.asarray(np.log(np.maximum(np.linalg.norm(noise, axis=2) / math.sqrt(noise.shape[2]), LEAST)))


def _radii(noise: FloatArray) -> FloatArray:
    radii = log_radii(noise)
    return np.asarray(radii / max(float(np.median(np.linalg.norm(radii, axis=1))), LEAST))


def _sorted_radii(noise: FloatArray) -> FloatArray:
    return np.sort(_radii(noise), axis=1)


def _norm_of_log_radii(noise: FloatArray) -> FloatArray:
    return np.asarray(np.log(np.maximum(np.linalg.norm(_radii(noise), axis=1), LEAST))[:, None])


FEATURES: Mapping[str, Callable[[FloatArray], FloatArray]] = {
    "magnitudes": _magnitudes,
    "sorted magnitudes": _sorted_magnitudes,
    "radii": _radii,
    "sorted radii": _sorted_radii,
    "norm": _norm,
    NORM_OF_LOG_RADII: _norm_of_log_radii,
}
"""Noise (F, C, n) to what is compared (F, D).  Sorted: magnitudes within a component, radii among the components."""
