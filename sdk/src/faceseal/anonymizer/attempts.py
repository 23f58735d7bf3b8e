"""Exchanging the faces of one layer under a nonce each, and again until they are what was asked for."""

from __future__ import annotations

import hashlib
import math
import os
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from faceseal.anonymizer.identity import IdentityGuard
from faceseal.anonymizer.sealed import Pixels
from faceseal.envelope.header import NONCE_BYTES, FaceRecord
from faceseal.errors import FaceTooAlike, FidelityTooLow
from faceseal.faces.square import FaceSquare
from faceseal.imagekey import ImageKey
from faceseal.profiles import Profile

if TYPE_CHECKING:
    from faceseal.exchange import Exchange, Face


@dataclass(frozen=True)
class Demands:
    """What an anonymized face must fulfil: the profile's fidelity and, with a guard, that it is another's."""

    profile: Profile
    guard: IdentityGuard | None = None

    def check(self, reached: float, likeness: float = -math.inf) -> None:
        """Raises FidelityTooLow or FaceTooAlike."""
        if reached < self.profile.least_fidelity:
            raise FidelityTooLow(
                f"restoring from the pixels alone would come within {reached:.1f} dB of what the model carries, and "
                f"profile {self.profile.name!r} asks for {self.profile.least_fidelity:.0f}; try another profile"
            )
        if self.guard is not None and likeness > self.guard.most_alike:
            raise FaceTooAlike(
                f"after {self.profile.attempts} attempts a face is still {likeness:.2f} like its origin, and the "
                f"most allowed is {self.guard.most_alike:.2f}; allow more, or try again"
            )

    def prefer(self, attempt: Attempt) -> tuple[bool, float, float]:
        """Greater for a better attempt: enough fidelity comes first, then unlikeness, as far as it is asked for."""
        likeness = attempt.likeness if self.guard is not None else 0.0
        return attempt.reached >= self.profile.least_fidelity, -likeness, attempt.reached

    def met(self, attempt: Attempt) -> bool:
        """Whether no other nonce is needed."""
        unlike = self.guard is None or attempt.likeness <= self.guard.most_alike
        return unlike and attempt.reached >= self.profile.least_fidelity


@dataclass(frozen=True, eq=False)
class Attempt:
    """A face exchanged under one nonce.

    number: how many nonces were drawn until then; reached: dB between what came back and
    what could; likeness: of the new face and the old, for the guard.
    """

    number: int
    record: FaceRecord
    square: Pixels
    restored: Pixels
    reached: float
    likeness: float


def best_attempts(
    pixels: Pixels, records: dict[int, FaceRecord], exchange: Exchange, key: ImageKey, demands: Demands
) -> dict[int, Attempt]:
    """The best attempt for each face of one layer.

    A nonce serves well if the restored 8-bit square comes close to what the latent carries
    of the original: what the latent itself drops, no nonce brings back.
    """
    best: dict[int, Attempt] = {}
    pending = dict(records)
    for number in range(1, demands.profile.attempts + 1):
        made = _attempt(pixels, list(pending.values()), exchange, key, demands, number)
        for index, attempt in zip(pending, made, strict=True):
            if index not in best or demands.prefer(attempt) > demands.prefer(best[index]):
                best[index] = attempt
        pending = {
            index: replace(records[index], nonce=os.urandom(NONCE_BYTES))
            for index in pending
            if not demands.met(best[index])
        }
        if not pending:
            break
    for attempt in best.values():
        demands.check(attempt.reached, attempt.likeness)
    return best


def _attempt(
    pixels: Pixels, records: list[FaceRecord], exchange: Exchange, key: ImageKey, demands: Demands, number: int
) -> list[Attempt]:
    faces = [face_at(pixels, record, key) for record in records]
    made = exchange.anonymize(faces)
    back = exchange.restore([replace(face, square=square) for face, square in zip(faces, made, strict=True)])
    attempts = []
    for record, face, square, again in zip(records, faces, made, back, strict=True):
        inside = face.masked_pixels
        reached = decibel(exchange.carried(face)[inside], again[inside])
        likeness = -math.inf
        if demands.guard is not None:
            likeness = demands.guard.likeness(face.square, square, face.landmarks[:5] * face.cell)
        attempts.append(Attempt(number, record, square, again, reached, likeness))
    return attempts


def face_at(pixels: Pixels, record: FaceRecord, key: ImageKey, *, recoded: bool = False) -> Face:
    """What the generator works on: the record's face square of a photo, with what the key makes of its nonce."""
    from faceseal.exchange import Face

    square = square_of(record)
    return Face(
        square=square.crop(pixels),
        mask=record.mask,
        inside=square.inside(pixels.shape[1], pixels.shape[0]),
        landmarks=record.landmarks,
        stream_key=key.derive(b"faceseal/1 noise map", salt=record.nonce),
        public_seed=hashlib.sha256(b"faceseal/1 public noise" + record.nonce).digest(),
        recoded=recoded,
    )


def square_of(face: FaceRecord) -> FaceSquare:
    """Where the record's face square lies."""
    return FaceSquare(face.x, face.y, face.cell)


def decibel(one: Pixels, other: Pixels) -> float:
    """Peak signal-to-noise ratio of 8-bit values, at most 99 dB."""
    error = np.mean((one.astype(np.float64) - other) ** 2)
    return float(min(99.0, 10 * np.log10(255.0**2 / max(float(error), 1e-12))))
