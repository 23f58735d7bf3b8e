"""One person measured: the first photo tried, and all that came of it compared with both photos."""

from __future__ import annotations

import tempfile
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from faceseal.anonymizer.identity import IdentityGuard
from faceseal.anonymizer.placing import square_of
from faceseal.envelope.header import FaceRecord
from faceseal.errors import FaceTooAlike, FidelityTooLow, NoFaceFound, PhotoError
from faceseal.evaluation.appearance import landmark_distance, main_face, mouth_gap, pose_difference, same_place
from faceseal.evaluation.fidelity import fidelity, luminance
from faceseal.evaluation.pairs import Pair
from faceseal.evaluation.person import SEALED, UNTOUCHED, About, Appearance, Embeddings, Person, SealedFigures
from faceseal.evaluation.recognition import Recognizer
from faceseal.evaluation.trial import Trial, try_photo
from faceseal.evaluation.versions import RESTORATIONS, Part, Pixels, Version
from faceseal.faces.detector import DetectedFace, detect_faces
from faceseal.faces.mesh import FaceMesh
from faceseal.faces.square import place_square
from faceseal.model import Model
from faceseal.photo import Photo
from faceseal.profiles import Profile

FloatArray = NDArray[np.float64]

SQUARE = 128
"""Side of the squares that the classifiers see, in pixels."""
PANE = 240
"""Side of a picture on the contact sheet, in pixels; the face square takes 160 of them."""
SURROUNDINGS = 0.25
"""What a pane shows on each side of the face square, in sides of the square."""
ANONYMIZED = (Version.ANONYMIZED, Version.BASELINE_ANONYMIZED)


@dataclass(frozen=True, eq=False)
class Instruments:
    """What a measurement is made with; `model` is None for the packaged one."""

    model: Model | None
    recognizers: Mapping[str, Recognizer]
    mesh: FaceMesh
    guard: IdentityGuard | None = None


def measure(
    pair: Pair,
    instruments: Instruments,
    profile: Profile,
    without: Collection[Part],
    random: np.random.Generator,
    *,
    panes: bool,
) -> Person:
    """Seal the first photo in all ways, and compare.

    panes: whether pictures for the contact sheet are kept; random: which bit of the key is
    flipped.  All versions of the first photo are aligned for recognition by the landmarks of
    the original: an attacker could hardly do better.
    """
    face, second = _main_face(pair.first), _second_face(pair)
    squares = {} if second is None else {UNTOUCHED: _square_of_face(*second)}
    if face is None:
        return Person(About(pair.identity, NoFaceFound.__name__, None), {}, squares, [])
    try:
        with tempfile.TemporaryDirectory(prefix="faceseal-evaluate-") as folder:
            path = Path(folder) / "sealed.png"
            model, guard = instruments.model, instruments.guard
            trial = try_photo(pair.first, face, profile, model, guard, without, path, random)
    except (NoFaceFound, FidelityTooLow, FaceTooAlike, PhotoError) as problem:
        clean = _embed(pair.first, face, second, None, instruments)
        return Person(About(pair.identity, type(problem).__name__, None), clean, squares, [])
    squares |= {v.value: _scaled_square(trial.versions[v], trial.record) for v in ANONYMIZED if v in trial.versions}
    return Person(
        About(pair.identity, SEALED, _figures(trial, face, instruments.mesh)),
        _embed(pair.first, face, second, trial, instruments),
        squares,
        _panes(trial) if panes else [],
    )


def _main_face(photo: Photo) -> DetectedFace | None:
    return main_face(detect_faces(photo.pixels), photo.pixels.shape[1], photo.pixels.shape[0])


def _second_face(pair: Pair) -> tuple[Photo, DetectedFace] | None:
    """The second photo and its main face, None if there is no photo, or no face."""
    face = None if pair.second is None else _main_face(pair.second)
    return None if pair.second is None or face is None else (pair.second, face)


def _figures(trial: Trial, face: DetectedFace, mesh: FaceMesh) -> SealedFigures:
    original = mesh.find(trial.original, face.landmarks)
    record, versions = trial.record, trial.versions
    return SealedFigures(
        faces=trial.faces,
        attempts=trial.attempts,
        seconds=trial.seconds,
        exact=trial.exact,
        refused=trial.refused,
        luminance=luminance(trial.original, record),
        mouth_gap=mouth_gap(original),
        versions=tuple(versions),
        fidelities={v: fidelity(trial.original, versions[v], record) for v in RESTORATIONS if v in versions},
        appearances={v: _appearance(versions[v], face, original, mesh) for v in ANONYMIZED if v in versions},
    )


def _appearance(pixels: Pixels, face: DetectedFace, original: FloatArray, mesh: FaceMesh) -> Appearance:
    found = same_place(detect_faces(pixels), face)
    points = mesh.find(pixels, face.landmarks)
    moved = None if found is None else landmark_distance(face, found)
    return Appearance(moved, pose_difference(original, points), mouth_gap(points))


def _embed(
    first: Photo,
    face: DetectedFace,
    second: tuple[Photo, DetectedFace] | None,
    trial: Trial | None,
    instruments: Instruments,
) -> dict[str, Embeddings]:
    photos = [first.pixels]
    if trial is not None:
        photos += [*trial.versions.values(), *trial.other_keys]
    made = 0 if trial is None else len(trial.versions)
    embeddings = {}
    for name, recognizer in instruments.recognizers.items():
        found = recognizer.embed(photos, face.landmarks)
        missing = np.full(found.shape[1], np.nan)
        other = missing if second is None else recognizer.embed([second[0].pixels], second[1].landmarks)[0]
        keys = np.concatenate([found[1 : 1 + min(made, 1)], found[1 + made :]])
        embeddings[name] = Embeddings(found[0], other, found[1 : 1 + made], keys)
    return embeddings


def _square_of_face(photo: Photo, face: DetectedFace) -> Pixels:
    height, width, _ = photo.pixels.shape
    square = place_square(face.landmarks, width, height)
    return _scaled(square.crop(photo.pixels), SQUARE)


def _scaled_square(pixels: Pixels, record: FaceRecord) -> Pixels:
    return _scaled(square_of(record).crop(pixels), SQUARE)


def _scaled(pixels: Pixels, side: int) -> Pixels:
    return np.asarray(Image.fromarray(pixels).resize((side, side), Image.Resampling.LANCZOS))


def _panes(trial: Trial) -> list[Pixels]:
    """Original, anonymized with up to three keys, restored, wrong key."""
    made = trial.versions
    shown = [trial.original, made[Version.ANONYMIZED], *trial.other_keys[:2]]
    return [pane(pixels, trial.record) for pixels in (*shown, made[Version.RESTORED], made[Version.WRONG_KEY])]


def pane(pixels: Pixels, record: FaceRecord, side: int = PANE) -> Pixels:
    """The face square with its surroundings (side, side, 3); edge pixels continue beyond the photo."""
    margin = round(SURROUNDINGS * record.side)
    rows = np.clip(np.arange(record.y - margin, record.y + record.side + margin), 0, pixels.shape[0] - 1)
    columns = np.clip(np.arange(record.x - margin, record.x + record.side + margin), 0, pixels.shape[1] - 1)
    return _scaled(pixels[rows[:, None], columns], side)
