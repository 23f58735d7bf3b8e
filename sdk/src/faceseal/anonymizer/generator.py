"""The generator's door: what lies behind it is imported only when it is needed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from faceseal.envelope.header import Header, SolverRecord
from faceseal.errors import MissingDependency, ModelMismatch
from faceseal.guidance import UNGUIDED, Guidance

if TYPE_CHECKING:
    from faceseal.exchange import Exchange
    from faceseal.model import FaceModel, Model


def open_model(source: str | Path, device: str = "cpu") -> Model:
    """The model in a weights file, in a diffusers folder, or on the hub.

    source: a path, or for the hub ``owner/name``, with ``@revision`` behind it to pin one
    (see docs/pretrained-models.md).  Raises MissingDependency or ModelError.
    """
    path = Path(source)
    if path.is_file():
        return open_weights(path, device)
    try:
        from faceseal.pretrained import is_hub_name, load_pretrained
    except ModuleNotFoundError as cause:
        raise _missing(cause) from cause
    if path.is_dir() or is_hub_name(str(source)):
        return load_pretrained(source, device)
    return open_weights(path, device)


def open_weights(path: Path, device: str = "cpu") -> FaceModel:
    """The model in a weights file that `faceseal train` wrote.  Raises MissingDependency or ModelError."""
    try:
        from faceseal.model import load_model
    except ModuleNotFoundError as cause:
        raise _missing(cause) from cause
    return load_model(path, device)


def _missing(cause: ModuleNotFoundError) -> MissingDependency:
    return MissingDependency(
        f"{cause.name} is not installed; anonymizing, and restoring without a capsule, need faceseal[generator]"
    )


def default_model() -> FaceModel:
    """The packaged model, loaded once.  Raises MissingDependency or ModelError."""
    from faceseal.weights import PACKAGED

    if PACKAGED not in _opened:
        _opened[PACKAGED] = open_weights(PACKAGED)
    return _opened[PACKAGED]


_opened: dict[Path, FaceModel] = {}


def matching_model(model: Model | None, digest: bytes) -> Model:
    """`model`, or the default one, if it has this digest.  Raises ModelMismatch, and as `default_model`."""
    chosen = model or default_model()
    if chosen.digest != digest:
        raise ModelMismatch(
            f"the photo was sealed with model {digest.hex()[:16]}, this is model {chosen.digest.hex()[:16]} "
            f"({chosen.name}); give the right one with --model, or restore with the capsule"
        )
    return chosen


def guidance_of(model: Model, wanted: Guidance) -> Guidance:
    """`wanted`, or none if the model cannot guide."""
    from faceseal.model import GuidableModel

    return wanted if isinstance(model, GuidableModel) else UNGUIDED


def exchange_of(header: Header, model: Model | None, refine: int = 0) -> Exchange:
    """The exchange that a header describes; refine: see `Exchange`.  Raises as `matching_model`."""
    return exchange_with(
        matching_model(model, header.model_digest), header.solver, header.keyed_map, header.guidance, refine
    )


def exchange_with(
    model: Model, solver: SolverRecord, keyed_map: int, guidance: Guidance = UNGUIDED, refine: int = 0
) -> Exchange:
    """An exchange with these settings; refine: see `Exchange`.  Raises ModelError."""
    from faceseal.exchange import Exchange
    from faceseal.keyed import KEYED_MAPS
    from faceseal.ode import Solver

    return Exchange(model, Solver(**vars(solver)), KEYED_MAPS[keyed_map], refine, guidance)
