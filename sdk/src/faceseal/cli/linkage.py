"""faceseal linkage: what the keyed maps still show of a face."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from faceseal.cli.console import print_table
from faceseal.cli.options import Device
from faceseal.errors import MissingDependency, PhotoError
from faceseal.profiles import DEFAULT, profile_named


def linkage(
    faces: Annotated[
        Path,
        typer.Argument(metavar="FACES", help="Folder or zip of 128 x 128 squares with a landmarks.csv, or of photos."),
    ],
    count: Annotated[int, typer.Option(min=2, help="Faces to invert and link, evenly chosen among FACES.")] = 1000,
    model: Annotated[
        Path | None, typer.Option(metavar="WEIGHTS", help="Weights file; by default, the packaged one.")
    ] = None,
    profile: Annotated[str, typer.Option(help="fast, default or best.")] = DEFAULT.name,
    output: Annotated[Path, typer.Option(metavar="FOLDER", help="Where all results go.")] = Path("linkage"),
    device: Device = "cpu",
    seed: Annotated[int, typer.Option(min=0, help="Draws the keys; the same seed gives the same results.")] = 0,
) -> None:
    """Try to link anonymized faces to their originals, and to each other, by what each keyed map leaves of the noise.

    Prints the table; writes linkage.json, linkage.csv and linkage.png.
    """
    try:
        import numpy as np

        from faceseal.anonymizer.generator import exchange_with, open_weights
        from faceseal.evaluation import linkagereport as report
        from faceseal.evaluation.inversion import common_mask, evenly_chosen, invert_squares
        from faceseal.evaluation.linkage import linkage_figures
        from faceseal.keyed import KEYED_MAPS, PHOTO_RADIUS_SPREAD, ROTATION
        from faceseal.training.collect import read_squares, with_lips
    except ModuleNotFoundError as cause:
        raise MissingDependency(f"{cause.name} is not installed; measuring needs faceseal[evaluate]") from cause
    from faceseal.photo import write_atomically
    from faceseal.weights import PACKAGED

    settings = profile_named(profile)
    opened = open_weights(model or PACKAGED, device)
    exchange = exchange_with(opened, settings.solver, KEYED_MAPS.index(ROTATION))
    chosen = evenly_chosen(read_squares(faces), count)
    mask = common_mask(chosen)
    _make_folder(output)
    noise = invert_squares(with_lips(chosen), mask, exchange)
    figures = linkage_figures(noise, KEYED_MAPS, PHOTO_RADIUS_SPREAD, np.random.default_rng(seed))
    about = f"Model {opened.name}, profile {profile}, seed {seed}"
    write_atomically(output / "linkage.json", report.as_json(figures, about))
    write_atomically(output / "linkage.csv", report.as_csv(figures))
    write_atomically(output / "linkage.png", report.linkage_plot(figures))
    print_table(report.HEADER, report.table(figures))
    typer.echo("")
    for note in report.notes(figures, about):
        typer.echo(note)


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as cause:
        raise PhotoError(f"{folder} cannot be written ({cause.strerror}); check the name") from cause
