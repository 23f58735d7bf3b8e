"""The generator's door: what lies behind it is imported only when it is needed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from faceseal.envelope.header import SolverRecord
from faceseal.errors import MissingDependency, ModelMismatch

if TYPE_CHECKING:
    from pathlib import Path

    from faceseal.exchange import Exchange
    from faceseal.model import Model


def open_model(path: Path) -> Model:
    """The model in a weights file.  Raises MissingDependency or ModelError."""
    try:
        from faceseal.model import load_model
    except ModuleNotFoundError as cause:
        raise MissingDependency(
            f"{cause.name} is not installed; anonymizing, and restoring without a capsule, need faceseal[generator]"
        ) from cause
    return load_model(path)


def default_model() -> Model:
    """The packaged model, loaded once.  Raises MissingDependency or ModelError."""
    from faceseal.weights import PACKAGED

    if PACKAGED not in _opened:
        _opened[PACKAGED] = open_model(PACKAGED)
    return _opened[PACKAGED]


_opened: dict[Path, Model] = {}


def matching_model(model: Model | None, digest: bytes) -> Model:
    """`model`, or the default one, if it has this digest.  Raises ModelMismatch, and as `default_model`."""
    chosen = model or default_model()
    if chosen.digest != digest:
        raise ModelMismatch(
            f"the photo was sealed with model {digest.hex()[:16]}, this is model {chosen.digest.hex()[:16]} "
            f"({chosen.name}); give the right one with --model, or restore with the capsule"
        )
    return chosen


def exchange_with(model: Model, solver: SolverRecord, keyed_map: int) -> Exchange:
    """The exchange that a header describes."""
    from faceseal.exchange import Exchange
    from faceseal.keyed import KEYED_MAPS
    from faceseal.ode import Solver

    return Exchange(model, Solver(**vars(solver)), KEYED_MAPS[keyed_map])
