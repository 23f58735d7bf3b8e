"""What was measured of one person, and the file that it is kept in."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter

from faceseal.evaluation.fidelity import Fidelity
from faceseal.evaluation.versions import Pixels, Version

FloatArray = NDArray[np.float64]

SEALED = "sealed"
"""The outcome of a photo that was sealed; others are named by their error."""


@dataclass(frozen=True)
class Appearance:
    """How an anonymized face looks beside its original.

    landmark_distance: mean of the five, in eye distances, None if the detector misses the
    face; pose: degrees between the head poses; mouth_gap: see `mouth_gap`.
    """

    landmark_distance: float | None
    pose: float
    mouth_gap: float

    @property
    def detected(self) -> bool:
        """Whether the detector finds the face in the whole photo."""
        return self.landmark_distance is not None


@dataclass(frozen=True)
class SealedFigures:
    """Of a photo that was sealed; see `faceseal.evaluation.trial.Trial` for what the first five say.

    luminance: median in the mask, 0..255; mouth_gap: the original's; versions: those that
    were made, in the order of `Embeddings.versions`.
    """

    faces: int
    attempts: int
    seconds: float
    exact: bool
    refused: bool
    luminance: float
    mouth_gap: float
    versions: tuple[Version, ...]
    fidelities: dict[Version, Fidelity]
    appearances: dict[Version, Appearance]


@dataclass(frozen=True)
class About:
    """A person's figures; `sealed` is None unless the first photo was sealed."""

    identity: str
    outcome: str
    sealed: SealedFigures | None


@dataclass(frozen=True, eq=False)
class Embeddings:
    """Of one network: first, second: (D,) of the untouched photos, NaN where no face was found.

    versions: (V, D); keys: (K, D), anonymized with K keys, the sealed photo's first.
    """

    first: FloatArray
    second: FloatArray
    versions: FloatArray
    keys: FloatArray


@dataclass(frozen=True, eq=False)
class Person:
    """All that reports need.

    embeddings: by network; squares: (128, 128, 3) of the untouched second photo
    (`UNTOUCHED`) and of the anonymized versions; panes: pictures for the contact sheet, if
    they were asked for.
    """

    about: About
    embeddings: Mapping[str, Embeddings]
    squares: Mapping[str, Pixels]
    panes: Sequence[Pixels]


UNTOUCHED = "untouched"


def embedding_of(person: Person, network: str, version: Version) -> FloatArray:
    """One version's embedding (D,).  Raises ValueError if the person has no such version."""
    versions = person.about.sealed.versions if person.about.sealed else ()
    return np.asarray(person.embeddings[network].versions[versions.index(version)])


_ABOUT = TypeAdapter(About)


def to_bytes(person: Person) -> bytes:
    """A compressed NumPy archive without pickles."""
    arrays: dict[str, NDArray[np.generic]] = {"about": np.frombuffer(_ABOUT.dump_json(person.about), dtype=np.uint8)}
    for name, found in person.embeddings.items():
        arrays |= {f"embeddings/{name}/{part}": value for part, value in vars(found).items()}
    arrays |= {f"squares/{name}": value for name, value in person.squares.items()}
    arrays |= {f"panes/{index:03}": value for index, value in enumerate(person.panes)}
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **arrays)
    return buffer.getvalue()


def from_bytes(content: bytes) -> Person:
    """The inverse of `to_bytes`.  Raises ValueError for anything else."""
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as archive:
            arrays = dict(archive)
        about = _ABOUT.validate_json(arrays["about"].tobytes())
    except (OSError, KeyError, EOFError, ValueError, zipfile.BadZipFile) as cause:
        raise ValueError("this is not a person's measurement") from cause
    networks = {key.split("/")[1] for key in arrays if key.startswith("embeddings/")}
    fields = Embeddings.__annotations__
    embeddings = {name: Embeddings(*(arrays[f"embeddings/{name}/{part}"] for part in fields)) for name in networks}
    squares = {key.split("/", 1)[1]: value for key, value in arrays.items() if key.startswith("squares/")}
    panes = [arrays[key] for key in sorted(arrays) if key.startswith("panes/")]
    return Person(about, embeddings, squares, panes)
