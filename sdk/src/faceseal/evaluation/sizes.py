"""What sealing and restoring reach by size of the face: the same face, smaller and smaller."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
from PIL import Image

from faceseal.anonymizer.attempts import decibel
from faceseal.anonymizer.generator import exchange_with
from faceseal.anonymizer.placing import face_at
from faceseal.errors import FaceTooAlike, FidelityTooLow, NoFaceFound, PhotoError
from faceseal.evaluation.appearance import landmark_distance, main_face, same_place
from faceseal.evaluation.fidelity import Fidelity, fidelity
from faceseal.evaluation.measure import pane
from faceseal.evaluation.person import SEALED
from faceseal.evaluation.texture import seam_ratio, sharpness
from faceseal.evaluation.trial import Trial, new_key, try_photo
from faceseal.evaluation.versions import Part, Pixels, Version
from faceseal.faces.detector import DetectedFace, detect_faces
from faceseal.faces.geometry import framed_side
from faceseal.faces.square import LARGEST_CELL, SMALLEST_CELL
from faceseal.grid import GRID
from faceseal.model import Model
from faceseal.photo import SHORTEST_SIDE, Photo
from faceseal.profiles import Profile

SMALLEST, LARGEST = GRID * SMALLEST_CELL, GRID * LARGEST_CELL
"""Sides that a face square can have, in pixels."""
DISPLAYED = 320
"""Side of a picture on the sheet, in pixels; the face square takes two thirds of it."""
WITHOUT = (Part.BASELINE, Part.ROBUSTNESS, Part.KEYS)
"""Of `try_photo`: each key gets an inversion and a test of its own here."""


@dataclass(frozen=True, eq=False)
class Portrait:
    """A photo, what it is called, and its main face."""

    name: str
    photo: Photo
    face: DetectedFace

    @classmethod
    def of(cls, name: str, photo: Photo) -> Portrait:
        """Raises NoFaceFound."""
        height, width, _ = photo.pixels.shape
        face = main_face(detect_faces(photo.pixels), width, height)
        if face is None:
            raise NoFaceFound(f"no face was found in {name}; choose a photo that shows one")
        return cls(name, photo, face)

    @cached_property
    def side(self) -> float:
        """Side of the square that frames the face, before it is rounded to whole cells, in pixels."""
        fitting = GRID * (min(self.photo.pixels.shape[:2]) // GRID)
        return float(min(framed_side(self.face.landmarks), fitting))

    def why_not(self, side: int) -> str | None:
        """What keeps the face from getting a square of this side, in words; None if nothing does."""
        own = round(self.side / GRID)
        if round(side / GRID) > own:
            return f"the face is {GRID * own} px there, and nothing is enlarged"
        if min(self._resized(side)) < SHORTEST_SIDE:
            return f"the photo would be smaller than {SHORTEST_SIDE} px"
        return None

    def at(self, side: int) -> tuple[Photo, DetectedFace | None]:
        """The photo resized so that the face square has about this side, and its main face there, if it is found."""
        width, height = self._resized(side)
        image = Image.fromarray(self.photo.pixels)
        smaller = image.resize((width, height), Image.Resampling.LANCZOS, reducing_gap=3.0)
        photo = replace(self.photo, pixels=np.asarray(smaller))
        scale = np.array([width, height]) / image.size
        expected = replace(self.face, landmarks=self.face.landmarks * scale)
        return photo, same_place(detect_faces(photo.pixels), expected)

    def _resized(self, side: int) -> tuple[int, int]:
        height, width, _ = self.photo.pixels.shape
        scale = min(1.0, side / self.side)
        return round(width * scale), round(height * scale)


@dataclass(frozen=True)
class Reached:
    """What one key brought a face of one size.

    fidelity: of the face restored from the pixels alone; carried: dB in the mask of what the
    latent carries of the original, the best that can come back; exact: the capsule brought
    every pixel back; landmark_distance: in eye distances, None if the detector misses the
    anonymized face; seconds: per face of the photo; sharpness: the anonymized face's,
    divided by the original's; seams: see `seam_ratio`.
    """

    cell: int
    fidelity: Fidelity
    carried: float
    exact: bool
    landmark_distance: float | None
    attempts: int
    seconds: float
    sharpness: float
    seams_original: float
    seams_anonymized: float
    seams_restored: float

    @property
    def side(self) -> int:
        """Of the face square, in pixels."""
        return GRID * self.cell


@dataclass(frozen=True, eq=False)
class Try:
    """One photo at one size under its `key`-th key, from 1; reached and panes are empty if it was not sealed.

    side: the one wanted; outcome: `SEALED`, or the error's name; panes: original,
    anonymized, restored from the pixels.
    """

    name: str
    side: int
    key: int
    outcome: str
    reached: Reached | None
    panes: Sequence[Pixels] = ()


def measure_sizes(
    portraits: Sequence[Portrait], sides: Sequence[int], keys: int, profile: Profile, model: Model
) -> Iterator[Try]:
    """Each portrait at each side that it reaches, under so many keys."""
    random = np.random.default_rng(0)
    for portrait in portraits:
        for side in sides:
            if portrait.why_not(side) is not None:
                continue
            photo, face = portrait.at(side)
            for key in range(1, keys + 1):
                yield _try(portrait.name, side, key, photo, face, profile, model, random)


def _try(
    name: str,
    side: int,
    key: int,
    photo: Photo,
    face: DetectedFace | None,
    profile: Profile,
    model: Model,
    random: np.random.Generator,
) -> Try:
    if face is None:
        return Try(name, side, key, NoFaceFound.__name__, None)
    try:
        with tempfile.TemporaryDirectory(prefix="faceseal-sizes-") as folder:
            trial = try_photo(photo, face, profile, model, None, WITHOUT, Path(folder) / "sealed.png", random)
    except (NoFaceFound, FidelityTooLow, FaceTooAlike, PhotoError) as problem:
        return Try(name, side, key, type(problem).__name__, None)
    made = trial.versions
    shown = (trial.original, made[Version.ANONYMIZED], made[Version.RESTORED])
    panes = tuple(pane(pixels, trial.record, DISPLAYED) for pixels in shown)
    return Try(name, side, key, SEALED, _reached(trial, face, profile, model), panes)


def _reached(trial: Trial, face: DetectedFace, profile: Profile, model: Model) -> Reached:
    original, record = trial.original, trial.record
    anonymized, restored = trial.versions[Version.ANONYMIZED], trial.versions[Version.RESTORED]
    found = same_place(detect_faces(anonymized), face)
    return Reached(
        cell=record.cell,
        fidelity=fidelity(original, restored, record),
        carried=_carried(trial, profile, model),
        exact=trial.exact,
        landmark_distance=None if found is None else landmark_distance(face, found),
        attempts=trial.attempts,
        seconds=trial.seconds / trial.faces,
        sharpness=sharpness(anonymized, record) / max(sharpness(original, record), 1e-9),
        seams_original=seam_ratio(original, record),
        seams_anonymized=seam_ratio(anonymized, record),
        seams_restored=seam_ratio(restored, record),
    )


def _carried(trial: Trial, profile: Profile, model: Model) -> float:
    """The latent depends on the square alone, so any key and map will do."""
    face = face_at(trial.original, [trial.record], 0, new_key())
    inside = face.masked_pixels
    carried = exchange_with(model, profile.solver, 0).carried(face)
    return decibel(face.square[inside], carried[inside])
