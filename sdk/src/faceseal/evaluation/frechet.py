"""Frechet distance between two sets of embeddings, each taken for a Gaussian.

Dowson and Landau, J. Multivariate Anal. 12 (1982); known as FID from arXiv 1706.08500.  It
is biased upwards where samples are few beside dimensions, so it is read beside the distance
of two real sets of the same size.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]


def frechet_distance(one: FloatArray, other: FloatArray) -> float:
    """``|m1 - m2|**2 + tr(C1 + C2 - 2 (C1 C2)**0.5)`` of samples (N, D) and (M, D); plain covariances, no shrinkage.

    The last trace is the nuclear norm of the product of the centred samples, which stays
    well defined where N or M is less than D and the covariances are singular.

    Raises ValueError unless both have two samples or more.
    """
    if min(len(one), len(other)) < 2:
        raise ValueError("a covariance needs two samples or more")
    first, second = (centred(samples) for samples in (one, other))
    cross = np.linalg.svd(first @ second.T, compute_uv=False).sum()
    shift = one.mean(axis=0) - other.mean(axis=0)
    return float(max(shift @ shift + (first**2).sum() + (second**2).sum() - 2 * cross, 0.0))


def centred(samples: FloatArray) -> FloatArray:
    """X (N, D) such that ``X.T @ X`` is the samples' covariance."""
    return np.asarray((samples - samples.mean(axis=0)) / np.sqrt(len(samples) - 1))


def beside_real(
    made: FloatArray, first: FloatArray, second: FloatArray, splits: int, random: np.random.Generator
) -> tuple[float, float]:
    """Distance (made from real, real from real), each between halves of the same people.

    made, first, second: embeddings (N, D) of the same N people: anonymized from their first
    photo, of the first photo itself, and of the second.  People are cut into halves at
    random, `splits` times; the made, or the first, photos of one half are compared with the
    second photos of the other, so that no person is on both sides.
    """
    found = []
    for _ in range(splits):
        order = random.permutation(len(made))
        halves = order[: len(order) // 2], order[len(order) // 2 : len(order) // 2 * 2]
        for one, other in (halves, halves[::-1]):
            found.append([frechet_distance(probe[one], second[other]) for probe in (made, first)])
    anonymized, real = np.mean(found, axis=0)
    return float(anonymized), float(real)
