"""One photo through the whole product, and what came of it."""

from __future__ import annotations

import multiprocessing
import os
import tempfile
import time
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from uuid import UUID, uuid4

import numpy as np
from numpy.typing import NDArray

from faceseal.anonymizer import anonymize, read_sealed, restore, restore_with_key
from faceseal.envelope.header import pixel_digest
from faceseal.errors import FidelityTooLow, NoFaceFound, PhotoError, UnknownKey
from faceseal.evaluation.pairs import Pair
from faceseal.evaluation.recognition import Recognizer
from faceseal.faces.detector import DetectedFace, detect_faces
from faceseal.faces.square import FaceSquare
from faceseal.imagekey import IMAGE_KEY_BYTES, ImageKey
from faceseal.photo import Photo
from faceseal.profiles import Profile

Pixels = NDArray[np.uint8]


@dataclass
class MemoryKeys:
    """Keys that live as long as the measurement."""

    held: dict[UUID, ImageKey] = field(default_factory=dict)

    def create(self) -> ImageKey:
        """A new key."""
        key = ImageKey(uuid4(), os.urandom(IMAGE_KEY_BYTES))
        self.held[key.key_id] = key
        return key

    def bind(self, key_id: UUID, sealed_digest: bytes) -> None:
        """Nothing to remember."""

    def release(self, key_id: UUID, grant: str | None) -> ImageKey:  # noqa: ARG002
        """The key; needs no grant.  Raises UnknownKey."""
        if key_id not in self.held:
            raise UnknownKey(f"no key {key_id}")
        return self.held[key_id]


@dataclass(frozen=True)
class Row:
    """Figures of one photo; cosines are of recognition embeddings, with the original face."""

    identity: str
    outcome: str
    detected: bool
    landmark_error: float
    psnr: float
    cosine_pair: float
    cosine_anonymized: float
    cosine_restored: float
    cosine_wrong_key: float
    exact: bool
    seconds: float


@dataclass(frozen=True, eq=False)
class Measured:
    """A row with its pictures."""

    row: Row
    pictures: tuple[Pixels, ...]


def measure(pairs: Iterable[Pair], network: Path, profile: Profile, workers: int) -> Iterator[Measured]:
    """Seal the first photo of each pair to a PNG file, read it back, and restore it in all ways.

    Each of `workers` processes computes on one thread, which for single faces is faster
    than one process on several.  Raises ModelError if the recognition network cannot be loaded.
    """
    Recognizer(network)
    with ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), _one_thread) as pool:
        under_way: deque[Future[Measured]] = deque()
        for pair in pairs:
            under_way.append(pool.submit(_measure_on_disk, pair, network, profile))
            if len(under_way) > 2 * workers:
                yield under_way.popleft().result()
        while under_way:
            yield under_way.popleft().result()


def _one_thread() -> None:
    import torch

    torch.set_num_threads(1)


def _measure_on_disk(pair: Pair, network: Path, profile: Profile) -> Measured:
    with tempfile.TemporaryDirectory(prefix="faceseal-evaluate-") as folder:
        return _measure(pair, _recognizer(network), profile, Path(folder) / "sealed.png")


@cache
def _recognizer(network: Path) -> Recognizer:
    return Recognizer(network)


def _measure(pair: Pair, recognizer: Recognizer, profile: Profile, path: Path) -> Measured:
    keys, photo = MemoryKeys(), pair.first
    started = time.perf_counter()
    try:
        anonymize(photo, keys=keys, profile=profile).save(path)
    except (NoFaceFound, FidelityTooLow, PhotoError) as problem:
        return Measured(_failed(pair, type(problem).__name__), (photo.pixels,))
    seconds = time.perf_counter() - started
    content = read_sealed(path.read_bytes())
    exact = restore(path, keys=keys)
    pixels = restore(path, keys=keys, from_pixels=True).pixels
    wrong = restore_with_key(content, keys.create(), from_pixels=True, force=True).pixels
    face = _main_face(photo)
    original = recognizer.embed(photo.pixels, face.landmarks)
    found = _same_place(detect_faces(content.pixels), face)
    record = max(content.header.faces, key=lambda r: r.cell)
    inside = FaceSquare(record.x, record.y, record.cell).masked_pixels(record.mask, *photo.pixels.shape[1::-1])
    error = np.mean((photo.pixels[inside].astype(float) - pixels[inside]) ** 2)
    row = Row(
        identity=pair.identity,
        outcome="sealed",
        detected=found is not None,
        landmark_error=float("nan") if found is None else _landmark_error(face, found),
        psnr=float(10 * np.log10(255**2 / max(float(error), 1e-9))),
        cosine_pair=float(original @ _embed_main(recognizer, pair.second)),
        cosine_anonymized=float(original @ recognizer.embed(content.pixels, face.landmarks)),
        cosine_restored=float(original @ recognizer.embed(pixels, face.landmarks)),
        cosine_wrong_key=float(original @ recognizer.embed(wrong, face.landmarks)),
        exact=exact.exact and pixel_digest(exact.pixels) == pixel_digest(photo.pixels),
        seconds=seconds,
    )
    return Measured(row, (photo.pixels, content.pixels, pixels, wrong))


def _failed(pair: Pair, outcome: str) -> Row:
    missing = float("nan")
    return Row(pair.identity, outcome, False, missing, missing, missing, missing, missing, missing, False, missing)


def _main_face(photo: Photo) -> DetectedFace:
    """The largest face: the one that a portrait is of."""
    return max(detect_faces(photo.pixels), key=lambda face: _eye_distance(face))


def _embed_main(recognizer: Recognizer, photo: Photo) -> NDArray[np.float64]:
    if not detect_faces(photo.pixels):
        return np.full(512, np.nan)
    return recognizer.embed(photo.pixels, _main_face(photo).landmarks)


def _eye_distance(face: DetectedFace) -> float:
    return float(np.linalg.norm(face.landmarks[1] - face.landmarks[0]))


def _landmark_error(face: DetectedFace, found: DetectedFace) -> float:
    """Mean distance of the five landmarks, in eye distances."""
    return float(np.linalg.norm(found.landmarks - face.landmarks, axis=1).mean() / _eye_distance(face))


def _same_place(found: list[DetectedFace], face: DetectedFace) -> DetectedFace | None:
    """The detection whose landmarks' centre lies within an eye distance of the face's."""
    for other in found:
        if np.linalg.norm(other.landmarks.mean(axis=0) - face.landmarks.mean(axis=0)) < _eye_distance(face):
            return other
    return None
