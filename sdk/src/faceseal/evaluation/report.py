"""What a measurement leaves behind in words and numbers: table.md, table.json, rows.csv."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass

import numpy as np

from faceseal.evaluation.appearance import OPEN_MOUTH
from faceseal.evaluation.figures import Figures
from faceseal.evaluation.goals import HEADER, SOURCE, lines
from faceseal.evaluation.person import Person
from faceseal.evaluation.recognition import Likeness
from faceseal.evaluation.recognized import CLEAN
from faceseal.evaluation.verification import FAR, Share

GROUP_HEADER = ("group", "people", "sealed", "PSNR, median", "detected")


def notes(figures: Figures, about: str) -> list[str]:
    """What a reader must know beside the table; about: model and profile."""
    outcomes = ", ".join(f"{count} {name}" for name, count in sorted(figures.outcomes.items()))
    thresholds = [
        f"{name}: threshold {found.threshold:.4f} from {found.impostors} impostor scores"
        for name, found in figures.recognition.items()
    ]
    recognized = "; ".join(thresholds) or "Too few people have a second photo for it"
    return [
        f"{figures.people} people: {outcomes}. {about}.",
        f"TAR: share accepted at FAR {FAR:.1%}; in brackets, Wilson's 95 % interval. {recognized}.",
        "A photo that was not sealed counts as not restored (0 dB, SSIM 0), and is left out of the rows of anonymized "
        "faces and bad keys.",
        f"A mouth is open if its inner lips are more than {OPEN_MOUTH:g} eye distances apart.",
        "Baseline: the published process (labarbarie2025) on the same weights, face squares and 8-bit pixels.",
        f"Published: {SOURCE}.",
    ]


def as_markdown(figures: Figures, about: str) -> str:
    """The table, groups and notes."""
    rows = [line.words for line in lines(figures)]
    parts = ["# Evaluation", _markdown_table(("figure", *HEADER[1:3], "met?", *HEADER[4:]), rows)]
    if figures.groups:
        parts += ["## Groups", _markdown_table(*group_table(figures))]
    return "\n\n".join([*parts, "\n".join(f"- {note}" for note in notes(figures, about))]) + "\n"


def group_table(figures: Figures) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Header and rows of the figures by group; there must be a group."""
    networks = list(figures.groups[0].cosine)
    header = (*GROUP_HEADER, *(f"{n}: {what}" for n in networks for what in ("cosine anonymized", "TAR restored")))
    rows = []
    for group in figures.groups:
        psnr = "-" if group.psnr is None else f"{group.psnr:.1f} dB"
        found: list[str] = []
        for network in networks:
            cosine = group.cosine[network]
            restored = group.restored.get(network)
            found += ["-" if cosine is None else f"{cosine:.3f}", str(restored) if restored and restored.of else "-"]
        rows.append((group.name, str(group.people), str(group.sealed), psnr, str(group.detected), *found))
    return header, rows


def _markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (header, ["---"] * len(header), *rows))


def as_json(figures: Figures, about: str) -> bytes:
    """All figures, and the table's rows with what was met."""
    table = [{"name": line.name, "words": list(line.words), "met": line.met} for line in lines(figures)]
    content = {"about": about, "notes": notes(figures, about), "table": table, "figures": plain(figures)}
    return (json.dumps(content, indent=1, allow_nan=False) + "\n").encode()


def plain(value: object) -> object:
    """Dataclasses, mappings and sequences as JSON has them; NaN becomes null, a share brings its interval."""
    if isinstance(value, Share):
        return {"count": value.count, "of": value.of, "value": plain(value.value), "interval": plain(value.interval)}
    if is_dataclass(value):
        return {field.name: plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): plain(content) for key, content in value.items()}
    if isinstance(value, list | tuple):
        return [plain(content) for content in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def as_csv(people: Sequence[Person], likenesses: Mapping[str, Likeness]) -> bytes:
    """One line per person; scores are likenesses with the person's second photo, cosines are with the first."""
    return csv_of([_row(person, likenesses) for person in people])


def csv_of(rows: Sequence[Mapping[str, object]]) -> bytes:
    """Rows by column; floats are rounded, what is missing or NaN stays empty."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, fieldnames=names, restval="")
    writer.writeheader()
    writer.writerows({name: _rounded(value) for name, value in row.items()} for row in rows)
    return buffer.getvalue().encode()


def _row(person: Person, likenesses: Mapping[str, Likeness]) -> dict[str, object]:
    about, sealed = person.about, person.about.sealed
    row: dict[str, object] = {"identity": about.identity, "outcome": about.outcome}
    if sealed is not None:
        simple = ("faces", "attempts", "seconds", "exact", "refused", "luminance", "mouth_gap")
        row |= {name: getattr(sealed, name) for name in simple}
        for version, look in sealed.appearances.items():
            row |= {f"{version} {name}": getattr(look, name) for name in ("detected", *vars(look))}
        for version, reached in sealed.fidelities.items():
            row |= {f"{version} {name}": value for name, value in vars(reached).items()}
    for network, found in person.embeddings.items():
        names = [CLEAN, *(sealed.versions if sealed else ())]
        made = np.concatenate([found.first[None], found.versions]) if sealed else found.first[None]
        scores = likenesses[network](made, found.second[None])[:, 0]
        row |= {f"{network} score {name}": score for name, score in zip(names, scores, strict=True)}
    return row


def _rounded(value: object) -> object:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    return round(float(value), 5) if isinstance(value, float) else value


def printed(figures: Figures) -> list[tuple[Sequence[str], list[Sequence[str]]]]:
    """Header and rows of each table to print."""
    tables: list[tuple[Sequence[str], list[Sequence[str]]]] = [(HEADER, [line.words for line in lines(figures)])]
    if figures.groups:
        header, rows = group_table(figures)
        tables.append((header, list(rows)))
    return tables
