"""How well anonymized faces can be told from untouched ones, by machines of three kinds and by statistics."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from faceseal.evaluation.distinguish import convolutional_network, distinguishability, linear_svm
from faceseal.evaluation.frechet import beside_real
from faceseal.evaluation.person import UNTOUCHED, Person, embedding_of
from faceseal.evaluation.verification import Share
from faceseal.evaluation.versions import Version

SPLITS = 10
"""Random halves over which Frechet distances are averaged."""
FEWEST = 4
"""People; of fewer there is nothing to learn."""


@dataclass(frozen=True)
class Distinction:
    """How well anonymized faces can be told from untouched ones; see `faceseal.evaluation.distinguish`.

    svm: by network; pixels: the small convolutional network's; frechet: by network,
    (anonymized from real, real from real), between halves of `half` people; None of parts
    that were left out.
    """

    half: int
    svm: dict[str, Share]
    pixels: Share | None
    frechet: dict[str, tuple[float, float]]


def distinction(
    people: Sequence[Person], version: Version, networks: Sequence[str], *, classify: bool, seed: int
) -> Distinction:
    """Of people with both an anonymized first and a detected second photo; classify: train classifiers, too."""
    both = [person for person in people if version.value in person.squares and UNTOUCHED in person.squares]
    svm: dict[str, Share] = {}
    frechet: dict[str, tuple[float, float]] = {}
    pixels = None
    if len(both) >= FEWEST:
        for network in networks:
            found = [person.embeddings[network] for person in both]
            first, second = np.stack([e.first for e in found]), np.stack([e.second for e in found])
            made = np.stack([embedding_of(person, network, version) for person in both])
            frechet[network] = beside_real(made, first, second, SPLITS, np.random.default_rng(seed))
            if classify:
                svm[network] = distinguishability(made, second, linear_svm, np.random.default_rng(seed))
        if classify:
            shown, untouched = (np.stack([p.squares[name] for p in both]) for name in (version.value, UNTOUCHED))
            pixels = distinguishability(shown, untouched, convolutional_network, np.random.default_rng(seed))
    return Distinction(len(both) // 2, svm, pixels, frechet)
