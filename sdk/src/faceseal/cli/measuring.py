"""faceseal evaluate: what anonymizing and restoring reach on photos of known people."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from faceseal.errors import MissingDependency
from faceseal.profiles import DEFAULT, profile_named


def evaluate(
    pairs: Annotated[Path, typer.Option(metavar="ZIP", help="Photos and a pairs.csv (identity, first, second).")],
    recognizer: Annotated[Path, typer.Option(metavar="ONNX", help="Recognition network, 112 x 112 to embedding.")],
    output: Annotated[Path, typer.Option(metavar="FOLDER", help="Where the table and the sheet go.")],
    limit: Annotated[int | None, typer.Option(min=1, help="Only this many pairs.")] = None,
    profile: Annotated[str, typer.Option(help="fast, default or best.")] = DEFAULT.name,
    workers: Annotated[int, typer.Option(min=1, help="Photos worked on at once.")] = os.cpu_count() or 1,
    people: Annotated[int, typer.Option(min=1, help="People on the contact sheet.")] = 24,
) -> None:
    """Seal the first photo of each pair, restore it in all ways, and report.

    Writes rows.csv and sheet.png (original, anonymized, restored from pixels, wrong key).
    """
    try:
        from tqdm import tqdm

        from faceseal.anonymizer.sealed import encode_png
        from faceseal.evaluation import report
        from faceseal.evaluation.measure import Measured, Row, measure
        from faceseal.evaluation.pairs import read_pairs
    except ModuleNotFoundError as cause:
        raise MissingDependency(f"{cause.name} is not installed; measuring needs faceseal[generator]") from cause
    from faceseal.photo import write_atomically

    chosen = profile_named(profile)
    output.mkdir(parents=True, exist_ok=True)
    shown: list[Measured] = []
    rows: list[Row] = []
    for measured in tqdm(
        measure(read_pairs(pairs, limit), recognizer, chosen, workers), unit="photo", mininterval=5.0, disable=None
    ):
        rows.append(measured.row)
        if len(shown) < people:
            shown.append(measured)
    write_atomically(output / "rows.csv", report.as_csv(rows))
    write_atomically(output / "sheet.png", encode_png(report.contact_sheet(shown)))
    for line in report.summary(rows):
        typer.echo(line)
