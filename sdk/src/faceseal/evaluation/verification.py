"""Face verification: who passes for whom, at a threshold that impostors set.

Scores are likenesses, higher for more alike.  The threshold is the one at which at most a
given share of impostor scores passes (false acceptance rate, FAR); the share of genuine
scores that passes is the true acceptance rate, TAR.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import floor

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest

FloatArray = NDArray[np.float64]

FAR = 1e-3
"""At which all TARs of the table are given."""


@dataclass(frozen=True)
class Share:
    """`count` cases `of` all of them."""

    count: int
    of: int

    @property
    def value(self) -> float:
        """0..1; NaN of nothing."""
        return self.count / self.of if self.of else float("nan")

    @property
    def interval(self) -> tuple[float, float]:
        """Wilson's 95 % interval (J. Am. Stat. Assoc. 22, 1927); NaN of nothing."""
        if not self.of:
            return float("nan"), float("nan")
        low, high = binomtest(self.count, self.of).proportion_ci(0.95, method="wilson")
        return float(low), float(high)

    def __str__(self) -> str:
        low, high = self.interval
        return f"{self.value:.3f} [{low:.3f}, {high:.3f}]"


def share(passed: NDArray[np.bool_]) -> Share:
    """How many of these are true."""
    return Share(int(passed.sum()), int(passed.size))


def cosines(one: FloatArray, other: FloatArray) -> FloatArray:
    """Cosine (N, M) between each of (N, D) and each of (M, D)."""
    return _unit(one) @ _unit(other).T


def closenesses(one: FloatArray, other: FloatArray) -> FloatArray:
    """Negative Euclidean distance (N, M) between each of (N, D) and each of (M, D)."""
    squared = (one**2).sum(axis=1)[:, None] + (other**2).sum(axis=1) - 2 * one @ other.T
    return np.asarray(-np.sqrt(np.maximum(squared, 0.0)))


def _unit(vectors: FloatArray) -> FloatArray:
    return np.asarray(vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12))


def impostors(scores: FloatArray) -> FloatArray:
    """All scores of different people (N * (N - 1),), of each person's (row's) against each person's (N, N)."""
    return scores[~np.eye(len(scores), dtype=bool)]


def threshold_at(impostor_scores: FloatArray, far: float) -> float:
    """The largest score that must not pass, so that at most a share `far` of impostors scores more.

    Raises ValueError without impostors.
    """
    if not impostor_scores.size:
        raise ValueError("a threshold needs impostors, so at least two people")
    descending = np.sort(impostor_scores)[::-1]
    return float(descending[min(floor(far * descending.size + 1e-9), descending.size - 1)])


def roc(genuine: FloatArray, impostor_scores: FloatArray, fars: FloatArray) -> FloatArray:
    """TAR at each of `fars`."""
    return np.array([np.mean(genuine > threshold_at(impostor_scores, far)) for far in fars])
