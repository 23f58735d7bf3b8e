"""What a measurement of linkage leaves behind: the printed table, linkage.json, linkage.csv, linkage.png."""

from __future__ import annotations

import io
import json

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from faceseal.evaluation.linkage import Linkage, LinkageFigures, Question
from faceseal.evaluation.noisefeatures import FEATURES, NORM_OF_LOG_RADII
from faceseal.evaluation.report import csv_of, plain

HEADER = ("map", "feature", *(words for question in Question for words in (str(question), "mean rank")))


def notes(figures: LinkageFigures, about: str) -> list[str]:
    """What a reader must know beside the table; about: model, profile and faces."""
    return [
        f"{figures.faces} faces, {figures.components} components x {figures.cells} cells. {about}.",
        f"Share whose right face is found first (chance {figures.chance:.4f}); in brackets, Wilson's 95 % interval.",
        "Mean rank: share of the other faces that are more alike than the right one; 0 is always first, .5 is chance.",
        "The attacker's best case: he has all originals and the mask, and is given the anonymized noise exactly.",
        f"Faces whose log radii's norm lies outside the middle period, which rotation shows: {figures.outside}."
        f"{_outside_ranks(figures)}",
    ]


def _outside_ranks(figures: LinkageFigures) -> str:
    """How far those faces are from being first by that norm, as a sentence; nothing without such faces."""
    found = [
        f"{linked.keyed_map} {linked.outside_rank:.3f} {linked.question}"
        for linked in figures.linkages
        if linked.feature == NORM_OF_LOG_RADII and linked.outside_rank is not None
    ]
    return f" Their mean rank by it: {', '.join(found)}." if found else ""


def table(figures: LinkageFigures) -> list[tuple[str, ...]]:
    """Rows under `HEADER`, one per map and feature."""
    found: dict[tuple[str, str], list[str]] = {}
    for linked in figures.linkages:
        low, high = linked.rank_interval
        words = [str(linked.first), f"{linked.mean_rank:.3f} [{low:.3f}, {high:.3f}]"]
        found.setdefault((linked.keyed_map, linked.feature), []).extend(words)
    return [(*names, *words) for names, words in found.items()]


def as_json(figures: LinkageFigures, about: str) -> bytes:
    """Every figure, curves included."""
    content = {"about": about, "notes": notes(figures, about), "chance": figures.chance, "figures": plain(figures)}
    return (json.dumps(content, indent=1, allow_nan=False) + "\n").encode()


def as_csv(figures: LinkageFigures) -> bytes:
    """One line per map, question and feature."""
    return csv_of([_row(linked) for linked in figures.linkages])


def _row(linked: Linkage) -> dict[str, object]:
    (low, high), (rank_low, rank_high) = linked.first.interval, linked.rank_interval
    return {
        "map": linked.keyed_map,
        "question": linked.question.value,
        "feature": linked.feature,
        "found first": linked.first.count,
        "of": linked.first.of,
        "share": linked.first.value,
        "share low": low,
        "share high": high,
        "mean rank": linked.mean_rank,
        "rank low": rank_low,
        "rank high": rank_high,
        "mean rank outside": linked.outside_rank,
    }


def linkage_plot(figures: LinkageFigures) -> bytes:
    """A PNG: for each question, shares found first with their intervals, and a match curve per map."""
    maps = list(dict.fromkeys(linked.keyed_map for linked in figures.linkages))
    figure = Figure(figsize=(5.0 * (len(maps) + 1), 4.2 * len(Question)), layout="constrained")
    panels = figure.subplots(len(Question), len(maps) + 1, squeeze=False)
    for question, (shares, *curves) in zip(Question, panels, strict=True):
        _draw_shares(shares, figures, question, maps)
        for panel, keyed_map in zip(curves, maps, strict=True):
            _draw_curves(panel, figures, question, keyed_map)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    return buffer.getvalue()


def _draw_shares(panel: Axes, figures: LinkageFigures, question: Question, maps: list[str]) -> None:
    for index, keyed_map in enumerate(maps):
        found = [x for x in figures.linkages if (x.question, x.keyed_map) == (question, keyed_map)]
        values = [linked.first.value for linked in found]
        bounds = [linked.first.interval for linked in found]
        # A rounding error may put a bound on the value's wrong side, which matplotlib refuses.
        errors = [
            [max(value - low, 0.0) for value, (low, _) in zip(values, bounds, strict=True)],
            [max(high - value, 0.0) for value, (_, high) in zip(values, bounds, strict=True)],
        ]
        places = [place + 0.3 * (index / len(maps) - 0.25) for place in range(len(found))]
        panel.errorbar(values, places, xerr=errors, fmt="o", capsize=3, label=keyed_map)
    panel.axvline(figures.chance, color="k", linestyle=":", linewidth=0.8, label="chance")
    panel.set_yticks(range(len(FEATURES)), list(FEATURES))
    panel.invert_yaxis()
    panel.set(xlim=(-0.03, 1.03), xlabel="share found first", title=f"linked {question}")
    panel.grid(alpha=0.3)
    panel.legend(loc="center")


def _draw_curves(panel: Axes, figures: LinkageFigures, question: Question, keyed_map: str) -> None:
    # Curves that lie on each other all show: each is thinner than the one before.
    for index, linked in enumerate(x for x in figures.linkages if (x.question, x.keyed_map) == (question, keyed_map)):
        panel.plot(figures.ranks, linked.curve, linewidth=4.5 - 0.7 * index, label=linked.feature)
    panel.plot(figures.ranks, [rank / figures.faces for rank in figures.ranks], "k:", label="chance")
    panel.set(xscale="log", xlim=(1, figures.faces), ylim=(0, 1.02), title=f"{keyed_map}, {question}")
    panel.set(xlabel="faces looked at", ylabel="share found among them")
    panel.grid(alpha=0.3)
    panel.legend(loc="center left")
