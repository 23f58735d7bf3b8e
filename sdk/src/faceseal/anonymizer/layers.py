"""All faces of a photo, exchanged in layers, each tested by restoring it at once.

A face comes one layer above all earlier faces whose squares meet its own.  Sealing goes up
the layers and restoring down, so that each face finds the surroundings that it had; the
faces of one layer share a batch.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from faceseal.anonymizer.sealed import Pixels
from faceseal.envelope.header import NONCE_BYTES, FaceRecord
from faceseal.errors import FidelityTooLow
from faceseal.faces.square import FaceSquare
from faceseal.imagekey import ImageKey
from faceseal.profiles import Profile

if TYPE_CHECKING:
    from faceseal.exchange import Exchange, Face


def layers(faces: Sequence[FaceRecord]) -> list[list[int]]:
    """Indices of faces by layer; no two squares of one layer meet."""
    level: list[int] = []
    for index, face in enumerate(faces):
        below = [level[other] for other in range(index) if _meet(face, faces[other])]
        level.append(max(below, default=-1) + 1)
    return [[i for i, value in enumerate(level) if value == current] for current in range(max(level, default=-1) + 1)]


def _meet(one: FaceRecord, other: FaceRecord) -> bool:
    return (
        one.x < other.x + other.side
        and other.x < one.x + one.side
        and one.y < other.y + other.side
        and other.y < one.y + one.side
    )


def square_of(face: FaceRecord) -> FaceSquare:
    """Where the record's face square lies."""
    return FaceSquare(face.x, face.y, face.cell)


def masked_pixels(face: FaceRecord, pixels: Pixels) -> NDArray[np.bool_]:
    """The photo's pixels (H, W) that the record's mask covers."""
    return square_of(face).masked_pixels(face.mask, pixels.shape[1], pixels.shape[0])


def seal_faces(
    original: Pixels, records: Sequence[FaceRecord], exchange: Exchange, key: ImageKey, profile: Profile
) -> tuple[Pixels, list[FaceRecord]]:
    """The anonymized photo, and the records with the nonces and fidelities that were reached.

    Raises FidelityTooLow if a face misses the profile's fidelity with every nonce tried.
    """
    pixels, restored, done = original, original, list(records)
    order = layers(records)
    for layer in order:
        for index, attempt in _seal_layer(pixels, {i: done[i] for i in layer}, exchange, key, profile).items():
            done[index] = attempt.record
            square = square_of(attempt.record)
            pixels = square.paste(pixels, attempt.square, attempt.record.mask)
            restored = square.paste(restored, attempt.restored, attempt.record.mask)
    if len(order) > 1:
        # Each layer was tested on exact surroundings; restoring will find inexact ones.
        restored = restore_faces(pixels, done, exchange, key)
    for index, record in enumerate(done):
        before, after = _face(original, record, key), _face(restored, record, key)
        inside = before.masked_pixels
        _require(decibel(exchange.carried(before)[inside], after.square[inside]), profile)
        done[index] = replace(record, fidelity=int(decibel(before.square[inside], after.square[inside])))
    return pixels, done


def restore_faces(pixels: Pixels, records: Sequence[FaceRecord], exchange: Exchange, key: ImageKey) -> Pixels:
    """The photo restored from the anonymized pixels alone."""
    for layer in reversed(layers(records)):
        squares = exchange.restore([_face(pixels, records[i], key) for i in layer])
        for index, square in zip(layer, squares, strict=True):
            pixels = square_of(records[index]).paste(pixels, square, records[index].mask)
    return pixels


def decibel(one: Pixels, other: Pixels) -> float:
    """Peak signal-to-noise ratio of 8-bit values, at most 99 dB."""
    error = np.mean((one.astype(np.float64) - other) ** 2)
    return float(min(99.0, 10 * np.log10(255.0**2 / max(float(error), 1e-12))))


@dataclass(frozen=True, eq=False)
class _Attempt:
    """A face exchanged under one nonce; reached: dB between what came back and what could."""

    record: FaceRecord
    square: Pixels
    restored: Pixels
    reached: float


def _seal_layer(
    pixels: Pixels, records: dict[int, FaceRecord], exchange: Exchange, key: ImageKey, profile: Profile
) -> dict[int, _Attempt]:
    """The best attempt for each face of one layer.

    A nonce serves well if the restored 8-bit square comes close to what the latent carries
    of the original: what the latent itself drops, no nonce brings back.
    """
    best: dict[int, _Attempt] = {}
    pending = dict(records)
    for _ in range(profile.attempts):
        for index, attempt in zip(pending, _attempt(pixels, list(pending.values()), exchange, key), strict=True):
            if index not in best or attempt.reached > best[index].reached:
                best[index] = attempt
        pending = {
            index: replace(records[index], nonce=os.urandom(NONCE_BYTES))
            for index in pending
            if best[index].reached < profile.least_fidelity
        }
        if not pending:
            break
    _require(min(attempt.reached for attempt in best.values()), profile)
    return best


def _require(reached: float, profile: Profile) -> None:
    if reached < profile.least_fidelity:
        raise FidelityTooLow(
            f"restoring from the pixels alone would come within {reached:.1f} dB of what the model carries, and "
            f"profile {profile.name!r} asks for {profile.least_fidelity:.0f}; try another profile"
        )


def _attempt(pixels: Pixels, records: list[FaceRecord], exchange: Exchange, key: ImageKey) -> list[_Attempt]:
    faces = [_face(pixels, record, key) for record in records]
    made = exchange.anonymize(faces)
    back = exchange.restore([replace(face, square=square) for face, square in zip(faces, made, strict=True)])
    attempts = []
    for record, face, square, again in zip(records, faces, made, back, strict=True):
        inside = face.masked_pixels
        attempts.append(_Attempt(record, square, again, decibel(exchange.carried(face)[inside], again[inside])))
    return attempts


def _face(pixels: Pixels, record: FaceRecord, key: ImageKey) -> Face:
    from faceseal.exchange import Face

    square = square_of(record)
    return Face(
        square=square.crop(pixels),
        mask=record.mask,
        inside=square.inside(pixels.shape[1], pixels.shape[0]),
        landmarks=record.landmarks,
        stream_key=key.derive(b"faceseal/1 noise map", salt=record.nonce),
        public_seed=hashlib.sha256(b"faceseal/1 public noise" + record.nonce).digest(),
    )
