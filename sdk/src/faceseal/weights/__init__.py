"""The weights that come with the package; see MODEL_CARD.md beside them."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from faceseal.errors import MissingDependency

if TYPE_CHECKING:
    from faceseal.model import Model

PACKAGED = Path(__file__).with_name("faceseal-1.safetensors")


@cache
def packaged_model() -> Model:
    """The default model, loaded once.  Raises MissingDependency or ModelError."""
    try:
        from faceseal.model import load_model
    except ModuleNotFoundError as cause:
        raise MissingDependency(
            f"{cause.name} is not installed; anonymizing, and restoring without a capsule, need faceseal[generator]"
        ) from cause
    return load_model(PACKAGED)
