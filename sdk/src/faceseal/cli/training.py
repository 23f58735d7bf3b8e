"""faceseal train: make weights from a folder or an archive of faces."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from faceseal.errors import MissingDependency


def train(
    faces: Annotated[
        Path,
        typer.Argument(
            metavar="FOLDER_OR_ZIP", help="Photos with faces, or 128 x 128 face squares with a landmarks.csv."
        ),
    ],
    output: Annotated[Path, typer.Option("--output", metavar="FOLDER", help="Where weights and pictures go.")],
    steps: Annotated[int, typer.Option(min=1, help="Training steps in all, those of earlier runs included.")] = 20_000,
    batch: Annotated[int, typer.Option(min=2, help="Faces per step.")] = 32,
    device: Annotated[str, typer.Option(help="cpu, or cuda.")] = "cpu",
    save_every: Annotated[float, typer.Option(min=1.0, help="Seconds between checkpoints.")] = 600.0,
) -> None:
    """Train the generator; started again with the same output folder, it goes on where it stopped.

    Leaves model.safetensors, loss.png, samples.png and checkpoint.pt in the output folder.
    """
    try:
        from faceseal.training.collect import read_faces
        from faceseal.training.loop import Recipe, Training
    except ModuleNotFoundError as cause:
        raise MissingDependency(f"{cause.name} is not installed; training needs faceseal[train]") from cause
    training = Training(read_faces(faces), output, Recipe(steps=steps, batch=batch), device)
    training.run(save_every)
    typer.echo(f"trained {training.step} steps; weights: {output / 'model.safetensors'}")
