"""Options that several commands share: which model, and where it computes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

ModelPath = Annotated[
    Path | None,
    typer.Option(
        "--model", metavar="PATH", help="Weights file, diffusers folder or hub name, instead of the packaged one."
    ),
]
Device = Annotated[str, typer.Option("--device", help="Where the generator computes: cpu, or cuda.")]
