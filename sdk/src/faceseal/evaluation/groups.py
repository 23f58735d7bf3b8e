"""Figures of some of the people: by the luminance of their faces, and by lists that somebody made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from faceseal.evaluation.person import Person, embedding_of
from faceseal.evaluation.recognition import Likeness
from faceseal.evaluation.recognized import RecognitionFigures, sealed_cosine
from faceseal.evaluation.verification import Share, share
from faceseal.evaluation.versions import Version


@dataclass(frozen=True)
class GroupFigures:
    """Of some of the people.  cosine, restored: by network; restored at the threshold of all people, if any."""

    name: str
    people: int
    sealed: Share
    psnr: float | None
    detected: Share
    cosine: dict[str, float | None]
    restored: dict[str, Share]


def by_luminance(people: Sequence[Person]) -> dict[str, list[Person]]:
    """The thirds with the darkest and the lightest faces, of those whose photo was sealed."""
    lit = [(person.about.sealed.luminance, index) for index, person in enumerate(people) if person.about.sealed]
    order = [people[index] for _, index in sorted(lit)]
    third = len(order) // 3
    return {"darkest third": order[:third], "lightest third": order[len(order) - third :]} if third else {}


def by_lists(people: Sequence[Person], groups: Mapping[str, frozenset[str]]) -> dict[str, list[Person]]:
    """The people of each group of identities."""
    return {name: [p for p in people if p.about.identity in members] for name, members in groups.items()}


def group_figures(
    name: str,
    members: Sequence[Person],
    recognition: Mapping[str, RecognitionFigures],
    likenesses: Mapping[str, Likeness],
) -> GroupFigures:
    """recognition, likenesses: by network."""
    sealed = [person.about.sealed for person in members if person.about.sealed]
    psnr = [f.fidelities[Version.RESTORED].psnr if (f := p.about.sealed) else 0.0 for p in members]
    restored = {}
    for network, figures in recognition.items():
        known = [p for p in members if network in p.embeddings and np.isfinite(p.embeddings[network].second).all()]
        passed = [_restored_score(p, network, likenesses[network]) > figures.threshold for p in known]
        restored[network] = Share(sum(passed), len(passed))
    return GroupFigures(
        name=name,
        people=len(members),
        sealed=Share(len(sealed), len(members)),
        psnr=float(np.median(psnr)) if psnr else None,
        detected=share(np.array([f.appearances[Version.ANONYMIZED].detected for f in sealed], dtype=bool)),
        cosine={network: sealed_cosine(members, network) for network in likenesses},
        restored=restored,
    )


def _restored_score(person: Person, network: str, likeness: Likeness) -> float:
    if person.about.sealed is None:
        return float("-inf")
    made = embedding_of(person, network, Version.RESTORED)
    return float(likeness(made[None], person.embeddings[network].second[None])[0, 0])
