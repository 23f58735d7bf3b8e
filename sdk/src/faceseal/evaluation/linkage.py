"""What a keyed map still shows: can an anonymized face be linked by its noise?

Two questions.  *To the original*: the attacker has all originals, inverts them, and looks for
the one whose noise is most like an anonymized face's.  *Across keys*: he has another
anonymized copy of each, under another key.  He is given all noise exactly, as neither 8-bit
pixels nor JPEG would leave it, and the true mask: his best case.  A rotation changes every
number, so what he compares are features that a map may leave alone.

Noise is an array (F, C, n): faces, components of the state, masked cells.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import cdist

from faceseal.evaluation.noisefeatures import FEATURES, LEAST, log_radii
from faceseal.evaluation.verification import Share, share
from faceseal.keyed import NORM_PERIOD, KeyedMap, Keystream

FloatArray = NDArray[np.float64]

KEY_BYTES = 32
CURVE_POINTS = 60
"""Of a cumulative match curve, evenly spaced on a log axis."""


class Question(StrEnum):
    """Among what an anonymized face is looked for."""

    ORIGINAL = "to the original"
    KEYS = "across keys"


@dataclass(frozen=True)
class Linkage:
    """How well one feature links faces under one map.

    first: the right face is nearer than all others; mean_rank: share of the others that are
    nearer than the right one, averaged, where 0 is always first and .5 is chance;
    rank_interval: its 95 % interval; outside_rank: mean rank of the faces that
    `LinkageFigures.outside` counts, None without any; curve: share of faces whose right one
    is among the first `LinkageFigures.ranks` (cumulative match curve).
    """

    keyed_map: str
    question: Question
    feature: str
    first: Share
    mean_rank: float
    rank_interval: tuple[float, float]
    outside_rank: float | None
    curve: tuple[float, ...]


@dataclass(frozen=True)
class LinkageFigures:
    """Of all maps, questions and features.

    components, cells: of the noise; outside: faces whose log radii's norm lies outside the
    middle period, which `rotation` shows (see `norm_periods`).
    """

    faces: int
    components: int
    cells: int
    outside: Share
    ranks: tuple[int, ...]
    linkages: tuple[Linkage, ...]

    @property
    def chance(self) -> float:
        """Of linking a face by guessing."""
        return 1 / self.faces


def linkage_figures(
    noise: FloatArray, maps: Iterable[KeyedMap], radius_spread: float, random: np.random.Generator
) -> LinkageFigures:
    """noise: (F, C, n) of the originals, F >= 2; radius_spread: see `norm_periods`; random: draws the keys."""
    ranks = tuple(np.unique(np.geomspace(1, len(noise), CURVE_POINTS).round().astype(int)).tolist())
    outside = norm_periods(noise, radius_spread) != 0
    linkages = tuple(
        _linkage(keyed_map.name, question, feature, nearer, outside, ranks)
        for keyed_map in maps
        for question, feature, nearer in _compared(noise, keyed_map, random)
    )
    faces, components, cells = noise.shape
    return LinkageFigures(faces, components, cells, share(outside), ranks, linkages)


def _compared(
    noise: FloatArray, keyed_map: KeyedMap, random: np.random.Generator
) -> Iterator[tuple[Question, str, FloatArray]]:
    """For each question and feature, what `count_nearer` says."""
    anonymized, again = (under_random_keys(noise, keyed_map, random) for _ in range(2))
    for question, gallery in ((Question.ORIGINAL, noise), (Question.KEYS, again)):
        for name, feature in FEATURES.items():
            yield question, name, count_nearer(feature(gallery), feature(anonymized))


def under_random_keys(noise: FloatArray, keyed_map: KeyedMap, random: np.random.Generator) -> FloatArray:
    """Noise (F, C, n) after the map, each face under a key of its own."""
    return np.stack([keyed_map.forward(face, Keystream(random.bytes(KEY_BYTES))) for face in noise])


def count_nearer(gallery: FloatArray, probes: FloatArray) -> FloatArray:
    """Of features (F, D) each: how many of the gallery are nearer to each probe than its own (F,), 0 for none.

    Ties count half.
    """
    distances = cdist(probes, gallery)
    own = np.diag(distances)[:, None]
    return np.asarray((distances < own).sum(axis=1) + ((distances == own).sum(axis=1) - 1) / 2)


def _linkage(
    keyed_map: str,
    question: Question,
    feature: str,
    nearer: FloatArray,
    outside: NDArray[np.bool_],
    ranks: tuple[int, ...],
) -> Linkage:
    relative = nearer / (len(nearer) - 1)
    mean, margin = float(relative.mean()), 1.96 * float(relative.std(ddof=1)) / math.sqrt(len(relative))
    return Linkage(
        keyed_map,
        question,
        feature,
        first=share(nearer == 0),
        mean_rank=mean,
        rank_interval=(mean - margin, mean + margin),
        outside_rank=float(relative[outside].mean()) if outside.any() else None,
        curve=tuple(float(np.mean(nearer <= rank - 1)) for rank in ranks),
    )


def norm_periods(noise: FloatArray, radius_spread: float) -> NDArray[np.int64]:
    """Period (F,) in which the norm of each face's log radii lies: 0 for the middle one.

    `faceseal.keyed.shift_norm` shifts the norm within its period, so whoever knows one side
    knows the other's.  radius_spread: standard deviation of a component's log radius that
    the map takes for granted: of photos' noise `PHOTO_RADIUS_SPREAD`, after the map
    ``1 / sqrt(2 n)``.
    """
    norms = np.maximum(np.linalg.norm(log_radii(noise) / radius_spread, axis=1), LEAST)
    return np.asarray(np.floor(np.log(norms / math.sqrt(noise.shape[1])) / NORM_PERIOD + 0.5), dtype=np.int64)
