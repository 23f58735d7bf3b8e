"""faceseal sizes: what anonymizing and restoring reach by size of the face."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from faceseal.cli.console import print_table
from faceseal.cli.options import Device, ModelPath
from faceseal.errors import MissingDependency, PhotoError
from faceseal.profiles import DEFAULT, profile_named

if TYPE_CHECKING:
    from faceseal.photo import Photo

SIDES = "48,64,96,128,192,256,512"
"""Of face squares, in pixels."""


def sizes(
    photos: Annotated[
        list[Path] | None,
        typer.Argument(metavar="[PHOTO]...", help="Photos of one face each; without any, two public-domain portraits."),
    ] = None,
    sides: Annotated[str, typer.Option(metavar="PIXELS", help="Sides of the face square, with commas.")] = SIDES,
    keys: Annotated[int, typer.Option(min=1, help="Keys per photo and side.")] = 3,
    output: Annotated[Path, typer.Option(metavar="FOLDER", help="Where all results go.")] = Path("sizes"),
    profile: Annotated[str, typer.Option(help="fast, default or best.")] = DEFAULT.name,
    model: ModelPath = None,
    device: Device = "cpu",
) -> None:
    """Make each photo's main face smaller step by step, seal it, restore it, and compare.

    Prints a table by side; writes it as sizes.json, and sizes.csv and sheet.png.  No photo is
    enlarged: sides that its face does not have are left out.
    """
    try:
        from tqdm import tqdm

        from faceseal.anonymizer.generator import open_model
        from faceseal.evaluation import sizereport
        from faceseal.evaluation.sizes import Portrait, measure_sizes
    except ModuleNotFoundError as cause:
        raise MissingDependency(f"{cause.name} is not installed; measuring needs faceseal[evaluate]") from cause
    from faceseal.photo import write_atomically
    from faceseal.weights import PACKAGED

    wanted, chosen = _sides(sides), profile_named(profile)
    portraits = [Portrait.of(name, photo) for name, photo in _photos(photos or [])]
    notes = sizereport.left_out(portraits, wanted)
    reachable = len(portraits) * len(wanted) - len(notes)
    if not reachable:
        raise PhotoError(f"no side can be measured ({notes[0]}); ask for other sides, or give a larger photo")
    _make_folder(output)
    opened = open_model(model or PACKAGED, device)
    runs = measure_sizes(portraits, wanted, keys, chosen, opened)
    tries = list(tqdm(runs, total=reachable * keys, unit="face", mininterval=5.0, disable=None))
    figures = sizereport.by_side(tries)
    about = f"Model {opened.name}, profile {profile}, photos: {len(portraits)}, keys for each: {keys}"
    write_atomically(output / "sizes.csv", sizereport.as_csv(tries))
    write_atomically(output / "sizes.json", sizereport.as_json(figures, about, notes))
    write_atomically(output / "sheet.png", sizereport.sheet(tries))
    print_table(sizereport.HEADER, sizereport.table(figures))
    typer.echo("")
    for note in (f"{about}.", *notes):
        typer.echo(note)


def _sides(text: str) -> list[int]:
    """Ascending, each once.  Raises BadParameter unless they are sides that a face square can have."""
    from faceseal.evaluation.sizes import LARGEST, SMALLEST

    words = re.split(r"[,\s]+", text.strip(", "))
    if not all(word.isascii() and word.isdigit() and SMALLEST <= int(word) <= LARGEST for word in words):
        raise typer.BadParameter(f"--sides takes whole numbers from {SMALLEST} to {LARGEST}, such as 64,128")
    return sorted({int(word) for word in words})


def _photos(paths: list[Path]) -> list[tuple[str, Photo]]:
    """Raises PhotoError or MissingDependency."""
    from faceseal.photo import Photo, read_photo

    if paths:
        return [(str(path), read_photo(path)) for path in paths]
    try:
        import matplotlib
        from skimage.data import astronaut
    except ModuleNotFoundError as cause:
        raise MissingDependency(f"{cause.name} is not installed; give photos, or install faceseal[evaluate]") from cause
    admiral = Path(matplotlib.get_data_path()) / "sample_data" / "grace_hopper.jpg"
    collins = Photo(astronaut())  # type: ignore[no-untyped-call]
    return [("collins", collins), ("hopper", read_photo(admiral))]


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as cause:
        raise PhotoError(f"{folder} cannot be written ({cause.strerror}); check the name") from cause
