"""What a measurement by size leaves behind: the table, sizes.csv, sizes.json and sheet.png."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePath

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from faceseal.anonymizer.sealed import encode_png
from faceseal.evaluation.report import csv_of, plain
from faceseal.evaluation.sizes import DISPLAYED, Portrait, Try
from faceseal.evaluation.verification import Share

SHOWN = 3
"""Keys on the sheet."""
LABELS = ("original", "anonymized", "another key", "a third key", "restored from pixels")
HEADLINE, MARGIN = 28, 170
"""Height of the line above the sheet, and width of the column on its left, in pixels."""
HEADER = (
    "side",
    "had",
    "cell",
    "sealed",
    "PSNR median",
    "least",
    "SSIM",
    "carried",
    "exact",
    "detected",
    "landmarks",
    "attempts",
    "seconds",
    "sharpness",
    "seams original",
    "anonymized",
    "restored",
)


@dataclass(frozen=True)
class SizeFigures:
    """All faces of one wanted side; every figure but `sealed` is of those that were sealed, and NaN if none was.

    had: sides that the face squares had, in pixels; psnr: median, in dB of the mask, least:
    the worst; carried and seconds: medians; all others are means.  See `Reached`.
    """

    side: int
    sealed: Share
    had: tuple[int, ...]
    cells: tuple[int, ...]
    psnr: float
    least: float
    ssim: float
    masked_ssim: float
    carried: float
    exact: Share
    detected: Share
    landmark_distance: float
    attempts: float
    seconds: float
    sharpness: float
    seams_original: float
    seams_anonymized: float
    seams_restored: float


def by_side(tries: Sequence[Try]) -> list[SizeFigures]:
    """Smallest side first."""
    return [_figures(side, [t for t in tries if t.side == side]) for side in sorted({t.side for t in tries})]


def _figures(side: int, tries: Sequence[Try]) -> SizeFigures:
    found = [t.reached for t in tries if t.reached is not None]
    moved = [f.landmark_distance for f in found if f.landmark_distance is not None]
    psnr = [f.fidelity.psnr for f in found]
    return SizeFigures(
        side=side,
        sealed=Share(len(found), len(tries)),
        had=tuple(sorted({f.side for f in found})),
        cells=tuple(sorted({f.cell for f in found})),
        psnr=_median(psnr),
        least=min(psnr, default=float("nan")),
        ssim=_mean([f.fidelity.ssim for f in found]),
        masked_ssim=_mean([f.fidelity.masked_ssim for f in found]),
        carried=_median([f.carried for f in found]),
        exact=Share(sum(f.exact for f in found), len(found)),
        detected=Share(len(moved), len(found)),
        landmark_distance=_mean(moved),
        attempts=_mean([float(f.attempts) for f in found]),
        seconds=_median([f.seconds for f in found]),
        sharpness=_mean([f.sharpness for f in found]),
        seams_original=_mean([f.seams_original for f in found]),
        seams_anonymized=_mean([f.seams_anonymized for f in found]),
        seams_restored=_mean([f.seams_restored for f in found]),
    )


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values)) if values else float("nan")


def _median(values: Sequence[float]) -> float:
    return float(np.median(values)) if values else float("nan")


def table(figures: Sequence[SizeFigures]) -> list[tuple[str, ...]]:
    """Rows under `HEADER`."""
    return [
        (
            str(row.side),
            "/".join(map(str, row.had)) or "-",
            "/".join(map(str, row.cells)) or "-",
            _count(row.sealed),
            _words(row.psnr, ".1f"),
            _words(row.least, ".1f"),
            _words(row.ssim, ".3f"),
            _words(row.carried, ".1f"),
            _count(row.exact),
            _count(row.detected),
            _words(row.landmark_distance, ".3f"),
            _words(row.attempts, ".1f"),
            _words(row.seconds, ".1f"),
            _words(row.sharpness, ".2f"),
            _words(row.seams_original, ".2f"),
            _words(row.seams_anonymized, ".2f"),
            _words(row.seams_restored, ".2f"),
        )
        for row in figures
    ]


def _words(value: float, form: str) -> str:
    return "-" if np.isnan(value) else format(value, form)


def _count(share: Share) -> str:
    return f"{share.count} of {share.of}"


def left_out(portraits: Sequence[Portrait], sides: Sequence[int]) -> list[str]:
    """A line for each photo and side that was not measured, with the reason."""
    reasons = ((portrait, side, portrait.why_not(side)) for portrait in portraits for side in sides)
    return [f"{portrait.name}: {side} px left out: {reason}" for portrait, side, reason in reasons if reason]


def as_csv(tries: Sequence[Try]) -> bytes:
    """One line per photo, side and key."""
    return csv_of([_row(one) for one in tries])


def _row(one: Try) -> dict[str, object]:
    row: dict[str, object] = {"photo": one.name, "side": one.side, "key": one.key, "outcome": one.outcome}
    if one.reached is None:
        return row
    simple = {name: value for name, value in vars(one.reached).items() if name != "fidelity"}
    detected = one.reached.landmark_distance is not None
    return row | {"had": one.reached.side} | vars(one.reached.fidelity) | {"detected": detected} | simple


def as_json(figures: Sequence[SizeFigures], about: str, notes: Sequence[str]) -> bytes:
    """The table's figures in full."""
    content = {"about": about, "left_out": list(notes), "sides": plain(list(figures))}
    return (json.dumps(content, indent=1, allow_nan=False) + "\n").encode()


def sheet(tries: Sequence[Try]) -> bytes:
    """A PNG: one row per photo and side, brought to one size; what was not sealed stays white."""
    rows = list(dict.fromkeys((one.name, one.side) for one in tries))
    keys = min(max((one.key for one in tries), default=1), SHOWN)
    labels = (*LABELS[: 1 + keys], LABELS[-1])
    image = Image.new("RGB", (MARGIN + DISPLAYED * len(labels), HEADLINE + DISPLAYED * len(rows)), "white")
    draw, font = ImageDraw.Draw(image), ImageFont.load_default(18)
    for column, label in enumerate(labels):
        middle = MARGIN + (column + 0.5) * DISPLAYED, HEADLINE / 2
        draw.text(middle, label, fill="black", font=font, anchor="mm")
    for number, place in enumerate(rows):
        top = HEADLINE + number * DISPLAYED
        shown = [one for one in tries if (one.name, one.side) == place][:keys]
        draw.text((8, top + 8), _caption(shown), fill="black", font=font)
        for column, one in enumerate(shown):
            if not one.panes:
                continue
            original, anonymized, restored = map(Image.fromarray, one.panes)
            image.paste(anonymized, (MARGIN + (1 + column) * DISPLAYED, top))
            image.paste(original, (MARGIN, top))
            if column == 0:
                image.paste(restored, (MARGIN + (1 + keys) * DISPLAYED, top))
    return encode_png(np.asarray(image))


def _caption(shown: Sequence[Try]) -> str:
    reached = next((one.reached for one in shown if one.reached is not None), None)
    had = shown[0].outcome if reached is None else f"{reached.side} px\ncells of {reached.cell}"
    return f"{had}\n{PurePath(shown[0].name).stem[:16]}"
