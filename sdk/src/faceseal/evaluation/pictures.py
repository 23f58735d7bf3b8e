"""What a measurement leaves behind to look at: roc.png and sheet.png."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from faceseal.anonymizer.sealed import encode_png
from faceseal.evaluation.figures import Figures
from faceseal.evaluation.measure import PANE
from faceseal.evaluation.person import Person
from faceseal.evaluation.recognized import BEST_OF_KEYS, CLEAN, FARS
from faceseal.evaluation.verification import FAR
from faceseal.evaluation.versions import Pixels, Version

CURVES = {
    CLEAN: "untouched",
    Version.ANONYMIZED: "anonymized",
    BEST_OF_KEYS: "best of ten keys",
    Version.RESTORED: "restored from pixels",
    Version.WRONG_KEY: "wrong key",
    Version.JPEG_90: "restored after JPEG Q90",
}
"""Of the ROC plot, and what its legend calls them."""
LABELS = ("original", "anonymized", "another key", "a third key", "restored from pixels", "wrong key")
HEADLINE = 24
"""Height of a line of text on the sheet, in pixels."""
ABREAST = 2
"""People beside each other on the sheet."""


def roc_plot(figures: Figures) -> bytes:
    """A PNG: acceptance of each version against the impostors' (log axis), one panel per network."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.5 * max(len(figures.recognition), 1), 5.5), layout="constrained")
    canvas = FigureCanvasAgg(figure)
    panels = figure.subplots(1, max(len(figures.recognition), 1), squeeze=False)[0]
    for panel, (network, found) in zip(panels, figures.recognition.items(), strict=False):
        for version, label in CURVES.items():
            if version in found.curves:
                panel.plot(FARS, found.curves[version], label=label)
        panel.plot(FARS, FARS, "k:", linewidth=0.8, label="chance")
        panel.axvline(FAR, color="grey", linewidth=0.8)
        panel.set(xscale="log", xlim=(FARS[0], 1), ylim=(0, 1.02), title=network)
        panel.set(xlabel="false acceptance rate", ylabel="true acceptance rate, against the other photo")
        panel.grid(alpha=0.3)
        panel.legend()
    buffer = io.BytesIO()
    canvas.print_png(buffer)  # type: ignore[no-untyped-call]
    return buffer.getvalue()


def contact_sheet(people: Sequence[Person]) -> bytes:
    """A PNG: all people whose pictures were kept, `ABREAST` in a row; a version that was not made stays white."""
    shown = [person for person in people if person.panes]
    strips = [_strip(person.panes) for person in shown]
    width = PANE * len(LABELS)
    blank = np.full((PANE, width, 3), 255, dtype=np.uint8)
    strips += [blank] * (-len(strips) % ABREAST)
    gap = np.full((PANE, 16, 3), 255, dtype=np.uint8)
    rows = [_beside(strips[start : start + ABREAST], gap) for start in range(0, len(strips), ABREAST)]
    headline = _beside([_headline()] * ABREAST, gap[:HEADLINE])
    return encode_png(np.concatenate([headline, *rows], axis=0))


def _beside(strips: Sequence[Pixels], gap: Pixels) -> Pixels:
    return np.concatenate([part for strip in strips for part in (strip, gap)][:-1], axis=1)


def _strip(panes: Sequence[Pixels]) -> Pixels:
    """Six panes; with fewer keys than three, their places stay white."""
    missing = [np.full((PANE, PANE, 3), 255, dtype=np.uint8)] * (len(LABELS) - len(panes))
    return np.concatenate([*panes[:-2], *missing, *panes[-2:]], axis=1)


def _headline() -> Pixels:
    image = Image.new("RGB", (PANE * len(LABELS), HEADLINE), "white")
    draw, font = ImageDraw.Draw(image), ImageFont.load_default(16)
    for index, label in enumerate(LABELS):
        draw.text((index * PANE + PANE / 2, HEADLINE / 2), label, fill="black", font=font, anchor="mm")
    return np.asarray(image)
