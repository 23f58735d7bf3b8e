"""The table: each goal with its target, the figure, the baseline's, and what was published."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from faceseal.evaluation.figures import AppearanceFigures, FidelityFigures, Figures
from faceseal.evaluation.recognized import BEST_OF_KEYS, CLEAN, RecognitionFigures
from faceseal.evaluation.verification import Share
from faceseal.evaluation.versions import CODED, Version

SOURCE = "arXiv 2510.01031, on float images: ArcFace / AdaFace, unconditional model; CN: its ControlNet"
"""Where the published figures are from."""
PUBLISHED: Mapping[str, str] = {
    CLEAN: ".991 / .996",
    Version.ANONYMIZED: ".006 / .005",
    Version.RESTORED: ".705 / .702; CN .70 / .74; G2Face .60, RiDDLE .30, iFADIT .01",
    Version.WRONG_KEY: "<= .01",
    Version.JPEG_90: "CN .52 / .56",
    Version.JPEG_75: "CN .33 / .37",
}
"""Acceptance rates at FAR 0.1 % on LFW."""
BASELINES: Mapping[str, Version] = {
    Version.ANONYMIZED: Version.BASELINE_ANONYMIZED,
    Version.RESTORED: Version.BASELINE_RESTORED,
    Version.WRONG_KEY: Version.BASELINE_WRONG_KEY,
}
"""The published process on the same weights and face squares."""
OF_CLEAN: Mapping[Version, float] = {
    Version.RESTORED: 0.98,
    Version.JPEG_90: 0.90,
    Version.JPEG_75: 0.60,
    Version.WEBP_80: 0.90,
    Version.RESIZED: 0.90,
}
"""Least acceptance rates, as shares of that of the untouched photos."""


@dataclass(frozen=True)
class Target:
    """A bound on a figure.  of_clean: `value` is meant as this share of the untouched photos' acceptance."""

    value: float
    at_least: bool
    of_clean: float | None = None

    def holds(self, figure: float) -> bool:
        """Whether the figure keeps within the bound."""
        return figure >= self.value if self.at_least else figure <= self.value

    def __str__(self) -> str:
        bound = f"{self.value:g}" if self.of_clean is None else f"{self.of_clean:.2f} of clean"
        return f"{'>=' if self.at_least else '<='} {bound}"


@dataclass(frozen=True)
class Line:
    """One row of the table.  form: how a figure that is no share is written."""

    name: str
    figure: Share | float | None
    target: Target | None = None
    baseline: Share | float | None = None
    published: str = "-"
    form: str = "{:.3f}"

    @property
    def met(self) -> bool | None:
        """None without a target or a figure."""
        value = self.figure.value if isinstance(self.figure, Share) else self.figure
        if self.target is None or value is None or value != value:
            return None
        return self.target.holds(value)

    @property
    def words(self) -> tuple[str, str, str, str, str, str]:
        """Name, target, figure, whether it is met, baseline, published."""
        verdict = {None: "-", True: "met", False: "NOT MET"}[self.met]
        target = "-" if self.target is None else str(self.target)
        return self.name, target, self._written(self.figure), verdict, self._written(self.baseline), self.published

    def _written(self, figure: Share | float | None) -> str:
        if figure is None or (isinstance(figure, Share) and not figure.of):
            return "-"
        return str(figure) if isinstance(figure, Share) else self.form.format(figure)


HEADER = ("", "target", "faceseal", "", "baseline", "published")


def at_least(value: float) -> Target:
    """The figure must reach this."""
    return Target(value, True)


def at_most(value: float) -> Target:
    """The figure must not pass this."""
    return Target(value, False)


def lines(figures: Figures) -> list[Line]:
    """All rows, in the order of the goals."""
    return [
        Line("photos sealed", figures.sealed),
        Line("sealed after another round was drawn", figures.redrawn),
        Line("restored bit-exact with the capsule", figures.exact, at_least(1.0)),
        Line("wrong key and flipped bit refused", figures.refused, at_least(1.0)),
        *(line for name, found in figures.recognition.items() for line in _recognition(name, found)),
        *_fidelity(figures.fidelity),
        *_appearance(figures.appearance),
        *_distinction(figures),
        *_speed(figures),
    ]


def _recognition(network: str, found: RecognitionFigures) -> list[Line]:
    clean = found.acceptance[CLEAN]

    def of_clean(version: Version) -> Target:
        return Target(OF_CLEAN[version] * clean.value, True, OF_CLEAN[version])

    def acceptance(version: str, target: Target | None) -> Line:
        beside = found.acceptance.get(BASELINES[version]) if version in BASELINES else None
        published = PUBLISHED.get(version, "-")
        return Line(f"{network}: TAR {version}", found.acceptance.get(version), target, beside, published)

    return [
        acceptance(CLEAN, None),
        acceptance(Version.ANONYMIZED, at_most(0.005)),
        acceptance(BEST_OF_KEYS, at_most(0.01)),
        acceptance(Version.RESTORED, of_clean(Version.RESTORED)),
        acceptance(Version.WRONG_KEY, at_most(0.005)),
        acceptance(Version.FLIPPED_BIT, at_most(0.005)),
        *(acceptance(version, of_clean(version)) for version in CODED),
        Line(f"{network}: cosine between keys", found.diversity, published=".096; RiDDLE about .15"),
        *_likeness(network, found),
    ]


def _likeness(network: str, found: RecognitionFigures) -> list[Line]:
    """Mean cosines with, and distances from, the original face."""
    shown = {CLEAN: "other photo", **{version: version for version in BASELINES if version in found.cosine}}
    return [
        Line(f"{network}: mean {what} to original, {said}", means[name], None, means.get(BASELINES.get(name, "")))
        for what, means in (("cosine", found.cosine), ("distance", found.distance))
        for name, said in shown.items()
    ]


def _fidelity(found: Mapping[str, FidelityFigures]) -> list[Line]:
    """Restored from pixels, and what the mask has after each way of coding."""
    if Version.RESTORED not in found:
        return []
    ours, theirs = found[Version.RESTORED], found.get(Version.BASELINE_RESTORED)

    def line(name: str, field: str, target: Target | None, published: str = "-", form: str = "{:.1f} dB") -> Line:
        return Line(name, getattr(ours, field), target, getattr(theirs, field, None), published, form)

    return [
        line("PSNR in the mask, median", "median", at_least(38.0), "20.7 dB"),
        line("PSNR in the mask, 5th percentile", "fifth", at_least(34.0)),
        line("PSNR in the mask, least of the sealed", "least", None),
        line("SSIM of the face square, mean", "ssim_mean", at_least(0.97), form="{:.3f}"),
        line("SSIM of the face square, median", "ssim_median", None, form="{:.3f}"),
        line("SSIM in the mask alone, mean", "ssim_masked", None, form="{:.3f}"),
        *(
            Line(f"PSNR in the mask, median, {version}", found[version].median, form="{:.1f} dB")
            for version in CODED
            if version in found
        ),
    ]


def _appearance(found: Mapping[str, AppearanceFigures]) -> list[Line]:
    if Version.ANONYMIZED not in found:
        return []
    ours, theirs = found[Version.ANONYMIZED], found.get(Version.BASELINE_ANONYMIZED)

    def line(name: str, field: str, target: Target | None, form: str = "{:.3f}") -> Line:
        return Line(name, getattr(ours, field), target, getattr(theirs, field, None), form=form)

    return [
        line("anonymized face found by the detector", "detected", at_least(0.99)),
        line("landmarks moved, eye distances", "landmark_distance", at_most(0.08)),
        line("head turned, mean", "pose", at_most(6.0), "{:.1f} degrees"),
        line("head within 6 degrees", "same_pose", None),
        line("mouth as open or closed", "same_mouth", at_least(0.90)),
        line("correlation of mouth gaps", "mouth_correlation", None),
    ]


def _distinction(figures: Figures) -> list[Line]:
    ours, theirs = (figures.distinction.get(v) for v in (Version.ANONYMIZED, Version.BASELINE_ANONYMIZED))
    if ours is None:
        return []
    told = at_most(0.75)
    rows = [
        Line(
            f"told apart by a linear SVM on {name}",
            share,
            told,
            theirs.svm.get(name) if theirs else None,
            ".70; RiDDLE .95",
        )
        for name, share in ours.svm.items()
    ]
    if ours.pixels is not None:
        rows.append(Line("told apart by a network on pixels", ours.pixels, told, theirs.pixels if theirs else None))
    for name, (anonymized, real) in ours.frechet.items():
        beside = theirs.frechet[name][0] if theirs and name in theirs.frechet else None
        rows.append(Line(f"Frechet distance, {name}, {ours.half} a side", anonymized, None, beside))
        rows.append(Line(f"Frechet distance, {name}, real from real", real))
    return rows


def _speed(figures: Figures) -> list[Line]:
    rows = [Line("anonymizing a face, one thread, beside others", figures.worker_seconds, form="{:.2f} s")]
    if figures.speed and figures.speed.seconds:
        alone = f"anonymizing a face, alone, threads: {figures.speed.threads}"
        rows.append(Line(alone, figures.speed.median, at_most(3.0), form="{:.2f} s"))
    return rows
