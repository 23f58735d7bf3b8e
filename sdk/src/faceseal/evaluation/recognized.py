"""Who is recognized: acceptance rates, mean likeness and diversity, for one network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from faceseal.evaluation.person import UNTOUCHED, Embeddings, Person
from faceseal.evaluation.recognition import Likeness
from faceseal.evaluation.verification import FAR, Share, cosines, impostors, roc, share, threshold_at
from faceseal.evaluation.versions import RESTORATIONS, Version

FloatArray = NDArray[np.float64]

CLEAN = "clean"
BEST_OF_KEYS = "best of all keys"
FARS = np.logspace(-4, 0, 81)
"""Of the ROC curves."""


@dataclass(frozen=True)
class RecognitionFigures:
    """Of one network; versions by name, with `CLEAN` for the untouched photos and `BEST_OF_KEYS`.

    acceptance: TAR at `FAR` against the other photo of the same person; curves: TAR at
    `FARS`; cosine, distance: mean to the original face, `CLEAN` being the other photo;
    diversity: mean cosine between one person's faces under different keys; impostors: scores
    that set the threshold.
    """

    threshold: float
    impostors: int
    acceptance: dict[str, Share]
    curves: dict[str, list[float]]
    cosine: dict[str, float]
    distance: dict[str, float]
    diversity: float | None


def recognition_figures(people: Sequence[Person], network: str, likeness: Likeness) -> RecognitionFigures | None:
    """None unless two people or more can be recognized at all.

    The threshold is set by the untouched first photo of each person against the untouched
    second photos of all others.  People without a second photo that shows a face are left
    out; those whose first shows none count as failures.
    """
    judged = [person for person in people if UNTOUCHED in person.squares]
    known = [person for person in judged if network in person.embeddings]
    if len(known) < 2:
        return None
    second = np.stack([person.embeddings[network].second for person in known])
    first = np.stack([person.embeddings[network].first for person in known])
    clean = likeness(first, second)
    others = impostors(clean)
    threshold = threshold_at(others, FAR)
    scores = {CLEAN: np.diag(clean), **_version_scores(known, network, likeness)}
    missing = {name: len(judged) - len(values) if _of_all(name) else 0 for name, values in scores.items()}
    padded = {name: np.append(values, np.full(missing[name], -np.inf)) for name, values in scores.items()}
    near = {CLEAN: list(zip(first, second, strict=True)), **_to_original(known, network)}
    return RecognitionFigures(
        threshold=threshold,
        impostors=len(others),
        acceptance={name: share(values > threshold) for name, values in padded.items()},
        curves={name: roc(values, others, FARS).tolist() for name, values in padded.items()},
        cosine={name: float(np.mean([cosines(a[None], b[None])[0, 0] for a, b in two])) for name, two in near.items()},
        distance={name: float(np.mean([np.linalg.norm(a - b) for a, b in two])) for name, two in near.items()},
        diversity=_diversity([person.embeddings[network] for person in known if person.about.sealed]),
    )


def _of_all(name: str) -> bool:
    """Whether photos that were not sealed count, as failures."""
    return name == CLEAN or name in RESTORATIONS


def _version_scores(known: Sequence[Person], network: str, likeness: Likeness) -> dict[str, FloatArray]:
    """Scores of each sealed person's versions against the second photo."""
    found: dict[str, list[float]] = {}
    for person in known:
        if person.about.sealed is None:
            continue
        embeddings = person.embeddings[network]
        against = likeness(embeddings.versions, embeddings.second[None])[:, 0]
        for version, score in zip(person.about.sealed.versions, against, strict=True):
            found.setdefault(version.value, []).append(float(score))
        if len(embeddings.keys) > 1:
            best = likeness(embeddings.keys, embeddings.second[None]).max()
            found.setdefault(BEST_OF_KEYS, []).append(float(best))
    return {name: np.array(values) for name, values in found.items()}


def _to_original(known: Sequence[Person], network: str) -> dict[str, list[tuple[FloatArray, FloatArray]]]:
    found: dict[str, list[tuple[FloatArray, FloatArray]]] = {}
    for person in known:
        embeddings = person.embeddings[network]
        for version, made in zip(_versions(person), embeddings.versions, strict=True):
            found.setdefault(version.value, []).append((embeddings.first, made))
    return found


def _versions(person: Person) -> tuple[Version, ...]:
    return person.about.sealed.versions if person.about.sealed else ()


def _diversity(found: Sequence[Embeddings]) -> float | None:
    pairs = [impostors(cosines(e.keys, e.keys)).mean() for e in found if len(e.keys) > 1]
    return float(np.mean(pairs)) if pairs else None


def sealed_cosine(people: Sequence[Person], network: str) -> float | None:
    """Mean cosine of the anonymized face with the original's."""
    near = _to_original([p for p in people if network in p.embeddings], network).get(Version.ANONYMIZED.value, [])
    return float(np.mean([cosines(a[None], b[None])[0, 0] for a, b in near])) if near else None
