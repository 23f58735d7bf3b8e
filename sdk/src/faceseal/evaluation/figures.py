"""All figures of a measurement, computed from what was kept of each person.

A photo that was not sealed counts as not restored: it fails in every acceptance rate of a
restored version, and has 0 dB and an SSIM of 0 there.  Of anonymized versions, and of those
restored with a bad key, only sealed photos are counted.  People whose second photo shows no
face to the detector cannot be recognized by anybody, and are left out of recognition.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from faceseal.evaluation.appearance import OPEN_MOUTH
from faceseal.evaluation.distinction import Distinction, distinction
from faceseal.evaluation.fidelity import Fidelity
from faceseal.evaluation.groups import GroupFigures, by_lists, by_luminance, group_figures
from faceseal.evaluation.person import Appearance, Person, SealedFigures
from faceseal.evaluation.recognition import Likeness
from faceseal.evaluation.recognized import RecognitionFigures, recognition_figures
from faceseal.evaluation.speed import Speed
from faceseal.evaluation.verification import Share, share
from faceseal.evaluation.versions import RESTORATIONS, Version

NOT_RESTORED = Fidelity(0.0, 0.0, 0.0)
SAME_POSE = 6.0
"""Degrees."""
ANONYMIZED = (Version.ANONYMIZED, Version.BASELINE_ANONYMIZED)


@dataclass(frozen=True)
class FidelityFigures:
    """dB in the mask: median, 5th percentile, least of the sealed; SSIM: mean, median, and mean in the mask alone."""

    median: float
    fifth: float
    least: float
    ssim_mean: float
    ssim_median: float
    ssim_masked: float


@dataclass(frozen=True)
class AppearanceFigures:
    """Of anonymized faces.  landmark_distance: mean, in eye distances, of those detected; pose: mean, in degrees;
    same_pose: within `SAME_POSE`; same_mouth: as open or closed as the original; mouth_correlation: of the gaps."""

    detected: Share
    landmark_distance: float | None
    pose: float
    same_pose: Share
    same_mouth: Share
    mouth_correlation: float | None


@dataclass(frozen=True)
class Figures:
    """Everything.  outcomes: how many photos were sealed, or failed in which way; redrawn: took more
    than one round; worker_seconds, speed: per face, in a process of
    one thread beside others (median), and alone on all cores."""

    people: int
    outcomes: dict[str, int]
    sealed: Share
    redrawn: Share
    exact: Share
    refused: Share
    recognition: dict[str, RecognitionFigures]
    fidelity: dict[str, FidelityFigures]
    appearance: dict[str, AppearanceFigures]
    distinction: dict[str, Distinction]
    groups: list[GroupFigures]
    worker_seconds: float | None
    speed: Speed | None


def compute_figures(
    people: Sequence[Person],
    likenesses: Mapping[str, Likeness],
    groups: Mapping[str, frozenset[str]],
    speed: Speed | None,
    *,
    classify: bool,
    seed: int = 0,
) -> Figures:
    """likenesses: of each network; groups: identities by group; classify: train classifiers, in under two minutes."""
    sealed = [person.about.sealed for person in people if person.about.sealed]
    found = {name: recognition_figures(people, name, likeness) for name, likeness in likenesses.items()}
    recognition = {name: value for name, value in found.items() if value is not None}
    made = [version for version in ANONYMIZED if any(version in figures.appearances for figures in sealed)]
    return Figures(
        people=len(people),
        outcomes=dict(Counter(person.about.outcome for person in people)),
        sealed=Share(len(sealed), len(people)),
        redrawn=share(np.array([figures.attempts > 1 for figures in sealed], dtype=bool)),
        exact=share(np.array([figures.exact for figures in sealed], dtype=bool)),
        refused=share(np.array([figures.refused for figures in sealed], dtype=bool)),
        recognition=recognition,
        fidelity={
            version.value: _fidelity_figures(people, version)
            for version in RESTORATIONS
            if any(version in figures.fidelities for figures in sealed)
        },
        appearance={version.value: _appearance_figures(sealed, version) for version in made},
        distinction={v.value: distinction(people, v, list(recognition), classify=classify, seed=seed) for v in made},
        groups=[
            group_figures(name, members, recognition, likenesses)
            for name, members in (by_luminance(people) | by_lists(people, groups)).items()
        ],
        worker_seconds=float(np.median([f.seconds / f.faces for f in sealed])) if sealed else None,
        speed=speed,
    )


def _fidelity_figures(people: Sequence[Person], version: Version) -> FidelityFigures:
    sealed = [person.about.sealed for person in people]
    all_of_them = [f.fidelities.get(version, NOT_RESTORED) if f else NOT_RESTORED for f in sealed]
    least = min(f.fidelities[version].psnr for f in sealed if f and version in f.fidelities)
    psnr, ssim = np.array([f.psnr for f in all_of_them]), np.array([f.ssim for f in all_of_them])
    return FidelityFigures(
        float(np.median(psnr)),
        float(np.percentile(psnr, 5)),
        least,
        float(ssim.mean()),
        float(np.median(ssim)),
        float(np.mean([f.masked_ssim for f in all_of_them])),
    )


def _appearance_figures(sealed: Sequence[SealedFigures], version: Version) -> AppearanceFigures:
    found: list[tuple[SealedFigures, Appearance]] = [
        (figures, figures.appearances[version]) for figures in sealed if version in figures.appearances
    ]
    before = np.array([figures.mouth_gap for figures, _ in found])
    after = np.array([appearance.mouth_gap for _, appearance in found])
    pose = np.array([appearance.pose for _, appearance in found])
    moved = [a.landmark_distance for _, a in found if a.landmark_distance is not None]
    return AppearanceFigures(
        detected=Share(len(moved), len(found)),
        landmark_distance=float(np.mean(moved)) if moved else None,
        pose=float(pose.mean()),
        same_pose=share(pose <= SAME_POSE),
        same_mouth=share((before > OPEN_MOUTH) == (after > OPEN_MOUTH)),
        mouth_correlation=float(np.corrcoef(before, after)[0, 1]) if before.std() > 0 < after.std() else None,
    )
