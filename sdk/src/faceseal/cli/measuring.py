"""faceseal evaluate: what anonymizing and restoring reach on photos of known people."""

from __future__ import annotations

import os
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from faceseal.cli.console import print_table
from faceseal.cli.options import Device, ModelPath
from faceseal.errors import MissingDependency, PhotoError
from faceseal.profiles import DEFAULT, profile_named

if TYPE_CHECKING:
    from faceseal.evaluation.campaign import Campaign
    from faceseal.evaluation.speed import Speed

PARTS = ("baseline", "robustness", "keys", "classifier", "speed")
"""As faceseal.evaluation.versions.Part has them."""


def evaluate(
    pairs: Annotated[Path, typer.Option(metavar="ZIP", help="Photos and a pairs.csv (identity, first, second).")],
    output: Annotated[Path, typer.Option(metavar="FOLDER", help="Where all results go.")] = Path("evaluation"),
    recognizer: Annotated[
        Path, typer.Option(metavar="ONNX", help="First recognition network; `make build/fr_feature.onnx` fetches it.")
    ] = Path("build/fr_feature.onnx"),
    model: ModelPath = None,
    device: Device = "cpu",
    groups: Annotated[
        Path | None, typer.Option(metavar="CSV", help="Groups to report (columns identity, group).")
    ] = None,
    without: Annotated[
        list[str] | None, typer.Option(metavar="PART", help=f"Leave out one of: {', '.join(PARTS)}; may be repeated.")
    ] = None,
    guard: Annotated[
        float | None,
        typer.Option(metavar="COSINE", help="Faces that come out more alike to the first network are made again."),
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Only this many people.")] = None,
    profile: Annotated[str, typer.Option(help="fast, default or best.")] = DEFAULT.name,
    workers: Annotated[int, typer.Option(min=1, help="People worked on at once, each on one thread.")] = (
        os.cpu_count() or 1
    ),
    people: Annotated[int, typer.Option(min=1, help="People on the contact sheet.")] = 24,
    fresh: Annotated[bool, typer.Option("--fresh", help="Delete what an earlier run left, and start anew.")] = False,
) -> None:
    """Seal the first photo of each person, restore it in all ways, and compare both with the second photo.

    Prints the table; writes it as table.md and table.json, and rows.csv, roc.png and
    sheet.png.  An interrupted run goes on where it was.
    """
    try:
        from tqdm import tqdm

        from faceseal.evaluation import pictures, report
        from faceseal.evaluation.campaign import Campaign, Settings, standard_recognizers
        from faceseal.evaluation.figures import compute_figures
        from faceseal.evaluation.pairs import read_groups
        from faceseal.evaluation.versions import Part
    except ModuleNotFoundError as cause:
        raise MissingDependency(f"{cause.name} is not installed; measuring needs faceseal[evaluate]") from cause
    from faceseal.photo import write_atomically

    unknown = sorted(set(without or []) - set(PARTS))
    if unknown:
        raise PhotoError(f"there is no part {unknown[0]!r} to leave out; choose among {', '.join(PARTS)}")
    left_out = frozenset(Part(name) for name in without or [])
    lists = read_groups(groups) if groups else {}
    networks = standard_recognizers(recognizer)
    settings = Settings(pairs, profile_named(profile), model, networks, left_out, guard, device)
    campaign = Campaign.under(output, settings, limit=limit, shown=people, workers=workers, fresh=fresh)
    found = list(tqdm(campaign.run(), total=campaign.count(), unit="person", mininterval=5.0, disable=None))
    speed = None if Part.SPEED in left_out else _speed(campaign)
    likenesses = {source.name: source.likeness for source in settings.recognizers}
    figures = compute_figures(found, likenesses, lists, speed, classify=Part.CLASSIFIER not in left_out)
    about = f"Model {settings.opened().name}, profile {profile}"
    if device != "cpu":
        about += f", computed on {device}"
    if guard is not None:
        about += f", faces above a cosine of {guard:g} made again, so the first network's figures are not independent"
    write_atomically(output / "rows.csv", report.as_csv(found, likenesses))
    write_atomically(output / "table.md", report.as_markdown(figures, about).encode())
    write_atomically(output / "table.json", report.as_json(figures, about))
    write_atomically(output / "roc.png", pictures.roc_plot(figures))
    write_atomically(output / "sheet.png", pictures.contact_sheet(found))
    for header, rows in report.printed(figures):
        print_table(header, rows)
        typer.echo("")
    for note in report.notes(figures, about):
        typer.echo(note)


def _speed(campaign: Campaign) -> Speed:
    """Measured once the workers are done, and kept."""
    from faceseal.evaluation.pairs import read_pairs
    from faceseal.evaluation.speed import PHOTOS, keep_speed, kept_speed, time_sealing

    settings, file = campaign.settings, campaign.folder / "speed.json"
    kept = kept_speed(file)
    if kept is not None:
        return kept
    photos = (pair.first for pair in islice(read_pairs(settings.pairs, campaign.limit), PHOTOS + 1))
    speed = time_sealing(photos, settings.profile, settings.opened())
    keep_speed(speed, file)
    return speed
